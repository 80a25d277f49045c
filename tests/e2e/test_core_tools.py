"""A developer's machine: the commands of the documentation, and the app as it finds its settings and its sign-in there.

Core Tools itself cannot be run in a test. In its place `func` is a script that starts the Functions host of the tests,
with the project's settings and host.json as they are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dev.testing.azure import SUBSCRIPTION, Client
from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually
from shared import settings

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "local.settings.sample.json"
# Those of the storage emulator and of `func start`, as everybody expects them.
PORTS = (7071, 10000, 10001, 10002)
MASTER_KEY = "a-key-that-core-tools-would-not-ask-for"
_FUNC = """\
#!/bin/sh
case "$*" in
    "bundles download") ;;
    start) exec python -m dev.functionshost --app . --ready-file ready.json ;;
    *) echo "no such command: func $*" >&2; exit 1 ;;
esac
"""
_AZ = f"""\
#!/bin/sh
exec {sys.executable} {Path(__file__).with_name("az.py")} "$@"
"""


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def documented() -> list[list[str]]:
    """Return the blocks of commands under "Run it on your machine", each as a list of commands."""
    text = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    section = text.partition("\n## Run it on your machine\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\\n\s*", "", block).removeprefix("$ ").rstrip().split("\n$ ") for block in blocks]


def body(answer: str) -> dict[str, Any]:
    """Return the JSON of an answer whose last line is its HTTP status, which must be 200."""
    text, _, status = answer.rpartition("\n")
    assert status == "200", answer
    found: dict[str, Any] = json.loads(text)
    return found


class Terminals:
    """Shells in a copy of the project, as in a fresh clone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        home = folder.parent / "home"
        home.mkdir()
        write_script(home / "bin/func", _FUNC)
        write_script(home / "bin/az", _AZ)
        (home / ".curlrc").write_text(
            f'silent\nshow-error\nwrite-out = "\\n%{{http_code}}"\nheader = "x-functions-key: {MASTER_KEY}"\n'
        )
        # Everything counts as installed.
        (home / "installed").touch()
        # Not what a `make` that runs this test was told.
        told = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "VENV", "PYTHON", "JOBS", "ARGS")
        kept = {name: value for name, value in os.environ.items() if name not in told}
        self._environment = kept | {
            "HOME": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "MAKEFLAGS": " ".join(f"{name}={home / 'installed'}" for name in ("PYTHON_PACKAGES", "NODE_PACKAGES")),
            "LOCALAZURE_FUNCTIONS_MASTER_KEY": MASTER_KEY,
        }

    def run(self, *commands: str) -> str:
        """Run commands in one shell and return what they say."""
        done = subprocess.run(
            ["sh", "-e"],
            input="\n".join(commands),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def left_running(self, *commands: str) -> Iterator[Path]:
        """Run commands in a shell of their own until the end; give the file that has what they say."""
        log = self._folder.parent / f"{Path(commands[-1].split()[0]).name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-e", "-c", "\n".join(commands)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield log
        finally:
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
            try:
                process.wait(20)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


@pytest.fixture
def terminals(tmp_path: Path, usual_ports: None) -> Terminals:
    if not (ROOT / ".git").exists():
        pytest.skip("which files are the project's is known in a clone only")
    if busy := [port for port in PORTS if listens(port)]:
        pytest.skip(f"ports {busy} of this machine are in use")
    clone = tmp_path / "clone"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, clone / name)
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / "node_modules").symlink_to(ROOT / "node_modules")
    return Terminals(clone)


async def test_documented_commands_run_the_app_on_the_local_azure(terminals: Terminals, tmp_path: Path) -> None:
    install, subscription, local_azure, start, scene, calls = documented()
    assert install[0].startswith("npm install --global azure-functions-core-tools@4")
    assert (subscription, start[-1]) == (["az login", start[0], "func start"], "func start")
    *prepare, storage = install[1:]
    terminals.run(*prepare)
    with ExitStack() as running:
        running.enter_context(terminals.left_running(storage))
        running.enter_context(terminals.left_running(*local_azure))
        exports = tmp_path / "clone/azure.env"
        await eventually(lambda: all(map(listens, PORTS[1:])) and exports.exists() and exports.read_text())
        log = running.enter_context(terminals.left_running(*start))
        await eventually((tmp_path / "clone/ready.json").exists)
        ready = json.loads((tmp_path / "clone/ready.json").read_text())
        assert (ready["state"], ready["errors"], len(ready["functions"])) == ("Running", [], 12), log.read_text()

        terminals.run(*scene)
        event, registry, timer = calls
        assert terminals.run(event).endswith("202")
        await eventually(lambda: body(terminals.run(registry))["runs"])
        assert body(terminals.run(registry))["tasks"][0]["ready"]
        assert terminals.run(timer).endswith("202")
        await eventually(lambda: re.search(r"queues_watched.*[Ss]ucceeded", log.read_text()))


def test_sample_settings_are_enough_and_leave_the_sign_in_to_the_developer() -> None:
    values = json.loads(SAMPLE.read_text())["Values"]
    loaded = settings.load(values)
    assert loaded.storage == "UseDevelopmentStorage=true"
    assert loaded.client_id == ""
    assert (ROOT / loaded.policy).is_file()


async def test_app_signs_in_as_the_azure_cli_where_there_is_no_managed_identity(
    owner: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.delenv(name)
    write_script(tmp_path / "bin/az", _AZ)
    token = {"accessToken": await owner.token(), "expires_on": 4102444800, "expiresOn": "2100-01-01 00:00:00.000000"}
    (tmp_path / "token.json").write_text(json.dumps(token))
    monkeypatch.setenv("AZ_ACCESS_TOKEN", str(tmp_path / "token.json"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    # Where a machine in Azure has its metadata service: nobody is there.
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    group = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
    await owner.arm("PUT", group, {"location": "westeurope"}, api_version="2025-04-01")
    base = f"{group}/providers/Microsoft.ContainerRegistry/registries/mybaseregistry"
    await owner.arm("PUT", base, {"location": "westeurope", "sku": {"name": "Premium"}})
    with Azurite() as storage:
        values = {"AzureWebJobsStorage": storage.connection_string}
        with FunctionsHost(ROOT, values, ("--settings", str(SAMPLE))) as host:
            key = {"x-functions-key": host.ready["functionKey"]}
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{host.url}/api/registries/myregistry", headers=key) as reply,
            ):
                problem = await reply.json(content_type=None)
    assert (reply.status, "myregistry" in problem["detail"]) == (404, True), problem

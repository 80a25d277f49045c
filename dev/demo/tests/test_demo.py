"""The demo as a person starts it: what it prints, how it fails, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from dev import azurite
from dev.sandbox.cloud import OTHER, Cloud, registry_id
from dev.sandbox.world import read_exports

ROOT = Path(__file__).resolve().parents[3]
T = TypeVar("T")


def waited_for(check: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Call until the result is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
    return result


class Demo:
    """`python -m dev.demo` in a process whose temporary files lie in a folder of the test's own.

    Args:
        folder: Its own.
        user: That of all processes of its user.
    """

    def __init__(self, folder: Path, user: Path, *arguments: str) -> None:
        self._folder, self._user, self._out = folder / "tmp", user, folder / "out.txt"
        for path in (self._folder, user):
            path.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ, "TMPDIR": str(self._folder), "XDG_RUNTIME_DIR": str(user),
            "AZURITE_JS": str(azurite.script()),
        }  # fmt: skip
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dev.demo", *arguments],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._children: dict[int, str] = {}

    @property
    def output(self) -> str:
        return self._out.read_text(encoding="utf-8")

    def children(self) -> dict[int, str]:
        """Return the processes that the demo has started so far, by id."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            pid, parent, command = line.split(maxsplit=2)
            if int(parent) == self._process.pid:
                self._children[int(pid)] = command
        return self._children

    def prints(self, pattern: str) -> re.Match[str]:
        """Wait until the output matches."""

        def found() -> re.Match[str] | None:
            assert self._process.poll() is None, self.output
            return re.search(pattern, self.output)

        match = waited_for(found, f"{pattern!r} in the output")
        assert match
        return match

    def send(self, number: signal.Signals) -> None:
        self.children()
        self._process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """Wait for the end and return the exit status."""
        return self._process.wait(seconds)

    def left_behind(self) -> list[str]:
        """Return the processes and files that are still there."""
        alive = [command for pid, command in self._children.items() if _is_alive(pid)]
        return alive + [str(path) for folder in (self._folder, self._user) for path in folder.iterdir()]

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)


async def tag_other_registry(exports: Path, value: str) -> None:
    """Change the tag of the registry that did not opt in, as its team does."""
    async with Cloud(read_exports(exports), 0) as cloud:
        await cloud.arm("PATCH", registry_id(OTHER), {"tags": {"base-image-rebuilds": value}})


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start the demo; it ends with the test."""
    started: list[Demo] = []

    def begin(*arguments: str) -> Demo:
        started.append(Demo(tmp_path / str(len(started)), tmp_path / "user", *arguments))
        return started[-1]

    yield begin
    for demo in started:
        demo.end()


@pytest.mark.timeout(240)
def test_demo_tells_the_whole_story_with_both_identities_and_exits_0(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.prints("Push baseimages")
    demo.children()
    assert demo.wait(200) == 0, demo.output
    text = demo.output
    assert "\x1b" not in text, "a file gets no colours"
    user, system = text.split("With a user-assigned identity")[1].split("With a system-assigned identity")
    story = [
        r"you +create registry myregistry with the tag",
        r"Event Grid +ResourceWriteSuccess myregistry → team_registry_changed",
        r"Groundswell +myregistry is selected by the policy → 1 request queued",
        r"ARM +PUT task helloworldtask → 200",
        r"✓ otherregistry has no task",
        r"Push baseimages/node:15-alpine",
        r"Event Grid +ImagePushed baseimages/node:15-alpine → base_image_pushed",
        r"ARM +POST scheduleRun of myregistry → 200",
        r"ACR run +✓ cw1 Succeeded → hello-world:cw1",
        r"Groundswell +has asked for the rebuilds of this content before → nothing to do",
        r"✓ no run was started",
        r"ACR run +✓ cw2 Succeeded → hello-world:cw2",
        r"Groundswell +✓ identity +✓ task +✗ grant missing +✓ credential",
        r"ACR run +✗ cw3 Failed",
        r"get ACR refresh token, exchange API response code: 401 Unauthorized",
        r"ARM +PUT role assignment on mybaseregistry → 201",
        r"✓ the grant is back",
        r"✓ 202 Accepted, Location: /api/registries/myregistry/runs/cw",
        r"Groundswell +✓ identity +✓ task +✓ grant +✓ credential",
    ]
    for part in (user, system):
        position = 0
        for line in story:
            found = re.compile(line).search(part, position)
            assert found, f"{line!r} is missing, or in another order:\n{part}"
            position = found.end()
    assert "ARM          PUT identity myACRTasksId → 201" in user
    assert "PUT identity" not in system
    assert re.search(r"cw4 was refused: its grant does not work yet → again in 15 s", user)
    assert "Run ID: cw6 was successful" in user
    assert re.search(r"the nine az commands +21 +8", system)
    assert re.search(r"✓ Everything as expected, in \d+ s\.", system)
    assert max(map(len, text.splitlines())) <= 100
    assert demo.left_behind() == []


def test_demo_fails_with_the_hosts_last_words_when_the_host_dies(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.prints(r"create registry myregistry")
    (host,) = (pid for pid, command in demo.children().items() if "dev.functionshost" in command)
    os.kill(host, signal.SIGKILL)
    assert demo.wait() == 1
    assert re.search(r"✗ Not as expected\n +expected  .+\n +seen +functions-host was ended by SIGKILL", demo.output)
    assert "The Functions host's last words:" in demo.output
    assert len(demo.children()) == 3
    assert demo.left_behind() == []


def test_demo_says_what_is_gone_when_azure_dies(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.prints(r"create registry myregistry")
    (azure,) = (pid for pid, command in demo.children().items() if "localazure --env-file" in command)
    os.kill(azure, signal.SIGKILL)
    assert demo.wait() == 1
    assert "localazure was ended by SIGKILL" in demo.output
    assert "Traceback" not in demo.output
    assert demo.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_leaves_nothing_behind_when_it_is_stopped_by(number: signal.Signals, start: Callable[..., Demo]) -> None:
    demo = start()
    demo.prints(r"give the app's identity its")
    demo.send(number)
    assert demo.wait() == 128 + number
    assert "Stopped; nothing is left running." in demo.output
    assert len(demo.children()) >= 2
    assert demo.left_behind() == []


@pytest.mark.usefixtures("usual_ports")
def test_up_answers_its_commands_shows_what_happens_and_ends_at_ctrl_c(start: Callable[..., Demo]) -> None:
    demo = start("up", "--system-assigned")
    demo.prints("Ctrl-C ends everything")
    match = demo.prints(r'curl -s -H "x-functions-key: (\S+)" (http://127\.0\.0\.1:\d+/api/registries/myregistry)\n')
    request = urllib.request.Request(match[2], headers={"x-functions-key": match[1]})
    with urllib.request.urlopen(request, timeout=20) as response:
        task = json.load(response)["tasks"][0]
    assert task["ready"], task
    exports = Path(demo.prints(r"\n +\. (/\S+)\n")[1])
    assert {f"export URL={match[2].partition('/api')[0]}", f"export KEY={match[1]}", "export APP=groundswell"} <= set(
        exports.read_text().splitlines()
    )

    pushed = subprocess.run([sys.executable, "-m", "dev.demo", "push", "hello"], cwd=ROOT, env=demo.environment,
                            capture_output=True, text=True, check=True)  # fmt: skip
    assert "pushed mybaseregistry.azurecr.io/baseimages/node:15-alpine sha256:" in pushed.stdout
    demo.prints(r"ACR run +✓ cw2 Succeeded → hello-world:cw2")

    demo.send(signal.SIGINT)
    assert demo.wait() == 0
    assert len(demo.children()) == 3
    assert demo.left_behind() == []


@pytest.mark.usefixtures("usual_ports")
def test_up_shows_the_runs_of_every_registry_and_a_pause(start: Callable[..., Demo]) -> None:
    demo = start("up")
    exports = demo.prints(r"Ctrl-C ends everything") and demo.prints(r"\n +\. (/\S+)\n")[1]
    demo.prints(r"Groundswell +starts run cw1 in myregistry")
    demo.prints(r"ACR run +cw1 of helloworldtask in myregistry is running")
    asyncio.run(tag_other_registry(Path(exports), "enabled"))
    demo.prints(r"Groundswell +starts run \w+ in otherregistry")
    demo.prints(r"ACR run +✓ \w+ Succeeded → hello-world:\w+ in otherregistry")
    asyncio.run(tag_other_registry(Path(exports), "paused"))
    demo.prints(r"Groundswell +leaves otherregistry alone: its team has paused it")
    legend = next(line for line in demo.output.splitlines() if "Groundswell decides" in line)
    assert "✓ checked in Azure" in legend, "the legend is one line"


@pytest.mark.usefixtures("usual_ports")
def test_push_goes_to_the_world_that_is_meant_when_up_runs_twice(start: Callable[..., Demo]) -> None:
    worlds = []
    for _ in range(2):
        worlds.append(start("up"))
        worlds[-1].prints(r"Ctrl-C ends everything")
    first, second = worlds
    exports = [demo.prints(r"\n +\. (/\S+)\n")[1] for demo in worlds]
    command = f"{sys.executable} -m dev.demo push hello"
    unclear = subprocess.run(["sh", "-c", command], cwd=ROOT, env=first.environment, capture_output=True, text=True,
                             check=False)  # fmt: skip
    assert unclear.returncode == 1
    assert "`make up` runs 2 times" in unclear.stderr
    for demo, other, path in ((first, second, exports[0]), (second, first, exports[1])):
        before = other.output.count("ImagePushed")
        subprocess.run(["sh", "-ec", f". {path}; {command}"], cwd=ROOT, env=first.environment, check=True)
        demo.prints(r"ACR run +✓ cw2 Succeeded")
        assert other.output.count("ImagePushed") == before
    second.send(signal.SIGINT)
    assert second.wait() == 0
    subprocess.run(["sh", "-c", command], cwd=ROOT, env=first.environment, check=True)


def test_push_says_how_to_start_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "dev.demo", "push"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "start it with `make up`" in done.stderr

"""It is safe to run: nothing leaves the machine, nobody else reaches it or reads its secrets, and it leaves nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.azurite import command as azurite_of_the_demo
from dev.localazure.azure import Azure
from dev.ports import free_ports
from dev.testing.azure import AUTHORITY, SUBSCRIPTION, Client
from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually, write_app

ROOT = Path(__file__).resolve().parents[3]
GROUP = f"{SUBSCRIPTION}/resourceGroups/g"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/myregistry"

on_linux = pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="sockets are looked up in Linux's /proc")


# -- nothing leaves the machine ----------------------------------------------------------------------------------------


async def ask_proxy(azure: Azure, line: str, *headers: str) -> tuple[str, str]:
    """Send one request to the proxy as it is; return its status line and the rest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", azure.proxy.port)
    writer.write("\r\n".join((line, *headers, "", "")).encode("latin-1"))
    answer = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"\r\n\r\n") if line else await reader.read()
    rest = await reader.read() if b" 403 " in answer else b""
    writer.close()
    status, _, more = (answer + rest).decode("latin-1").partition("\r\n")
    return status, more


REFUSED = {
    "another host": "CONNECT example.com:443",
    "an IPv4 address": "CONNECT 93.184.216.34:443",
    "loopback": "CONNECT 127.0.0.1:443",
    "the metadata service": "CONNECT 169.254.169.254:443",
    "an IPv6 address": "CONNECT [::1]:443",
    "an address as a number": "CONNECT 2130706433:443",
    "localhost": "CONNECT localhost:443",
    "another port": "CONNECT management.azure.com:80",
    "a port with spaces": "CONNECT management.azure.com: 443",
    "a port with zeros": "CONNECT management.azure.com:0443",
    "no port": "CONNECT management.azure.com",
    "a name that ends alike": "CONNECT evilazurecr.io:443",
    "a name that begins alike": "CONNECT azurecr.io.evil.com:443",
    "the bare suffix": "CONNECT azurecr.io:443",
    "an empty label": "CONNECT .azurecr.io:443",
    "another name below a single host": "CONNECT evil.management.azure.com:443",
    "a longer single host": "CONNECT notmanagement.azure.com:443",
    "a dot too many": "CONNECT management.azure.com..:443",
    "user information": "CONNECT management.azure.com@evil.com:443",
    "user information in front": "CONNECT evil.com@myregistry.azurecr.io:443",
    "a path": "CONNECT evil.com/.azurecr.io:443",
    "a fragment": "CONNECT evil.com#.azurecr.io:443",
    "a backslash": "CONNECT evil.com\\.azurecr.io:443",
    "two ports": "CONNECT evil.com:443:myregistry.azurecr.io:443",
    "a NUL": "CONNECT evil.com\0.azurecr.io:443",
    "a percent sign": "CONNECT evil.com%00.azurecr.io:443",
    "another script": "CONNECT m\xe4nagement.azure.com:443",
    "plain http": "GET http://management.azure.com/subscriptions",
    "plain http to another host": "GET http://example.com/",
    "https without a tunnel": "GET https://management.azure.com/subscriptions",
    "a path alone": "GET /",
    "POST": "POST http://management.azure.com:443/",
    "another case of the method": "connect management.azure.com:443",
    "no target": "CONNECT",
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_proxy_refuses_what_is_not_azure_over_https(azure: Azure, case: str) -> None:
    status, body = await ask_proxy(azure, f"{REFUSED[case]} HTTP/1.1", "Host: management.azure.com")
    assert status == "HTTP/1.1 403 Forbidden"
    assert "serves Azure's own host names over https only" in body


@pytest.mark.parametrize("host", ["management.azure.com", "MANAGEMENT.Azure.COM", "myregistry.azurecr.io",
                                  "myregistry-abcd.AZURECR.io", "management.azure.com."])  # fmt: skip
async def test_every_spelling_of_a_host_of_azure_leads_to_this_azure(azure: Azure, host: str) -> None:
    status, _ = await ask_proxy(azure, f"CONNECT {host}:443 HTTP/1.1", "Host: example.com")
    assert status == "HTTP/1.1 200 Connection Established"
    assert [peer for peer in connections(os.getpid(), azure.front.port) if not peer.startswith("127.")] == []


async def test_host_header_of_another_name_finds_nothing_behind_the_tunnel(azure: Azure, owner: Client) -> None:
    for name in ("example.com", "127.0.0.1", "management.azure.com.evil.com", "evilazurecr.io"):
        reply = await owner.request("GET", "https://management.azure.com/subscriptions", headers={"Host": name})
        assert (reply.status, name in reply.text) == (404, True)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Addresses and names that this process connects to or looks up, other than its own machine's."""
    found: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if _watching and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            address = arguments[-1] if event in ("socket.connect", "socket.sendto") else arguments[0]
            host = address[0] if isinstance(address, tuple) else address
            if host not in ("127.0.0.1", "localhost", None) and not isinstance(host, bytes):
                found.append(f"{event} {host}")

    sys.addaudithook(watch)  # it cannot be taken away again
    _watching.append(True)
    yield found
    _watching.clear()


_watching: list[bool] = []


async def test_nothing_that_can_be_asked_for_makes_it_call_anybody(
    azure: Azure, owner: Client, asked_for: list[str]
) -> None:
    await owner.arm("PUT", GROUP, {"location": "eastus"})
    await owner.arm("PUT", REGISTRY, {"location": "eastus", "sku": {"name": "Standard"}})
    for url in ("https://example.com/hook", "http://example.com/hook", "https://127.0.0.1/hook",
                "http://169.254.169.254/latest", "https://evilazurecr.io/", "https://example.com\\@x.azurecr.io/",
                "https://management.azure.com@example.com/", "http://127.0.0.1@example.com/",
                "http://127.0.0.1.example.com/", "ftp://127.0.0.1/", "http://[::ffff:127.0.0.1]/"):  # fmt: skip
        target = {"endpointType": "WebHook", "properties": {"endpointUrl": url}}
        path = f"{REGISTRY}/providers/Microsoft.EventGrid/eventSubscriptions/hook"
        refused = await owner.arm("PUT", path, {"properties": {"destination": target}}, api_version="2022-06-15")
        assert refused.status == 400, url
    for source in ("mcr.microsoft.com", "docker.io", "example.com", "127.0.0.1:1"):
        body = {"source": {"registryUri": source, "sourceImage": "library/node:15"}, "targetTags": ["node:15"]}
        assert (await owner.arm("POST", f"{REGISTRY}/importImage", body)).status < 500
    for context in (
        "https://github.com/contoso/unknown.git",
        "https://example.com/context.tar.gz",
        "git://example.com/x",
    ):
        run = {"type": "DockerBuildRequest", "dockerFilePath": "Dockerfile", "sourceLocation": context,
               "platform": {"os": "linux"}}  # fmt: skip
        await owner.arm("POST", f"{REGISTRY}/scheduleRun", run, api_version="2025-03-01-preview")
    assert (await owner.control("GET", "/idle?timeout=20")).status == 200
    site = {"resourceId": f"{GROUP}/providers/Microsoft.Web/sites/s", "url": "http://127.0.0.1@example.com"}
    assert (await owner.control("POST", "/sites", site)).status == 400
    assert asked_for == []


# -- nobody else reaches it --------------------------------------------------------------------------------------------


def tree(pid: int) -> set[int]:
    """Return a process and its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _address(text: str) -> tuple[str, int]:
    """Read an address of /proc/net/tcp: hexadecimal words in the machine's byte order, then the port."""
    host, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def _sockets(pid: int) -> Iterator[tuple[str, tuple[str, int], tuple[str, int]]]:
    """Yield (state, local, remote) of a process' TCP sockets."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(link.readlink()))
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if f"socket:[{fields[9]}]" in inodes:
                    yield fields[3], _address(fields[1]), _address(fields[2])


def listeners(pid: int) -> set[tuple[str, int]]:
    """Return the addresses at which a process and its descendants listen."""
    return {local for process in tree(pid) for state, local, _ in _sockets(process) if state == "0A"}


def connections(pid: int, port: int) -> list[str]:
    """Return the hosts that a process is connected to at a port."""
    return [remote[0] for state, _, remote in _sockets(pid) if state == "01" and remote[1] == port]


def assert_loopback_only(pid: int, at_least: int) -> None:
    found = listeners(pid)
    assert len(found) >= at_least, found
    assert {host for host, _ in found} <= {"127.0.0.1", "::1"}


@on_linux
def test_sockets_of_all_interfaces_would_be_noticed() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert ("0.0.0.0", server.getsockname()[1]) in listeners(os.getpid())


@contextlib.contextmanager
def started(folder: Path, *command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a process group of its own, with its temporary files in a folder; kill it at the end."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder), **variables}
    with (folder.parent / "output").open("w") as output:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


async def said(folder: Path, text: str, seconds: float = 40) -> str:
    """Wait until a program has written a text; return all that it wrote."""
    output = folder.parent / "output"
    try:
        await eventually(lambda: text in output.read_text(), seconds)
    except AssertionError as error:
        raise AssertionError(output.read_text()) from error
    return output.read_text()


@on_linux
async def test_localazure_listens_on_loopback_only(tmp_path: Path) -> None:
    with started(tmp_path / "temporary", sys.executable, "-m", "dev.localazure") as process:
        await said(tmp_path / "temporary", "Ctrl-C ends it")
        assert_loopback_only(process.pid, at_least=3)


@on_linux
def test_functions_host_listens_on_loopback_only(tmp_path: Path) -> None:
    source = "import azure.functions as func\napp = func.FunctionApp()\n"
    with FunctionsHost(write_app(tmp_path / "app", source)) as host:
        assert_loopback_only(host.pid, at_least=1)


@on_linux
@pytest.mark.parametrize("whose", ["tests", "demo"])
async def test_azurite_listens_on_loopback_only(tmp_path: Path, whose: str) -> None:
    if whose == "tests":
        with Azurite() as azurite:
            storage, strict = azurite._processes
            assert_loopback_only(storage.pid, at_least=3)
            assert_loopback_only(strict.pid, at_least=2)
        return
    blob, queue, table = free_ports(0, 0, 0)
    command = azurite_of_the_demo({"blob": blob, "queue": queue, "table": table})
    with started(tmp_path / "temporary", "env", "-C", str(tmp_path), *command) as process:
        await eventually(lambda: len(listeners(process.pid)) >= 3, 30)
        assert_loopback_only(process.pid, at_least=3)


@on_linux
@pytest.mark.usefixtures("usual_ports")
async def test_everything_that_make_up_starts_listens_on_loopback_only_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    with started(folder, sys.executable, "-m", "dev.demo", "up") as process:
        await said(folder, "Ctrl-C ends everything", 90)
        children = tree(process.pid) - {process.pid}
        assert len(children) >= 3
        # Azurite has three services, localazure three servers, the Functions host one.
        assert_loopback_only(process.pid, at_least=7)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
    assert sorted(folder.iterdir()) == []


# -- nobody else reads its secrets -------------------------------------------------------------------------------------


async def test_key_of_the_certificate_authority_is_nowhere_but_in_memory(
    azure: Azure, owner: Client, tmp_path: Path
) -> None:
    await owner.arm("GET", SUBSCRIPTION)  # certificates have been issued
    pem = AUTHORITY._ca.private_key_pem.bytes()
    needles = [pem, base64.b64decode(b"".join(pem.splitlines()[1:-1])), pem.splitlines()[1], b"PRIVATE KEY"]
    shown = "".join([f"{name}={value}\n" for name, value in {**os.environ, **azure.environment()}.items()]).encode()
    folder = azure.ca_bundle.parent
    assert [path.name for path in folder.iterdir()] == ["ca.pem"]
    for path in ("/state", "/settings", "/apps", "/sites", "/journal", "/events"):
        shown += (await owner.control("GET", path)).text.encode()
    shown += azure.ca_bundle.read_bytes()
    assert [needle for needle in needles if needle in shown] == []
    assert folder.stat().st_mode & 0o077 == 0


@on_linux
async def test_what_it_writes_is_for_its_owner_only(tmp_path: Path) -> None:
    folder, data, exports = tmp_path / "temporary", tmp_path / "data", tmp_path / "azure.env"
    data.mkdir(mode=0o755)
    exports.touch(mode=0o644)
    # With this umask a careless program's files can be read and written by everybody.
    command = f"umask 000; exec {shlex.quote(sys.executable)} -m dev.localazure --data {data} --env-file {exports}"
    with started(folder, "sh", "-c", command) as process:
        output = await said(folder, "Ctrl-C ends it")
        await eventually(lambda: (data / "state.json").exists())
        written = [*data.rglob("*"), exports, *folder.rglob("*")]
        assert {"state.json", "lock", "objects", "azure.env", "ca.pem"} <= {path.name for path in written}
        # The certificate is public, and its folder is private.
        assert [p for p in written if p.stat().st_mode & 0o077 and p.name != "ca.pem"] == []
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        for text in (output.encode(), environment, *(p.read_bytes() for p in written if p.is_file())):
            assert b"PRIVATE KEY" not in text


# -- it leaves nothing -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["python", "make"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """How people start it; for make, everything counts as installed."""
    if request.param == "python":
        return [sys.executable, "-m", "dev.localazure"]
    stamps = {"PYTHON_PACKAGES": tmp_path / "python", "NODE_PACKAGES": tmp_path / "node"}
    for stamp in stamps.values():
        stamp.touch()
    return ["make", "azure", f"PY={sys.executable}", *(f"{name}={stamp}" for name, stamp in stamps.items())]


@on_linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_no_process_and_no_file_is_left_after_a_signal(
    tmp_path: Path, command: list[str], number: signal.Signals
) -> None:
    folder = tmp_path / "temporary"
    with started(folder, *command) as process:
        output = await said(folder, "Ctrl-C ends it")
        running = tree(process.pid)
        assert [path for path in folder.iterdir() if path.name.startswith("localazure-")]
        if number is signal.SIGINT or command[0] == "make":
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        status = await asyncio.to_thread(process.wait, 20)
        await eventually(lambda: not [pid for pid in running if Path(f"/proc/{pid}").exists()])
    assert sorted(folder.iterdir()) == []
    if command[0] != "make":
        assert status == 0
        assert "Traceback" not in (folder.parent / "output").read_text()
    port = int(re.search(r"HTTPS_PROXY=http://127.0.0.1:(\d+)", output)[1])  # type: ignore[index]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
        pass


@on_linux
def test_nobody_who_reads_its_output_ends_it_with_one_sentence(tmp_path: Path) -> None:
    folder, exports = tmp_path / "temporary", tmp_path / "azure.env"
    folder.mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dev.localazure", "--env-file", str(exports)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)}, stdout=writer, stderr=subprocess.PIPE, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, "localazure cannot start: nobody reads its standard output\n")
    assert sorted(tmp_path.rglob("*")) == [folder]

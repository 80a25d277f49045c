"""The world of the demo: Azurite, localazure and the Functions host with Groundswell, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dev import azurite
from dev.ports import free_ports, listens
from dev.sandbox import infra
from dev.sandbox.cloud import SUBSCRIPTION, Cloud
from dev.sandbox.processes import ROOT, CannotStart, Processes, python

T = TypeVar("T")

GRANT_DELAY = 2.0
"""Seconds that a role assignment takes to work here. In Azure it takes up to ten minutes."""

AZURITE = "azurite"
LOCALAZURE = "localazure"
HOST = "functions-host"


class Option(Enum):
    """Whose identity the tasks pull the base image with."""

    USER_ASSIGNED = "user-assigned"
    SYSTEM_ASSIGNED = "system-assigned"


class NotYet(Exception):
    """What is waited for has not happened; the text says what is seen instead."""


class Unexpected(Exception):
    """A step did not go as it should.

    Attributes:
        expected, seen: In words for the person who watches.
    """

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}, saw {seen}")
        self.expected, self.seen = expected, seen


@dataclass(frozen=True)
class Ports:
    """Which ports to take if they are free; 0 takes any."""

    host: int = 0
    proxy: int = 0
    control: int = 0
    blob: int = 0
    queue: int = 0
    table: int = 0


@dataclass
class World:
    """A running world.

    Attributes:
        app: Name, principal, client id and environment of the function app.
        host: URL and keys of the Functions host.
        host_log: The host's log: JSON lines.
    """

    option: Option
    folder: Path
    processes: Processes
    cloud: Cloud
    storage: str
    app: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)

    @property
    def host_log(self) -> Path:
        """Where the host writes its log."""
        return self.processes.log_file(HOST)

    async def until(self, expected: str, check: Callable[[], Awaitable[T]], seconds: float = 30) -> T:
        """Call until the check no longer raises `NotYet`, and return what it returns.

        Raises:
            Unexpected: That took too long, or one of the processes ended.
        """
        deadline = time.monotonic() + seconds
        while True:
            if dead := self.processes.dead():
                raise Unexpected(expected, dead)
            try:
                return await check()
            except NotYet as not_yet:
                if time.monotonic() > deadline:
                    raise Unexpected(expected, f"{not_yet} (for {seconds:.0f} s)") from None
            except OSError as error:
                # A connection that broke: the next look tells whether the process behind it is gone.
                if time.monotonic() > deadline:
                    raise Unexpected(expected, str(error)) from error
            await asyncio.sleep(0.1)

    async def api(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
        """Call Groundswell's HTTP API with its function key; return status, headers and answer."""
        headers = {"x-functions-key": self.host["functionKey"]}
        status, received, answer = await self.cloud.local(method, f"{self.host['url']}{path}", body, headers)
        return status, dict(received), answer

    async def start_host(self, port: int) -> None:
        """Start the Functions host with the app's identity and settings."""
        self.host = await self.launch_host(HOST, port)

    async def launch_host(self, name: str, port: int = 0) -> dict[str, Any]:
        """Start a Functions host as a process of this name; return what it tells when it is ready."""
        ready, settings = self.folder / f"{name}.json", self.folder / "settings.json"
        ready.unlink(missing_ok=True)
        settings.write_text('{"IsEncrypted": false, "Values": {}}')
        command = python("dev.functionshost", "--app", str(ROOT), "--port", str(port), "--settings", str(settings),
                         "--ready-file", str(ready), "--log-format", "json", "--grace", "1")  # fmt: skip
        # Short, because people type it; it opens nothing but this host on loopback.
        key = {"LOCALAZURE_FUNCTIONS_FUNCTION_KEY": secrets.token_hex(5)}
        self.processes.start(name, command, {**self.app["environment"], **self.app_settings(), **key})

        async def told() -> dict[str, Any]:
            if not ready.exists():
                raise NotYet("no answer")
            document: dict[str, Any] = json.loads(ready.read_text())
            return document

        host = await self.until("the Functions host to start", told)
        if host["errors"]:
            raise Unexpected("the host to load every function", "; ".join(host["errors"]))
        return host

    def app_settings(self) -> dict[str, str]:
        """The app's settings: those of infra/app-settings.json for a local deployment."""
        computed = {
            "teamSubscriptionIds": SUBSCRIPTION.rpartition("/")[2],
            "clientId": self.app["clientId"],
            "storageConnectionString": self.storage,
        }
        return infra.app_settings(
            computed,
            GROUNDSWELL_POLICY=str(self.folder / "policy" / "rebuilds.yaml"),
            # Looks at runs more often than in Azure, where they take minutes.
            GROUNDSWELL_RUN_CHECK_SECONDS="1",
            GROUNDSWELL_FLEET_CACHE_SECONDS="1",
        )


@contextlib.asynccontextmanager
async def running(option: Option, ports: Ports | None = None) -> AsyncIterator[World]:
    """Start Azurite and localazure; end everything, the Functions host too, and remove all files afterwards.

    Raises:
        CannotStart: Something is not installed.
        Unexpected: A process does not come up.
    """
    ports = ports or Ports()
    with tempfile.TemporaryDirectory(prefix="groundswell-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _write_policy(folder / "policy", option)
        processes = Processes(folder)
        try:
            try:
                environment, storage = await _start(ports, folder, processes)
            except Unexpected:
                if ports == Ports():
                    raise
                # Another program may have taken a port after it was found free. Any other port will do.
                await processes.stop()
                environment, storage = await _start(Ports(), folder, processes)
            async with Cloud(environment, GRANT_DELAY) as cloud:
                yield World(option, folder, processes, cloud, storage)
        finally:
            await processes.stop()


async def _start(ports: Ports, folder: Path, processes: Processes) -> tuple[dict[str, str], str]:
    """Start Azurite and localazure; return the environment of Azure's clients and the storage's connection string."""
    blob, queue, table = free_ports(ports.blob, ports.queue, ports.table)
    # localazure finds free ports by itself, which nobody can take in between.
    proxy, control = (free_ports(port)[0] if port else 0 for port in (ports.proxy, ports.control))
    try:
        command = azurite.command({"blob": blob, "queue": queue, "table": table}, log=True)
    except azurite.NotInstalled as error:
        raise CannotStart(str(error)) from error
    processes.start(AZURITE, command, folder=folder)
    exports = folder / "azure.env"
    exports.unlink(missing_ok=True)
    processes.start(LOCALAZURE, python("dev.localazure", "--env-file", str(exports), "--rbac-delay", str(GRANT_DELAY),
                                       "--proxy-port", str(proxy), "--control-port", str(control)))  # fmt: skip
    deadline = time.monotonic() + 30
    while not (listens(blob) and listens(queue) and listens(table) and _complete(exports)):
        if dead := processes.dead():
            raise Unexpected("Azurite and localazure to start", f"{dead}: {_last_words(processes)}")
        if time.monotonic() > deadline:
            raise Unexpected("Azurite and localazure to start", "no answer for 30 s")
        await asyncio.sleep(0.05)
    return read_exports(exports), azurite.connection_string(blob, queue, table)


def read_exports(path: Path) -> dict[str, str]:
    """Read the `export NAME=value` lines that localazure writes for shells."""
    words = [shlex.split(line)[1] for line in path.read_text().splitlines() if line.startswith("export ")]
    return dict(word.split("=", 1) for word in words)


def _complete(exports: Path) -> bool:
    text = exports.read_text() if exports.exists() else ""
    return "export LOCALAZURE_CONTROL=" in text and text.endswith("\n")


def _last_words(processes: Processes) -> str:
    texts = [processes.log_file(name).read_text(errors="replace").strip() for name in (AZURITE, LOCALAZURE)]
    return " / ".join(text.splitlines()[-1] for text in texts if text)


def _write_policy(folder: Path, option: Option) -> None:
    """Copy the policy that ships with the app; only the identity differs between the options."""
    shutil.copytree(ROOT / "policy", folder)
    if option is Option.SYSTEM_ASSIGNED:
        path = folder / "rebuilds.yaml"
        document = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**document, "identity": {"type": "SystemAssigned"}}, sort_keys=False))

"""The commands of the documents, typed into a shell as they stand there, with the real CLI and Groundswell running."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable

from dev.conformance import documents
from dev.conformance.azure_cli.az import PROGRAM, Az
from dev.conformance.azure_cli.groundswell import SELECTED, Company
from dev.conformance.documents import Command
from dev.conformance.world import Option
from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.sandbox import deployment
from dev.sandbox.cloud import SUBSCRIPTION, TEAM, Cloud
from dev.sandbox.world import NotYet

# What the app answers with when it refuses; curl by itself takes that for a success.
_PROBLEM = '"type": "about:blank"'


class Shell:
    """A bash that keeps its variables and functions from one command to the next."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Type into a process that reads commands."""
        self._process = process

    @classmethod
    async def start(cls, az: Az) -> Shell:
        """Start it where the CLI works, with the CLI before all other programs of its name."""
        environment = {**os.environ, **az.environment, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
                       "SUBSCRIPTION": DEFAULT_SUBSCRIPTION}  # fmt: skip
        return cls(await asyncio.create_subprocess_exec(
            "bash", "--noprofile", "--norc", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=environment, cwd=az.folder,
        ))  # fmt: skip

    async def type(self, text: str, seconds: float = 120) -> tuple[int, str]:
        """Type a command; return the worst exit status of its pipeline, and what it printed."""
        assert self._process.stdin  # noqa: S101 - it was asked for; this tells the type checker
        assert self._process.stdout  # noqa: S101
        mark = secrets.token_hex(8)
        self._process.stdin.write(f'set -o pipefail\n{text}\necho "{mark}:$?"\n'.encode())
        await self._process.stdin.drain()
        printed = ""
        async with asyncio.timeout(seconds):
            while line := (await self._process.stdout.readline()).decode(errors="replace"):
                if found := re.match(rf"(.*){mark}:(\d+)\n", line):
                    return int(found[2]), printed + found[1]
                printed += line
        return -1, f"{printed}the shell ended"

    async def end(self) -> None:
        """Let it go."""
        if self._process.stdin:
            self._process.stdin.close()
        await self._process.wait()


class Reader:
    """Somebody who reads the documents and types their commands, one after the other."""

    def __init__(self, az: Az, shell: Shell) -> None:
        """Read in a world where Groundswell runs and myregistry has its first run."""
        self.az, self.cloud, self._shell = az, az.world.cloud, shell
        self._typed: list[Command] = []

    async def type(self, command: Command) -> None:
        """Type a command and report whether it did what the document says."""
        for pattern, prepare in _BEFORE.items():
            if re.match(pattern, command.plain):
                await prepare(self.cloud)
        text = command.filled
        if "$RUN" in text:
            text = text.replace("$RUN", await self._run(is_over=not command.plain.startswith("az acr task cancel-run")))
        for _ in range(10):
            status, printed = await self._shell.type(text)
            if '"status": 503' not in printed:
                break
            # The reader is asked to come back later.
            await self.cloud.control("GET", "/idle?timeout=5")
        found = []
        if status or _PROBLEM in printed or re.search(r"^ERROR: ", printed, re.MULTILINE):
            found.append(f"exit status {status}: {' '.join(printed.split())[-500:]}")
        self._typed.append(command)
        found += await self._consequences(command)
        self.az.report.add(f"{self.az.client}: {command.document}", command.plain, found)

    async def _run(self, *, is_over: bool) -> str:
        """Return the newest run of myregistry, or the newest that has built its image."""

        async def newest() -> str:
            runs = await self.cloud.runs(await registry_of(self.cloud))
            found = [run["runId"] for run in runs if not is_over or run["status"] == "Succeeded"]
            if not found:
                raise NotYet("no run")
            return str(found[-1])

        return await self.az.world.until("a run", newest)

    async def _consequences(self, command: Command) -> list[str]:
        """Return what is not as the document says it is after a command."""
        if command.plain.startswith("az tag update"):
            tags = (await self.cloud.arm("GET", await registry_of(self.cloud)))["tags"]
            wanted = command.plain.rpartition("base-image-rebuilds=")[2]
            expected = {"base-image-rebuilds": wanted, "team": "shop"}
            return [] if tags == expected else [f"the tags are {tags}, expected {expected}"]
        if command.plain.startswith("az functionapp keys set"):
            status, _ = await self._shell.type("groundswell GET registries/myregistry")
            # The reader takes the new key as the document showed at its beginning.
            again = next(typed for typed in self._typed if typed.plain.startswith("KEY="))
            await self._shell.type(again.filled)
            renewed, printed = await self._shell.type("groundswell GET registries/myregistry")
            return ["the old key is still good"] * (not status) + [f"the new key is refused: {printed}"] * bool(renewed)
        return []


async def registry_of(cloud: Cloud) -> str:
    """Return the id of myregistry, which moves."""
    return next(path for path in await cloud.registries() if path.endswith(f"/{TEAM}"))


async def _enabled(cloud: Cloud) -> None:
    """Let the team go on that an earlier command has paused."""
    tags = f"{await registry_of(cloud)}/providers/Microsoft.Resources/tags/default"
    body = {"operation": "Merge", "properties": {"tags": {"base-image-rebuilds": "enabled"}}}
    await cloud.arm("PATCH", tags, body)


async def _new_group(cloud: Cloud) -> None:
    await cloud.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/newGroup", {"location": "eastus"})


async def _app_group(cloud: Cloud) -> None:
    await cloud.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/rg-prod", {"location": "eastus"})


async def _slow_run(cloud: Cloud) -> None:
    """Start a run that takes its time."""
    registry = await registry_of(cloud)
    await cloud.control("PATCH", "/settings", {"agent": {"pace": 30}})
    body = {"type": "TaskRunRequest", "taskId": f"{registry}/tasks/helloworldtask"}
    await cloud.arm("POST", f"{registry}/scheduleRun", body)
    await cloud.control("PATCH", "/settings", {"agent": {"pace": 0.2}})


# What a reader has, or has done, before such a command.
_BEFORE: dict[str, Callable[[Cloud], Awaitable[None]]] = {
    r"groundswell POST|curl -X POST|az acr list": _enabled,
    r"az resource move": _new_group,
    r"group=": _app_group,
    r"az acr task cancel-run": _slow_run,
}


async def play(az: Az) -> None:
    """Type every command that the documents have for a shell."""
    company = Company(az, Option.USER_ASSIGNED)
    await company.deploy()
    await deployment.subscribe(az.world.cloud, az.world.host)
    await az.ask(f"acr create --resource-group myResourceGroup --name {TEAM} --sku Standard {SELECTED} team=shop")

    async def first_run() -> None:
        if not await az.world.cloud.runs(TEAM):
            raise NotYet("no run")

    await az.world.until(f"{TEAM} to be onboarded", first_run, 60)
    (az.folder / "azure.env").write_text("".join(f"export {n}={v}\n" for n, v in az.world.cloud.environment.items()))
    shell = await Shell.start(az)
    try:
        reader = Reader(az, shell)
        for command in documents.played():
            await reader.type(command)
    finally:
        await shell.end()

"""What a rebuild costs beside the run itself: `python -m dev.bench.costs [N]`.

Counts what passes between Azurite and those who use it (the app and the Functions host), the app's invocations and the
log lines that they write, for a fleet of N registries (default: 20). docs/costs-and-limits.md quotes the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import ClientSession, web

from dev.bench.world import FleetWorld, fleet

_IDLE_SECONDS = 60.0
_PORT = re.compile(r"(Queue|Table)Endpoint=http://127\.0\.0\.1:(\d+)/")
# What is added on the way would spoil the requests' signatures.
_AUTO = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass
class Meter:
    """Counts requests on their way to storage, by service and method."""

    counts: Counter[str] = field(default_factory=Counter)

    @contextlib.asynccontextmanager
    async def read(self, connection: str) -> AsyncIterator[str]:
        """Stand before the queues and tables of a connection string; yield the one to use instead."""
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(ClientSession(auto_decompress=False))
            for service, port in _PORT.findall(connection):
                own = await self._serve(stack, session, service.lower(), int(port))
                connection = connection.replace(f":{port}/", f":{own}/")
            yield connection

    async def _serve(self, stack: contextlib.AsyncExitStack, session: ClientSession, service: str, port: int) -> int:
        async def pass_on(request: web.Request) -> web.Response:
            self.counts[_name(service, request)] += 1
            url = f"http://127.0.0.1:{port}{request.raw_path}"
            headers = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
            body = await request.read() or None
            async with session.request(
                request.method, url, data=body, headers=headers, skip_auto_headers=_AUTO
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in ("transfer-encoding", "connection")}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])


def _name(service: str, request: web.Request) -> str:
    if service == "queue" and request.path.endswith("/messages") and request.method == "GET":
        return "queue receive"
    if service == "table" and request.path.endswith("/$batch"):
        return "table transaction"
    return f"{service} {request.method}"


@dataclass
class Phase:
    """What happened between two looks."""

    name: str
    storage: Counter[str]
    invocations: Counter[str]
    lines: int
    characters: int

    def show(self, share: int) -> str:
        """Say it, for each of so many registries."""

        def per(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count / share:.2f}" for name, count in sorted(counts.items())) or "none"

        return (
            f"{self.name}, for each of {share}:\n  storage: {per(self.storage)}\n  invocations: "
            f"{per(self.invocations)}\n  log lines: {self.lines / share:.2f}, {self.characters / share:.0f} characters"
        )


async def _watch(world: FleetWorld, meter: Meter, name: str, start: int) -> Phase:
    """Tell what was counted since the meter was emptied and since this place in the host's log."""
    text = world.host_log.read_text()[start:]
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    begun = Counter(str(record["function"]) for record in records if record["message"].startswith("Executing ("))
    return Phase(name, Counter(meter.counts), begun, len(records), len(text))


async def _restart(world: FleetWorld, follow: str, storage: str) -> None:
    """Start the host anew behind the meter; what the bench itself asks of storage passes it by."""
    own, world.storage = world.storage, storage
    await world.restart_host(follow)
    world.storage = own


async def measure(count: int) -> list[tuple[Phase, int]]:
    """Measure a first run, a rebuild, a rebuild that is followed, a push of nothing new, and an hour of nothing."""
    meter, phases = Meter(), list[tuple[Phase, int]]()
    async with fleet(0) as world, meter.read(world.storage) as storage:
        await _restart(world, "all", storage)
        start = len(world.host_log.read_text())
        meter.counts.clear()
        await world.onboard(count)
        phases.append((await _watch(world, meter, "Onboarding without a run", start), count))
        for follow in ("changed", "all"):
            await _restart(world, follow, storage)
            start = len(world.host_log.read_text())
            meter.counts.clear()
            await world.cloud.push_base_image(text := f"{follow} {time.time_ns()}")
            await world.scheduled(count * len(phases), 300)
            await world.drained(600)
            phases.append((await _watch(world, meter, f"Rebuild, GROUNDSWELL_FOLLOW_RUNS={follow}", start), count))
        start = len(world.host_log.read_text())
        meter.counts.clear()
        await world.cloud.push_base_image(text)
        await asyncio.sleep(5)
        phases.append((await _watch(world, meter, "The same content again", start), 1))
        meter.counts.clear()
        await asyncio.sleep(_IDLE_SECONDS)
        idle = Counter({name: round(number * 3600 / _IDLE_SECONDS) for name, number in meter.counts.items()})
        phases.append((Phase("An hour of nothing on one instance", idle, Counter(), 0, 0), 1))
    return phases


def main() -> int:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for phase, share in asyncio.run(measure(count)):
        print(phase.show(share))
    return 0


if __name__ == "__main__":
    sys.exit(main())

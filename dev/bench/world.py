"""A local Azure with a fleet of onboarded registries, Azure's throttling and latency, and Groundswell in its host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from azure.storage.queue.aio import QueueServiceClient

from dev.sandbox import deployment
from dev.sandbox.world import NotYet, Option, World, running

LATENCY, JITTER = 0.06, 0.02
"""Seconds that every answer of Azure takes here, and by how much that varies."""

BURST, REFILL = 200.0, 10.0
"""Resource Manager's published bucket of writes for each subscription and principal, and its refill in a second:
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling"""

# A step of the builder's work takes this long, so that a run takes about as long as a short one in Azure.
_PACE = 3.0
_PLENTY = {"burst": 1e6, "per_second": 1e6}
_SETTING_UP = {
    "throttle": dict.fromkeys(("reads", "writes", "deletes"), _PLENTY),
    "front": {"latency": 0, "jitter": 0},
    "rbac": {"delay": 0},
    "agent": {"pace": _PACE},
}
# To change a limit fills its buckets.
_LIKE_AZURE = {
    "throttle": {
        "reads": {"burst": 250, "per_second": 25},
        "writes": {"burst": BURST, "per_second": REFILL},
        "deletes": {"burst": BURST, "per_second": REFILL},
    },
    "front": {"latency": LATENCY, "jitter": JITTER},
}

SCHEDULE = "Microsoft.ContainerRegistry/registries/scheduleRun/action"
ARM = "management.azure.com"
APP = "groundswell"


@dataclass(frozen=True)
class Calls:
    """Calls to Resource Manager, by what it counts them as."""

    reads: int
    writes: int
    throttled: int


@dataclass
class FleetWorld(World):
    """A running world.

    Attributes:
        follow: Which runs Groundswell follows (GROUNDSWELL_FOLLOW_RUNS).
    """

    follow: str = "changed"

    def app_settings(self) -> dict[str, str]:
        """Leave all settings at their defaults, but for the one that is compared."""
        shortened = ("GROUNDSWELL_RUN_CHECK_SECONDS", "GROUNDSWELL_FLEET_CACHE_SECONDS")
        settings = {name: value for name, value in super().app_settings().items() if name not in shortened}
        return {**settings, "GROUNDSWELL_FOLLOW_RUNS": self.follow}

    async def deploy(self) -> None:
        """Create the base registry and start Groundswell beside it; it hears no events yet."""
        await self.cloud.control("PATCH", "/settings", _SETTING_UP)
        await deployment.create_base(self.cloud)
        self.app = await deployment.create_app(self.cloud)
        await deployment.assign_roles(self.cloud, self.app["principalId"])
        await self.start_host(0)

    async def onboard(self, count: int) -> None:
        """Create registries that opt in and let Groundswell onboard them by the events of their creation."""
        await deployment.subscribe(self.cloud, self.host)
        turns = asyncio.Semaphore(8)

        async def create(name: str) -> None:
            async with turns:
                await deployment.create_registry(self.cloud, name, {"base-image-rebuilds": "enabled"})

        await asyncio.gather(*(create(team(number)) for number in range(count)))

        async def onboarded() -> None:
            written = (await self._counts())["PUT", "microsoft.containerregistry/registries/tasks/write"]
            if written < count:
                raise NotYet(f"{written} of {count} registries have their task")

        await self.until("all registries to be onboarded", onboarded, 60 + count)
        await self.drained(120)

    async def restart_host(self, follow: str) -> None:
        """Start the host anew: nothing is in its caches, and nothing is known of Resource Manager's pace."""
        self.follow = follow
        os.kill(self.host["pid"], signal.SIGTERM)
        async with asyncio.timeout(30):
            while not self.processes.dead():  # noqa: ASYNC110 - it is another process that ends
                await asyncio.sleep(0.05)
        (self.folder / "host.json").unlink()
        await self.start_host(0)
        await deployment.subscribe(self.cloud, self.host)

    async def like_azure(self) -> None:
        """Throttle and answer as Azure does from now on, with full buckets and an empty journal."""
        await self.cloud.control("PATCH", "/settings", _LIKE_AZURE)
        await self.cloud.control("DELETE", "/journal")

    async def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for item in await self.cloud.control("GET", "/journal/counts"):
            if item["caller"] == APP:
                counts[item["method"], item["operation"].lower()] += item["count"]
        return counts

    async def scheduled(self, count: int, seconds: float) -> None:
        """Wait until the app has asked for so many runs (refused requests included) since the journal was cleared."""

        async def enough() -> None:
            asked = (await self._counts())["POST", SCHEDULE.lower()]
            if asked < count:
                raise NotYet(f"{asked} of {count} runs asked for")

        await self.until(f"{count} runs", enough, seconds)

    async def entries(self, caller: str, **match: str) -> list[dict[str, Any]]:
        """Return the journal's entries of a caller at Resource Manager."""
        query = "&".join(f"{key}={value}" for key, value in {"caller": caller, "host": ARM, **match}.items())
        entries: list[dict[str, Any]] = (await self.cloud.control("GET", f"/journal?{query}"))["entries"]
        return entries

    async def moment_of_push(self) -> datetime:
        """Return when the last manifest was put under a tag."""
        puts = (await self.cloud.control("GET", "/journal?method=PUT&path=.*/manifests/.*"))["entries"]
        return datetime.fromisoformat(puts[-1]["at"])

    async def calls(self, caller: str = APP) -> Calls:
        """Count a caller's calls to Resource Manager since the journal was cleared."""
        return count_calls(await self.entries(caller))

    async def drained(self, seconds: float) -> None:
        """Wait until the app's queues are empty and no run is under way."""
        async with QueueServiceClient.from_connection_string(self.storage) as queues:

            async def empty() -> None:
                left = 0
                async for queue in queues.list_queues():
                    if not queue.name.endswith("-poison"):
                        client = queues.get_queue_client(queue.name)
                        left += (await client.get_queue_properties()).approximate_message_count or 0
                if left:
                    raise NotYet(f"{left} messages are left")
                if not (await self.cloud.control("GET", "/idle?timeout=1"))["idle"]:
                    raise NotYet("runs are under way")

            await self.until("nothing to be left to do", empty, seconds)

    def peak_memory(self) -> float:
        """Return the most memory that the host's process has held, in MiB (0 where Linux' /proc is missing)."""
        status = Path(f"/proc/{self.host['pid']}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def count_calls(entries: list[dict[str, Any]]) -> Calls:
    """Count as Resource Manager does: whatever is not a GET is a write, and what it refuses is neither."""
    throttled = sum(entry["status"] == 429 for entry in entries)
    reads = sum(entry["method"] == "GET" and entry["status"] != 429 for entry in entries)
    return Calls(reads, len(entries) - throttled - reads, throttled)


def team(number: int) -> str:
    """Return the name of a team registry."""
    return f"team{number:05}"


@contextlib.asynccontextmanager
async def fleet(count: int) -> AsyncIterator[FleetWorld]:
    """Start a world with Groundswell and so many onboarded registries; end it and remove all files afterwards."""
    async with running(Option.USER_ASSIGNED) as world:
        own: FleetWorld = FleetWorld(**{f.name: getattr(world, f.name) for f in fields(World)})
        await own.deploy()
        if count:
            await own.onboard(count)
        yield own

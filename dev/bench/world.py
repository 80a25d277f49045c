"""A local Azure with a fleet of onboarded registries, Azure's throttling and latency, and Groundswell in its hosts."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from dev.bench.further import Further
from dev.bench.storage import StorageMeter
from dev.sandbox import deployment
from dev.sandbox.cloud import SUBSCRIPTION
from dev.sandbox.world import AZURITE, HOST, NotYet, Option, World, running

LATENCY, JITTER = 0.06, 0.02
"""Seconds that every answer of Azure takes here, and by how much that varies."""

BURST, REFILL = 200.0, 10.0
"""Resource Manager's published bucket of writes for each subscription and principal, and its refill in a second:
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling"""

PACE = 3.0
"""Seconds that a piece of a run's work takes, so that a run takes about as long as a short one in Azure."""

_PLENTY = {"burst": 1e6, "per_second": 1e6}
_SETTING_UP = {
    "throttle": dict.fromkeys(("reads", "writes", "deletes"), _PLENTY),
    "front": {"latency": 0, "jitter": 0},
    "rbac": {"delay": 0},
    "agent": {"pace": PACE},
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


@dataclass(frozen=True)
class Fleet:
    """How many registries there are, and over how many subscriptions they are spread evenly."""

    size: int
    subscriptions: int = 1


@dataclass
class FleetWorld(World):
    """A running world.

    Attributes:
        fleet: What has been onboarded.
        follow: Which runs Groundswell follows (GROUNDSWELL_FOLLOW_RUNS).
        meter: Counts what reaches queues and tables.
        hosts: The Functions hosts, which share queues and tables; events and requests go to the first.
    """

    fleet: Fleet = Fleet(0)
    follow: str = "changed"
    hosts: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the log of the storage and name the subscriptions."""
        self.meter = StorageMeter(self.processes.log_file(AZURITE))
        self.further = [Further.number(number) for number in range(1, self.fleet.subscriptions)]

    @property
    def subscriptions(self) -> list[str]:
        """The ids of the subscriptions, that of the base registry first."""
        return [path.rpartition("/")[2] for path in (SUBSCRIPTION, *(place.subscription for place in self.further))]

    def app_settings(self) -> dict[str, str]:
        """Leave all settings at their defaults, but for what is compared."""
        shortened = ("GROUNDSWELL_RUN_CHECK_SECONDS", "GROUNDSWELL_FLEET_CACHE_SECONDS")
        settings = {name: value for name, value in super().app_settings().items() if name not in shortened}
        compared = {"GROUNDSWELL_FOLLOW_RUNS": self.follow, "GROUNDSWELL_SUBSCRIPTIONS": ",".join(self.subscriptions)}
        return {**settings, **compared}

    async def deploy(self) -> None:
        """Create the base registry and start Groundswell beside it; it hears no events yet."""
        await self.cloud.control("PATCH", "/settings", _SETTING_UP)
        await deployment.create_base(self.cloud)
        self.app = await deployment.create_app(self.cloud)
        await deployment.assign_roles(self.cloud, self.app["principalId"])
        for place in self.further:
            await place.create(self.cloud, self.app["principalId"])
        await self._start_hosts(1)

    async def onboard(self) -> None:
        """Create registries that opt in and let Groundswell onboard them by the events of their creation."""
        await deployment.subscribe(self.cloud, self.host)
        for place in self.further:
            await place.subscribe(self.cloud)
        groups = [deployment.PLACE.group, *(place.group for place in self.further)]
        turns = asyncio.Semaphore(8)

        async def create(number: int) -> None:
            async with turns:
                tags, group = {"base-image-rebuilds": "enabled"}, groups[number % len(groups)]
                await deployment.create_registry(self.cloud, team(number), tags, group)

        count = self.fleet.size
        await asyncio.gather(*(create(number) for number in range(count)))

        async def onboarded() -> None:
            written = (await self._counts())["PUT", "microsoft.containerregistry/registries/tasks/write"]
            if written < count:
                raise NotYet(f"{written} of {count} registries have their task")

        await self.until("all registries to be onboarded", onboarded, 60 + count)
        await self.drained(120)

    async def restart_hosts(self, follow: str = "changed", count: int = 1) -> None:
        """Start hosts anew: nothing is in their caches, and nothing is known of Resource Manager's pace.

        Args:
            follow: Which runs are followed.
            count: How many hosts share the work from now on.
        """
        self.follow = follow
        await self.processes.stop(*(_host_name(number) for number in range(len(self.hosts))))
        await self._start_hosts(count)
        await deployment.subscribe(self.cloud, self.host)

    async def _start_hosts(self, count: int) -> None:
        self.hosts = [await self.launch_host(_host_name(number)) for number in range(count)]
        self.host = self.hosts[0]

    async def warm_up(self) -> None:
        """Let every host import the SDKs, which the first request does: cold starts have a row of their own."""
        for host in self.hosts:
            headers = {"x-functions-key": host["functionKey"]}
            await self.cloud.local("GET", f"{host['url']}/api/registries/warmup", None, headers)

    async def like_azure(self, pace: float = PACE) -> None:
        """Throttle and answer as Azure does from now on, with full buckets; journal and meter begin anew.

        Args:
            pace: Seconds that a piece of a run's work takes; a run waits as long before the first.
        """
        await self.cloud.control("PATCH", "/settings", {**_LIKE_AZURE, "agent": {"pace": pace}})
        await self.cloud.control("DELETE", "/journal")
        self.meter.clear()

    async def hurry(self) -> None:
        """Let runs go on without a pause after the piece of work that each is at."""
        await self.cloud.control("PATCH", "/settings", {"agent": {"pace": 0}})

    async def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for item in await self.cloud.control("GET", "/journal/counts"):
            if item["caller"] == APP:
                counts[item["method"], item["operation"].lower()] += item["count"]
        return counts

    async def scheduled(self, count: int, seconds: float) -> None:
        """Wait until the app has been granted so many runs since the journal was cleared."""

        async def enough() -> None:
            asked = (await self._counts())["POST", SCHEDULE.lower()]
            # The journal itself is asked last: it is long.
            granted = asked if asked < count else len(await self.runs_granted())
            if granted < count:
                raise NotYet(f"{granted} of {count} runs")

        await self.until(f"{count} runs", enough, seconds)

    async def runs_granted(self) -> list[dict[str, Any]]:
        """Return the journal's entries of the runs that the app has been granted."""
        return [entry for entry in await self.entries(APP, operation=SCHEDULE) if 200 <= entry["status"] < 300]

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

        async def empty() -> None:
            if left := self.meter.read().left:
                raise NotYet(f"{left} messages are left")
            if not (await self.cloud.control("GET", "/idle?timeout=1"))["idle"]:
                raise NotYet("runs are under way")

        await self.until("nothing to be left to do", empty, seconds)

    def peak_memory(self) -> float:
        """Return the most memory that the first host's worker has held, in MiB (0 where Linux' /proc is missing)."""
        host = Path(f"/proc/{self.host['pid']}")
        workers = [
            Path("/proc", pid) for children in host.glob("task/*/children") for pid in children.read_text().split()
        ]
        statuses = [worker / "status" for worker in workers]
        lines = [line for status in statuses if status.exists() for line in status.read_text().splitlines()]
        return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)


def count_calls(entries: list[dict[str, Any]]) -> Calls:
    """Count as Resource Manager does: whatever is not a GET is a write, and what it refuses is neither."""
    throttled = sum(entry["status"] == 429 for entry in entries)
    reads = sum(entry["method"] == "GET" and entry["status"] != 429 for entry in entries)
    return Calls(reads, len(entries) - throttled - reads, throttled)


def team(number: int) -> str:
    """Return the name of a team registry."""
    return f"team{number:05}"


def _host_name(number: int) -> str:
    return f"{HOST}-{number + 1}" if number else HOST


@contextlib.asynccontextmanager
async def running_fleet(fleet: Fleet) -> AsyncIterator[FleetWorld]:
    """Start a world with Groundswell and an onboarded fleet; end it and remove all files afterwards."""
    async with running(Option.USER_ASSIGNED) as world:
        own: FleetWorld = FleetWorld(**{f.name: getattr(world, f.name) for f in fields(World)}, fleet=fleet)
        await own.deploy()
        if fleet.size:
            await own.onboard()
        yield own

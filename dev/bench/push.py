"""A pushed base image and its rebuilds by Groundswell, as they are seen at the wire."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from dev.bench.table import floor_seconds
from dev.bench.world import BURST, REFILL, Calls, Fleet, FleetWorld


@dataclass(frozen=True)
class FanOut:
    """How a fan-out went.

    Attributes:
        seconds: From the push to the answer to the last scheduleRun.
        to_schedule: Calls until then.
        in_all: Calls until the end: the last run that is followed had ended.
        storage: Requests to queues and tables until the end, by their names.
        messages: Most messages in the queues at once.
        memory: Most memory of the first host's worker, in MiB.
    """

    seconds: float
    to_schedule: Calls
    in_all: Calls
    storage: Counter[str]
    messages: int
    memory: float


NEVER = 86400.0
"""A pace at which no run begins to work while it is watched."""


def held(fleet: Fleet) -> float:
    """Return how many seconds runs wait before they work, if all are to be scheduled by then.

    In Azure, they work on other machines. Here, they would take the processors from those who are measured.
    """
    floor = floor_seconds(fleet.size // fleet.subscriptions, BURST, REFILL)
    return 15 + (1.1 * floor or fleet.size / 25)


async def measure(
    world: FleetWorld, follow: str = "changed", hosts: int = 1, pace: float | None = None, *, to_end: bool = True
) -> FanOut:
    """Push a base image that was never pushed before and watch its rebuilds by new hosts.

    Args:
        world: Where to.
        follow: Which runs are followed.
        hosts: How many hosts share the work.
        pace: Seconds that a piece of a run's work takes; None lets runs work when all are scheduled.
        to_end: Whether runs are to end. If not, they never begin to work, and nobody waits for them.
    """
    count = world.fleet.size
    await world.restart_hosts(follow, hosts)
    await world.like_azure((held(world.fleet) if pace is None else pace) if to_end else NEVER)
    # Its reads count here.
    await world.warm_up()
    await world.cloud.push_base_image(f"{follow} {time.time_ns()}")
    pushed = await world.moment_of_push()
    await world.scheduled(count, 60 + 4 * floor_seconds(count, BURST, REFILL))
    to_schedule = await world.calls()
    memory = world.peak_memory()
    if to_end and pace is None:
        await world.hurry()
    if to_end:
        await world.drained(600 + count)
    world.meter.read()
    runs = await world.runs_granted()
    if len(runs) != count:
        raise RuntimeError(f"{len(runs)} runs for {count} registries")
    last = max(datetime.fromisoformat(entry["at"]).timestamp() + entry["seconds"] for entry in runs)
    meter = world.meter
    return FanOut(
        last - pushed.timestamp(), to_schedule, await world.calls(), Counter(meter.counts), meter.most, memory
    )

"""A pushed base image and its rebuilds, by Groundswell and by others."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from dev.bench.az import AzureCli
from dev.bench.table import Row, at_most, floor_seconds, none
from dev.bench.world import APP, BURST, LATENCY, REFILL, SCHEDULE, Calls, Fleet, FleetWorld, team
from dev.bench.worlds import Worlds
from dev.conformance.world import ROOT, run
from dev.sandbox.cloud import TASK

READS_TO_SCHEDULE = 0.05
"""Reads that a healthy registry may cost, in the mean of a large fleet."""

TO_FLOOR = 1.05
TO_SCRIPT = 3.0
REQUESTS_TO_STORAGE = 0.5
MESSAGES = 2

_SAMPLE = 5


@dataclass(frozen=True)
class FanOut:
    """How a fan-out went.

    Attributes:
        seconds: From the push to the answer to the last scheduleRun.
        to_schedule: Calls until then.
        in_all: Calls until the last run that is followed had ended.
        storage: Requests to queues and tables until then, by their names.
        messages: Most messages in the queues at once.
        memory: Most memory of the first host's worker, in MiB.
    """

    seconds: float
    to_schedule: Calls
    in_all: Calls
    storage: Counter[str]
    messages: int
    memory: float


def held(fleet: Fleet) -> float:
    """Return how many seconds runs wait before they work, if all are to be scheduled by then.

    In Azure, they work on other machines. Here, they would take the processors from those who are measured.
    """
    return 15 + floor_seconds(fleet.size // fleet.subscriptions, BURST, REFILL) + fleet.size / 25


async def measure(world: FleetWorld, follow: str = "changed", hosts: int = 1, pace: float | None = None) -> FanOut:
    """Push a base image that was never pushed before and watch its rebuilds by new hosts.

    Args:
        world: Where to.
        follow: Which runs are followed.
        hosts: How many hosts share the work.
        pace: Seconds that a piece of a run's work takes; None lets runs work when all are scheduled.
    """
    count = world.fleet.size
    await world.restart_hosts(follow, hosts)
    await world.like_azure(held(world.fleet) if pace is None else pace)
    # Its reads count here.
    await world.warm_up()
    await world.cloud.push_base_image(f"{follow} {time.time_ns()}")
    pushed = await world.moment_of_push()
    await world.scheduled(count, 60 + 4 * floor_seconds(count, BURST, REFILL))
    to_schedule = await world.calls()
    memory = world.peak_memory()
    if pace is None:
        await world.hurry()
    await world.drained(600 + count)
    runs = [entry for entry in await world.entries(APP, operation=SCHEDULE) if entry["status"] < 300]
    if len(runs) != count:
        raise RuntimeError(f"{len(runs)} runs for {count} registries")
    last = max(datetime.fromisoformat(entry["at"]).timestamp() + entry["seconds"] for entry in runs)
    meter = world.meter
    return FanOut(
        last - pushed.timestamp(), to_schedule, await world.calls(), Counter(meter.counts), meter.most, memory
    )


@dataclass(frozen=True)
class Script:
    """How the script without pacing did the same job; `left_out` are registries without a run."""

    seconds: float
    runs: int
    left_out: int
    throttled: int

    @property
    def text(self) -> str:
        """That, in words."""
        return f"{self.seconds:.1f} s, {self.throttled} × 429, {self.runs} runs, {self.left_out} registries left out"


async def unpaced(world: FleetWorld) -> Script:
    """Do the same job by a script without pacing."""
    await world.like_azure(held(world.fleet))
    command = [sys.executable, "-m", "dev.bench.unpaced", *world.subscriptions]
    output = await run(command, world.cloud.environment, folder=ROOT, seconds=900)
    if output.status:
        raise RuntimeError(f"the script without pacing ended: {output.last_words}")
    result = json.loads(output.out)
    throttled = (await world.calls("owner")).throttled
    await world.hurry()
    await world.drained(300 + world.fleet.size)
    return Script(result["seconds"], result["scheduled"], result["failed"], throttled)


async def az_loop(world: FleetWorld) -> float | None:
    """Return the seconds that `az acr task run` takes for one registry; None if the CLI is not installed."""
    cli = await AzureCli.of(world)
    if cli is None:
        return None
    await world.like_azure()
    started = time.monotonic()
    for number in range(_SAMPLE):
        # --no-wait stays silent about the run; a person who waits for each log needs far longer.
        await cli(f"acr task run --registry {team(number)} --name {TASK} --no-logs --no-wait --output none")
    return (time.monotonic() - started) / _SAMPLE


async def rows(worlds: Worlds, size: int, most: float | None = None, times: int = 1) -> list[Row]:
    """Measure all rows of one fleet in one subscription.

    Args:
        most: How many times as long as the script Groundswell may take; None where the bucket decides.
        times: How often Groundswell and the script take turns; the median of each counts.
    """
    world = await worlds.of(Fleet(size))
    count = world.fleet.size
    pushes, scripts = list[FanOut](), list[Script]()
    for _ in range(1 if worlds.smoke else times):
        worlds.say("a push, rebuilt by Groundswell")
        pushes.append(await measure(world))
        worlds.say("the same job by a script")
        scripts.append(await unpaced(world))
    seen, script = _median(pushes), _median(scripts)
    az_seconds = await az_loop(world)
    found = [*pace_rows(count, seen), *_cost(count, seen), *storage_rows(world.fleet, seen)]
    found.append(Row(f"N = {count}: peak memory of the worker", f"{seen.memory:.0f} MiB"))
    found.append(against_script(f"N = {count}", seen, script, most))
    what = f"N = {count}: Groundswell vs. a loop of `az acr task run`"
    if az_seconds is None:
        return [*found, Row(what, "", "not run: no Azure CLI")]
    total = az_seconds * count
    extrapolated = f"{total:.0f} s (extrapolated: {_SAMPLE} × {az_seconds:.2f} s)"
    return [*found, Row(what, f"{seen.seconds:.1f} s", extrapolated, seen.seconds / total)]


T = TypeVar("T", FanOut, Script)


def _median(measured: list[T]) -> T:
    return sorted(measured, key=lambda one: one.seconds)[len(measured) // 2]


def against_script(fleet: str, seen: FanOut, script: Script, most: float | None) -> Row:
    """Compare with the script without pacing."""
    what, ratio = f"{fleet}: Groundswell vs. a parallel SDK script without pacing", seen.seconds / script.seconds
    if most is None:
        return Row(what, f"{seen.seconds:.1f} s", script.text, ratio)
    return at_most(what, f"{seen.seconds:.1f} s", script.text, ratio, most)


def pace_rows(count: int, seen: FanOut) -> list[Row]:
    """Compare with what the token bucket allows, or latency and concurrency where it allows everything at once."""
    what = f"N = {count}: push to last run scheduled"
    refused = none(f"N = {count}: refused by Resource Manager (429)", seen.in_all.throttled)
    if floor := floor_seconds(count, BURST, REFILL):
        return [to_floor(what, seen.seconds, floor, TO_FLOOR), refused]
    at_once = in_parallel()
    least = -(-count // at_once) * LATENCY
    against = f"{least:.1f} s: rounds of {at_once} with {LATENCY * 1000:.0f} ms each (the bucket allows all at once)"
    return [Row(what, f"{seen.seconds:.1f} s", against, seen.seconds / least), refused]


def to_floor(what: str, seconds: float, floor: float, limit: float) -> Row:
    """Compare a fan-out with the floor of the token bucket (0 if it holds all writes)."""
    if not floor:
        return Row(what, f"{seconds:.1f} s", "0 s: the bucket allows all at once")
    return at_most(what, f"{seconds:.1f} s", f"{floor:.1f} s: (N − {BURST:g}) / {REFILL:g}", seconds / floor, limit)


def storage_rows(fleet: Fleet, seen: FanOut) -> list[Row]:
    """Tell what storage was asked for, and how many messages there were at once."""
    count, total = fleet.size, seen.storage.total()
    parts = ", ".join(f"{name} {number}" for name, number in sorted(seen.storage.items()))
    wanted = REQUESTS_TO_STORAGE if count >= 1000 else None
    requests = Row(f"N = {count}: requests to tables and queues for each rebuild, polling included",
                   f"{total} ({parts})", f"{count}", total / count, f"≤ {wanted:g}" if wanted else "",
                   total / count <= wanted if wanted else None)  # fmt: skip
    what = f"N = {count}: messages in the queues at once, for each of {fleet.subscriptions} subscriptions"
    return [requests, at_most(what, f"{seen.messages}", f"{fleet.subscriptions}", seen.messages / fleet.subscriptions,
                              MESSAGES)]  # fmt: skip


def in_parallel() -> int:
    """Return how many messages the host works on at a time."""
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    return int(queues["batchSize"]) + int(queues["newBatchThreshold"])


def _cost(count: int, seen: FanOut) -> list[Row]:
    reads = seen.to_schedule.reads / count
    target = (f"≤ {READS_TO_SCHEDULE:g}", reads <= READS_TO_SCHEDULE) if count >= 1000 else ("", None)
    writes = seen.to_schedule.writes / count
    further = seen.in_all.reads - seen.to_schedule.reads
    return [
        Row(f"N = {count}: writes for each registry, to schedule", f"{seen.to_schedule.writes}", f"{count}", writes,
            "1", writes == 1),
        Row(f"N = {count}: reads for each registry, to schedule", f"{seen.to_schedule.reads}", f"{count}", reads,
            *target),
        Row(f"N = {count}: further reads for each registry, GROUNDSWELL_FOLLOW_RUNS=changed", f"{further}", f"{count}",
            further / count),
    ]  # fmt: skip

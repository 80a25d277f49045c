"""How soon a pushed base image is rebuilt, and what that costs, beside what bounds it and beside others."""

from __future__ import annotations

import json
from typing import TypeVar

from dev.bench.others import SAMPLE, Script, az_loop, unpaced
from dev.bench.push import FanOut, measure
from dev.bench.table import Row, at_most, floor_seconds, none
from dev.bench.world import BURST, LATENCY, REFILL, Fleet
from dev.bench.worlds import Worlds
from dev.conformance.world import ROOT

READS_TO_SCHEDULE = 0.05
"""Reads that a healthy registry may cost, in the mean of a large fleet."""

REQUESTS_TO_STORAGE = 0.5
"""Requests to tables and queues that a rebuild may cost, in the mean of a large fleet."""

MESSAGES = 2
"""Messages that a subscription may have in the queues at once."""

TO_FLOOR = 1.05
TO_SCRIPT = 3.0
"""How many times as long a fan-out may take as what bounds it, and as the script without pacing."""


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
    extrapolated = f"{total:.0f} s (extrapolated: {SAMPLE} × {az_seconds:.2f} s)"
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
    each = f", for each of {fleet.subscriptions} subscriptions" if fleet.subscriptions > 1 else ""
    what = f"N = {count}: messages in the queues at once{each}"
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

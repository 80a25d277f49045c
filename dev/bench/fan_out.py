"""A pushed base image and its rebuilds, by Groundswell and by others."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from dev.bench.az import AzureCli
from dev.bench.table import Row, at_most, floor_seconds, none
from dev.bench.world import APP, BURST, LATENCY, REFILL, SCHEDULE, Calls, FleetWorld, team
from dev.conformance.world import ROOT, run
from dev.sandbox.cloud import SUBSCRIPTION, TASK

READS_TO_SCHEDULE = 0.05
"""Reads that a healthy registry may cost, in the mean of a large fleet."""

_SAMPLE = 5


@dataclass(frozen=True)
class FanOut:
    """How a fan-out went.

    Attributes:
        seconds: From the push to the answer to the last scheduleRun.
        to_schedule: Calls until then.
        in_all: Calls until the last run that is followed had ended.
    """

    seconds: float
    to_schedule: Calls
    in_all: Calls
    memory: float


async def measure(world: FleetWorld, count: int, follow: str) -> FanOut:
    """Push a base image that was never pushed before and watch its rebuilds."""
    await world.restart_host(follow)
    await world.like_azure()
    # The first request of a host imports the SDKs: cold starts have a row of their own. Its reads count here.
    await world.api("GET", "/api/registries/warmup")
    await world.cloud.push_base_image(f"{follow} {time.time_ns()}")
    pushed = await world.moment_of_push()
    await world.scheduled(count, 60 + 4 * floor_seconds(count, BURST, REFILL))
    to_schedule = await world.calls()
    memory = world.peak_memory()
    await world.drained(300 + count)
    runs = [entry for entry in await world.entries(APP, operation=SCHEDULE) if entry["status"] < 300]
    if len(runs) != count:
        raise RuntimeError(f"{len(runs)} runs for {count} registries")
    last = max(datetime.fromisoformat(entry["at"]).timestamp() + entry["seconds"] for entry in runs)
    return FanOut(last - pushed.timestamp(), to_schedule, await world.calls(), memory)


async def unpaced(world: FleetWorld) -> tuple[float, int, int, int]:
    """Do the same job by a script without pacing; return seconds, runs, registries left out, and refused requests."""
    await world.like_azure()
    command = [sys.executable, "-m", "dev.bench.unpaced", SUBSCRIPTION.rpartition("/")[2]]
    output = await run(command, world.cloud.environment, folder=ROOT, seconds=900)
    if output.status:
        raise RuntimeError(f"the script without pacing ended: {output.last_words}")
    result = json.loads(output.out)
    throttled = (await world.calls("owner")).throttled
    await world.drained(300)
    return result["seconds"], result["scheduled"], result["failed"], throttled


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


async def rows(world: FleetWorld, count: int) -> list[Row]:
    """Measure all rows of one fleet."""
    changed = await measure(world, count, "changed")
    followed = await measure(world, count, "all")
    script_seconds, script_runs, left_out, refused = await unpaced(world)
    az_seconds = await az_loop(world)
    found = [*pace_rows(count, changed), *_cost(count, changed, followed)]
    found.append(Row(f"N = {count}: peak memory of the host process", f"{followed.memory:.0f} MiB"))
    found.append(
        Row(
            f"N = {count}: Groundswell vs. a parallel SDK script without pacing", f"{changed.seconds:.1f} s",
            f"{script_seconds:.1f} s, {refused} × 429, {script_runs} runs, {left_out} registries left out",
            changed.seconds / script_seconds,
        )
    )  # fmt: skip
    if az_seconds is None:
        found.append(Row(f"N = {count}: Groundswell vs. a loop of `az acr task run`", "", "not run: no Azure CLI"))
    else:
        found.append(
            Row(
                f"N = {count}: Groundswell vs. a loop of `az acr task run`", f"{changed.seconds:.1f} s",
                f"{az_seconds * count:.0f} s (extrapolated: {_SAMPLE} × {az_seconds:.2f} s)",
                changed.seconds / (az_seconds * count),
            )
        )  # fmt: skip
    return found


def pace_rows(count: int, seen: FanOut) -> list[Row]:
    """Compare with what the token bucket allows, or latency and concurrency where it allows everything at once."""
    floor = floor_seconds(count, BURST, REFILL)
    what = f"N = {count}: push to last run scheduled"
    refused = none(f"N = {count}: refused by Resource Manager (429)", seen.in_all.throttled)
    if floor:
        against = f"{floor:.1f} s: (N − {BURST:g}) / {REFILL:g}"
        return [at_most(what, f"{seen.seconds:.1f} s", against, seen.seconds / floor, 1.1), refused]
    at_once = in_parallel()
    least = -(-count // at_once) * LATENCY
    against = f"{least:.1f} s: rounds of {at_once} with {LATENCY * 1000:.0f} ms each (the bucket allows all at once)"
    return [Row(what, f"{seen.seconds:.1f} s", against, seen.seconds / least), refused]


def in_parallel() -> int:
    """Return how many messages the host works on at a time."""
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    return int(queues["batchSize"]) + int(queues["newBatchThreshold"])


def _cost(count: int, changed: FanOut, followed: FanOut) -> list[Row]:
    reads = changed.to_schedule.reads / count
    target = (f"≤ {READS_TO_SCHEDULE:g}", reads <= READS_TO_SCHEDULE) if count >= 1000 else ("", None)
    writes = changed.to_schedule.writes / count
    return [
        Row(f"N = {count}: writes for each registry, to schedule", f"{changed.to_schedule.writes}", f"{count}", writes,
            "1", writes == 1),
        Row(f"N = {count}: reads for each registry, to schedule", f"{changed.to_schedule.reads}", f"{count}", reads,
            *target),
        Row(f"N = {count}: further reads for each registry, GROUNDSWELL_FOLLOW_RUNS=changed",
            f"{changed.in_all.reads - changed.to_schedule.reads}", f"{count}",
            (changed.in_all.reads - changed.to_schedule.reads) / count),
        Row(f"N = {count}: reads for each registry in all, GROUNDSWELL_FOLLOW_RUNS=all", f"{followed.in_all.reads}",
            f"{count}", followed.in_all.reads / count),
    ]  # fmt: skip

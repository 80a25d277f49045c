"""Runs as long as real builds, followed to their end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dev.bench import push
from dev.bench.table import Row, at_most, none
from dev.bench.world import APP, Fleet, FleetWorld, team
from dev.bench.worlds import Worlds

_FLEET = Fleet(1000)
_PACE = 49.0
"""Seconds that a piece of work takes in a run of about five minutes."""
_READS = 2.0
_SAMPLE = 20


async def rows(worlds: Worlds) -> list[Row]:
    """Count what Groundswell reads of runs while it follows one for each registry."""
    world = await worlds.of(_FLEET)
    count = world.fleet.size
    worlds.say("a push, and until the last run has ended")
    seen = await push.measure(world, "all", pace=1.0 if worlds.smoke else _PACE)
    numbers = range(0, count, -(-count // _SAMPLE))
    took = [await run_seconds(world, team(number)) for number in numbers]
    reads, refused = count_reads(await world.entries(APP, method="GET"))
    runs = f"{count} runs of {sum(took) / len(took):.0f} s"
    return [
        at_most(f"N = {count}: reads for each followed run", f"{reads}", runs, reads / count, _READS),
        none(f"N = {count}: reads refused by Resource Manager (429) in following runs", refused),
        Row(f"N = {count}: peak memory of the worker in following runs", f"{world.peak_memory():.0f} MiB",
            f"{seen.memory:.0f} MiB when all runs were scheduled"),
    ]  # fmt: skip


def count_reads(entries: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many reads of runs (single ones or lists) were answered, and how many reads of anything refused."""
    refused = sum(entry["status"] == 429 for entry in entries)
    return sum("/runs" in entry["path"].lower() and entry["status"] != 429 for entry in entries), refused


async def run_seconds(world: FleetWorld, registry: str) -> float:
    """Return how long the last run of a registry took.

    Raises:
        RuntimeError: Groundswell does not know that it ended.
    """
    _, _, answer = await world.api("GET", f"/api/registries/{registry}")
    run = (await world.cloud.runs(registry))[-1]
    known = {item["runId"]: item["status"] for item in answer["runs"]}.get(run["runId"])
    if known != run["status"]:
        raise RuntimeError(f"the run of {registry} is {run['status']}, Groundswell says {known}")
    return (datetime.fromisoformat(run["finishTime"]) - datetime.fromisoformat(run["startTime"])).total_seconds()

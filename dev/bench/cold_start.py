"""What needs no Azure: a worker's cold start and the planning of a fan-out."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from dev.bench.table import Row, at_most
from dev.conformance.world import ROOT, run
from shared.adapters.policy_file import PolicyFile
from shared.domain.policy import Policy
from shared.domain.registries import Registry
from shared.flows import fanout

_TIMES = 9
_SIZES = (10, 100, 1_000, 10_000)


async def _import_seconds(module: str) -> float:
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    output = await run([sys.executable, "-c", code], folder=ROOT)
    if output.status:
        raise RuntimeError(f"import {module}: {output.last_words}")
    return float(output.out)


async def import_row() -> Row:
    """Compare what a worker imports at its start with azure.functions alone; the two take turns."""
    app, library = list[float](), list[float]()
    for _ in range(_TIMES):
        library.append(await _import_seconds("azure.functions"))
        app.append(await _import_seconds("function_app"))
    mine, theirs = statistics.median(app), statistics.median(library)
    return at_most("Cold start: importing function_app.py", f"{mine * 1000:.0f} ms",
                   f"{theirs * 1000:.0f} ms: azure.functions (medians of {_TIMES})", mine / theirs, 1.5)  # fmt: skip


def planning_row() -> Row:
    """Compare what planning costs for each registry in the largest and in the smallest fleet."""
    policy = PolicyFile(ROOT / "policy" / "rebuilds.yaml").load()
    costs = {size: _planning_seconds(policy, size) / size * 1e6 for size in _SIZES}
    text = ", ".join(f"{size:,}: {cost:.1f} µs" for size, cost in costs.items())
    first, last = costs[_SIZES[0]], costs[_SIZES[-1]]
    return at_most("Planning (who is affected, in which order), for each registry", f"{last:.1f} µs ({text})",
                   f"{first:.1f} µs in a fleet of {_SIZES[0]}", last / first, 1.5)  # fmt: skip


def _planning_seconds(policy: Policy, size: int) -> float:
    fleet = tuple(_registry(number) for number in range(size))
    took = []
    for _ in range(max(5, 10_000 // size // 10)):
        started = time.perf_counter()
        planned = fanout.plan(policy, policy.tasks, fleet)
        took.append(time.perf_counter() - started)
        if len(planned) != size:
            raise RuntimeError(f"{len(planned)} of {size} registries were planned")
    return statistics.median(took)


def _registry(number: int) -> Registry:
    name, subscription = f"team{number:05}", f"00000000-0000-0000-0000-{number % 8:012}"
    path = f"/subscriptions/{subscription}/resourceGroups/teams/providers/Microsoft.ContainerRegistry/registries/{name}"
    return Registry(path, name, "teams", subscription, "eastus", f"{name}.azurecr.io",
                    tags={"base-image-rebuilds": "enabled"})  # fmt: skip


async def rows() -> list[Row]:
    """Measure both."""
    return [await import_row(), await asyncio.to_thread(planning_row)]

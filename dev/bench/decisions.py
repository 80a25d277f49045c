"""What decisions cost in the processor for each registry, in fleets of ten to ten thousand; no Azure, no I/O."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

from dev.bench.table import Row
from dev.bench.worlds import Worlds
from dev.conformance.world import ROOT
from shared.adapters.policy_file import PolicyFile
from shared.domain.registries import Registry
from shared.flows import fanout

_SIZES = (10, 100, 1_000, 10_000)
_FLAT = 1.5
_MICROSECONDS = 20.0

Decision = Callable[[], object]
"""Decides for a whole fleet once."""


def _planning(size: int) -> Decision:
    policy = PolicyFile(ROOT / "policy" / "rebuilds.yaml").load()
    fleet = tuple(_registry(number) for number in range(size))

    def plan() -> None:
        planned = fanout.plan(policy, policy.tasks, fleet)
        if len(planned) != size:
            raise RuntimeError(f"{len(planned)} of {size} registries were planned")

    return plan


DECISIONS: dict[str, Callable[[int], Decision]] = {"Planning (who is affected, in which order)": _planning}
"""Each decision by its name, made for a fleet of a size."""


def _registry(number: int) -> Registry:
    name, subscription = f"team{number:05}", f"00000000-0000-0000-0000-{number % 8:012}"
    path = f"/subscriptions/{subscription}/resourceGroups/teams/providers/Microsoft.ContainerRegistry/registries/{name}"
    return Registry(path, name, "teams", subscription, "eastus", f"{name}.azurecr.io",
                    tags={"base-image-rebuilds": "enabled"})  # fmt: skip


def _microseconds(decide: Decision, size: int) -> float:
    took = []
    for _ in range(max(5, 10_000 // size // 10)):
        started = time.perf_counter()
        decide()
        took.append(time.perf_counter() - started)
    return statistics.median(took) / size * 1e6


def row(name: str, decision: Callable[[int], Decision]) -> Row:
    """Compare what a decision costs for each registry in the largest and in the smallest fleet."""
    costs = {size: _microseconds(decision(size), size) for size in _SIZES}
    text = ", ".join(f"{size:,}: {cost:.1f} µs" for size, cost in costs.items())
    first, last = costs[_SIZES[0]], costs[_SIZES[-1]]
    ratio, most = last / first, max(costs.values())
    return Row(f"{name}, for each registry", f"{last:.1f} µs ({text})", f"{first:.1f} µs in a fleet of {_SIZES[0]}",
               ratio, f"≤ {_FLAT:g}, ≤ {_MICROSECONDS:g} µs", ratio <= _FLAT and most <= _MICROSECONDS)  # fmt: skip


async def rows(worlds: Worlds) -> list[Row]:
    """Measure every decision."""
    await worlds.none()
    return [await asyncio.to_thread(row, *item) for item in DECISIONS.items()]

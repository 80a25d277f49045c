"""What a rebuild costs beside the run itself: `python -m dev.bench.costs [N]`.

Counts what passes between Azurite and those who use it (the app and the Functions host), the app's invocations and the
log lines that they write, for a fleet of N registries (default: 20). docs/costs-and-limits.md quotes the result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass

from dev.bench.world import Fleet, FleetWorld, running_fleet

_IDLE_SECONDS = 60.0


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


def _start(world: FleetWorld) -> int:
    """Count storage anew; return the place in the host's log from which on lines count."""
    world.meter.clear()
    return len(world.host_log.read_text())


def _watch(world: FleetWorld, name: str, start: int) -> Phase:
    """Tell what was counted since the start."""
    text = world.host_log.read_text()[start:]
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    begun = Counter(str(record["function"]) for record in records if record["message"].startswith("Executing ("))
    return Phase(name, Counter(world.meter.read().counts), begun, len(records), len(text))


async def measure(count: int) -> list[tuple[Phase, int]]:
    """Measure a first run, a rebuild, a rebuild that is followed, a push of nothing new, and an hour of nothing."""
    phases = list[tuple[Phase, int]]()
    async with running_fleet(Fleet(0)) as world:
        world.fleet = Fleet(count)
        start = _start(world)
        await world.onboard()
        phases.append((_watch(world, "Onboarding without a run", start), count))
        for follow in ("changed", "all"):
            await world.restart_hosts(follow)
            start = _start(world)
            await world.cloud.push_base_image(text := f"{follow} {time.time_ns()}")
            await world.scheduled(count * len(phases), 300)
            await world.drained(600)
            phases.append((_watch(world, f"Rebuild, GROUNDSWELL_FOLLOW_RUNS={follow}", start), count))
        start = _start(world)
        await world.cloud.push_base_image(text)
        await asyncio.sleep(5)
        phases.append((_watch(world, "The same content again", start), 1))
        world.meter.clear()
        await asyncio.sleep(_IDLE_SECONDS)
        polled = world.meter.read().counts.items()
        idle = Counter({name: round(number * 3600 / _IDLE_SECONDS) for name, number in polled})
        phases.append((Phase("An hour of nothing on one instance", idle, Counter(), 0, 0), 1))
    return phases


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m dev.bench.costs", description="Measure what a rebuild costs.")
    parser.add_argument("count", metavar="N", nargs="?", type=int, default=20, help="registries (default: 20)")
    for phase, share in asyncio.run(measure(parser.parse_args().count)):
        print(phase.show(share))
    return 0


if __name__ == "__main__":
    sys.exit(main())

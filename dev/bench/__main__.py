"""Command line: `python -m dev.bench [N …]` measures with fleets of these sizes (default: 100 and 1,000)."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time

from rich.console import Console

from dev.bench import alone, events, fan_out, onboarding
from dev.bench.table import Row, markdown
from dev.bench.world import BURST, JITTER, LATENCY, REFILL, fleet
from dev.sandbox.processes import CannotStart
from dev.sandbox.world import Unexpected

_SMOKE = 5


def conditions() -> str:
    """Return under what conditions is measured."""
    return (
        f"localazure: writes {BURST:g} + {REFILL:g}/s for each subscription and principal, latency "
        f"{LATENCY * 1000:.0f} ± {JITTER * 1000:.0f} ms; Python {platform.python_version()}, {os.cpu_count()} "
        f"processors shared by Azurite, localazure, the Functions host and the bench; {time.strftime('%Y-%m-%d')}"
    )


async def measure(sizes: list[int], console: Console, *, smoke: bool) -> list[Row]:
    """Measure everything; with `smoke`, only that a small fleet is rebuilt, and how."""
    task = asyncio.current_task()
    assert task  # noqa: S101 - this is one; it tells the type checker
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - started:6.1f} {text}")

    if smoke:
        async with fleet(_SMOKE) as world:
            seen = await fan_out.measure(world, _SMOKE, "changed")
        return fan_out.pace_rows(_SMOKE, seen)
    say("imports and planning")
    found = await alone.rows()
    say("onboarding")
    async with fleet(0) as world:
        found += await onboarding.rows(world)
    for size in sizes:
        say(f"setting up {size} registries")
        async with fleet(size) as world:
            say(f"fan-out to {size} registries")
            found += await fan_out.rows(world, size)
            if size == max(sizes):
                say("events")
                found += await events.rows(world, size)
    say("done")
    return found


def main() -> int:
    """Measure and print the table; the exit status tells whether every target was met."""
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description="Measure Groundswell on the local Azure.")
    parser.add_argument("size", nargs="*", type=int, metavar="N", help="sizes of the fleets (default: 100 1000)")
    parser.add_argument("--smoke", action="store_true", help=f"only try that it works, with {_SMOKE} registries")
    arguments = parser.parse_args()
    if any(not 1 <= size <= 10_000 for size in arguments.size):
        parser.error("N must be from 1 to 10000")
    console = Console(highlight=False, stderr=True)
    try:
        rows = asyncio.run(measure(arguments.size or [100, 1000], console, smoke=arguments.smoke))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except (CannotStart, Unexpected, RuntimeError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    print(f"{conditions()}\n\n{markdown(rows)}")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""Command line: `python -m dev.bench [scenario …]` measures these scenarios, or all."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from dev.bench.scenarios import ALL, Scenario
from dev.bench.table import Row, markdown
from dev.bench.world import BURST, JITTER, LATENCY, REFILL
from dev.bench.worlds import Worlds
from dev.sandbox.processes import CannotStart


def conditions() -> str:
    """Return under what conditions is measured."""
    return (
        f"localazure: writes {BURST:g} + {REFILL:g}/s for each subscription and principal, latency "
        f"{LATENCY * 1000:.0f} ± {JITTER * 1000:.0f} ms; Python {platform.python_version()}, {os.cpu_count()} "
        f"processors shared by Azurite, localazure, the Functions host and the bench; {time.strftime('%Y-%m-%d')}"
    )


async def measure(scenarios: Sequence[Scenario], console: Console, *, smoke: bool) -> list[Row]:
    """Measure one scenario after another and tell on the console how far it is."""
    task = asyncio.current_task()
    assert task  # noqa: S101 - this is one; it tells the type checker
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - started:6.1f} {text}", soft_wrap=True)

    found = []
    async with Worlds(lambda text: say(f"        {text}"), smoke=smoke) as worlds:
        for number, scenario in enumerate(scenarios, 1):
            say(f"[{number:2}/{len(scenarios)}] {scenario.name}: {scenario.what}")
            found += await scenario.measure(worlds)
    say("done")
    return found


def main() -> int:
    """Measure and print the table; the exit status tells whether every target was met."""
    names = {scenario.name: scenario for scenario in ALL}
    parser = argparse.ArgumentParser(
        prog="python -m dev.bench", description="Measure Groundswell on the local Azure.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["scenarios:", *(f"  {name:15}{scenario.what}" for name, scenario in names.items())]),
    )  # fmt: skip
    parser.add_argument("scenario", nargs="*", help="what to measure (default: everything)")
    parser.add_argument("--smoke", action="store_true", help="only try that it works, with 5 registries")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenario) - names.keys():
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [scenario for scenario in ALL if scenario.name in arguments.scenario or not arguments.scenario]
    console = Console(highlight=False, markup=False, stderr=True)
    try:
        rows = asyncio.run(measure(chosen, console, smoke=arguments.smoke))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except CannotStart as error:
        console.print(str(error), style="red")
        return 1
    print(f"{conditions()}\n\n{markdown(rows)}")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

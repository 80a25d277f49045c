"""Command line: `python -m dev.conformance [name …]` runs the named clients, or all, against localazure."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from dev.conformance import azure_cli, container_clients, recorded
from dev.conformance.report import Report

CLIENTS: dict[str, Callable[[Report], Awaitable[None]]] = {
    "azure-cli": azure_cli.run,
    "recorded": recorded.run,
    "container-clients": container_clients.run,
}


async def _run(names: list[str], report: Report) -> None:
    task = asyncio.current_task()
    assert task  # noqa: S101 - this is one; it tells the type checker
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for name in names:
        try:
            await CLIENTS[name](report)
        except Exception as error:
            report.add(name, "all that was planned", [f"it stopped early: {type(error).__name__}: {error}"])


def main() -> int:
    """Run the clients and print the table; the exit status tells whether localazure conforms."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.conformance", description="Run real clients against localazure."
    )
    parser.add_argument("name", nargs="*", metavar="name", help=f"which clients: {', '.join(CLIENTS)} (default: all)")
    names = parser.parse_args().name or list(CLIENTS)
    if unknown := set(names) - CLIENTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    report = Report()
    try:
        asyncio.run(_run(names, report))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    report.print_table()
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())

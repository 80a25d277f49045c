"""The real Azure CLI: the scenario in both options, the commands around it, and its work beside Groundswell's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from conformance.azure_cli import scenario
from conformance.azure_cli.az import PROGRAM, Az, Stopped
from conformance.report import Report
from conformance.world import Option, azure


async def _chain(report: Report, client: str, option: Option, *parts: Callable[[Az], Awaitable[None]]) -> None:
    """Run parts one after another in a world of their own."""
    try:
        async with azure(option) as world:
            az = Az(world, report, client)
            for part in parts:
                await part(az)
    except Stopped as stopped:
        report.add(client, "everything after that", [f"not run, as it builds on `{stopped}`"])
    except Exception as error:
        report.add(client, "everything after that", [f"not run: {type(error).__name__}: {error}"])


async def run(report: Report) -> None:
    """Run everything; independent chains at the same time."""
    if not PROGRAM.exists():
        report.add("az", "everything", not_run="the Azure CLI is not installed: run `make conformance`")
        return
    await asyncio.gather(
        _chain(report, "az (user-assigned)", Option.USER_ASSIGNED,
               lambda az: scenario.play(az, Option.USER_ASSIGNED)),
        _chain(report, "az (system-assigned)", Option.SYSTEM_ASSIGNED,
               lambda az: scenario.play(az, Option.SYSTEM_ASSIGNED)),
    )  # fmt: skip

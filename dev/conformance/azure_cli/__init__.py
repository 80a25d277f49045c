"""The real Azure CLI: the scenario in both options, the commands around it, and its work beside Groundswell's."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

from dev.conformance.azure_cli import documents, events, groundswell, registries, scenario, smoke, tasks
from dev.conformance.azure_cli.az import PROGRAM, Az, Stopped
from dev.conformance.report import Report
from dev.conformance.world import Option, azure


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
    user, system = Option
    await asyncio.gather(
        _chain(report, "az (user-assigned)", user, functools.partial(scenario.play, option=user), tasks.play),
        _chain(report, "az (system-assigned)", system, functools.partial(scenario.play, option=system),
               registries.play),
        _chain(report, "az eventgrid", user, events.play),
        _chain(report, "az and Groundswell (user-assigned)", user, functools.partial(groundswell.play, option=user)),
        _chain(report, "az and Groundswell (system-assigned)", system,
               functools.partial(groundswell.play, option=system)),
        _chain(report, "az and the documents", user, documents.play),
        _chain(report, "infra/smoke (user-assigned)", user, functools.partial(smoke.play, option=user)),
        _chain(report, "infra/smoke (system-assigned)", system, functools.partial(smoke.play, option=system)),
    )  # fmt: skip

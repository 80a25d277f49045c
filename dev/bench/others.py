"""The job of a pushed base image, done without Groundswell."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

from dev.bench.az import AzureCli
from dev.bench.push import NEVER, held
from dev.bench.world import FleetWorld, team
from dev.conformance.world import ROOT, run
from dev.sandbox.cloud import TASK

SAMPLE = 5
"""How many registries `az_loop` does."""


@dataclass(frozen=True)
class Script:
    """How the script without pacing did the same job; `left_out` are registries without a run."""

    seconds: float
    runs: int
    left_out: int
    throttled: int

    @property
    def text(self) -> str:
        """That, in words."""
        return f"{self.seconds:.1f} s, {self.throttled} × 429, {self.runs} runs, {self.left_out} registries left out"


async def unpaced(world: FleetWorld, *, to_end: bool = True) -> Script:
    """Do the same job by a script without pacing; without `to_end`, runs never begin to work."""
    await world.like_azure(held(world.fleet) if to_end else NEVER)
    command = [sys.executable, "-m", "dev.bench.unpaced", *world.subscriptions]
    output = await run(command, world.cloud.environment, folder=ROOT, seconds=900)
    if output.status:
        raise RuntimeError(f"the script without pacing ended: {output.last_words}")
    result = json.loads(output.out)
    throttled = (await world.calls("owner")).throttled
    if to_end:
        await world.hurry()
        await world.drained(300 + world.fleet.size)
    return Script(result["seconds"], result["scheduled"], result["failed"], throttled)


async def az_loop(world: FleetWorld) -> float | None:
    """Return the seconds that `az acr task run` takes for one registry; None if the CLI is not installed."""
    cli = await AzureCli.of(world)
    if cli is None:
        return None
    await world.like_azure()
    started = time.monotonic()
    for number in range(SAMPLE):
        # --no-wait stays silent about the run; a person who waits for each log needs far longer.
        await cli(f"acr task run --registry {team(number)} --name {TASK} --no-logs --no-wait --output none")
    return (time.monotonic() - started) / SAMPLE

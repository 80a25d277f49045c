"""A sweep over a fleet that is as it should be."""

from __future__ import annotations

import time
from datetime import datetime

from dev.bench.table import Row
from dev.bench.world import APP, Calls, Fleet, FleetWorld
from dev.bench.worlds import Worlds
from dev.sandbox.world import NotYet

SWEEP = "fleet_swept"
_FLEET = Fleet(1000)
_READS, _SECONDS = 20, 5.0
_QUIET = 5.0
"""Seconds without a call to Azure after which a sweep has come to its end."""


async def measure(world: FleetWorld, function: str = SWEEP) -> tuple[Calls, float]:
    """Call a timer's function now; return its calls to Resource Manager and the seconds until the last was answered."""
    await world.drained(60)
    await world.like_azure()
    started = datetime.fromisoformat(await world.cloud.now()).timestamp()
    url = f"{world.host['url']}/admin/functions/{function}"
    status, _, answer = await world.cloud.local("POST", url, {}, {"x-functions-key": world.host["masterKey"]})
    if status != 202:
        raise RuntimeError(f"{function} cannot be called: {status} {answer}")
    calls, since = 0, time.monotonic()

    async def quiet() -> None:
        nonlocal calls, since
        if (seen := len(await world.entries(APP))) != calls:
            calls, since = seen, time.monotonic()
        if not calls or time.monotonic() - since < _QUIET:
            raise NotYet(f"{calls} calls to Resource Manager")

    await world.until(f"{function} to end", quiet, 300)
    entries = await world.entries(APP)
    last = max(datetime.fromisoformat(entry["at"]).timestamp() + entry["seconds"] for entry in entries)
    return await world.calls(), last - started


async def rows(worlds: Worlds) -> list[Row]:
    """Measure a sweep with the hosts that rebuilt the fleet last."""
    world = await worlds.of(_FLEET)
    what = f"Sweep of {world.fleet.size} healthy registries in one subscription"
    target = f"0 writes, ≤ {_READS} reads, ≤ {_SECONDS:g} s, 0 × 429"
    if SWEEP not in world.host["functions"]:
        return [Row(what, "no sweep yet", target=target)]
    worlds.say("a sweep")
    calls, seconds = await measure(world)
    met = (calls.writes, calls.throttled) == (0, 0) and calls.reads <= _READS and seconds <= _SECONDS
    text = f"{calls.writes} writes, {calls.reads} reads, {seconds:.1f} s, {calls.throttled} × 429"
    return [Row(what, text, target=target, met=met)]

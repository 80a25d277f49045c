"""A fleet in many subscriptions: each has a bucket of its own, and all runs fit into the bursts."""

from __future__ import annotations

from dev.bench import fan_out, others, push
from dev.bench.table import Row, none
from dev.bench.world import Fleet
from dev.bench.worlds import Worlds

_FLEET = Fleet(1000, subscriptions=20)
_TO_SCRIPT = 2.0


async def rows(worlds: Worlds) -> list[Row]:
    """Compare Groundswell with the script without pacing."""
    # Its runs never work, so nobody else can measure in it.
    world = await worlds.of(_FLEET, fresh=True)
    fleet = world.fleet
    worlds.say("a push, rebuilt by Groundswell")
    seen = await push.measure(world, to_end=False)
    worlds.say("the same job by a script")
    script = await others.unpaced(world, to_end=False)
    name = f"N = {fleet.size} in {fleet.subscriptions} subscriptions"
    return [
        fan_out.against_script(name, seen, script, _TO_SCRIPT),
        none(f"{name}: refused by Resource Manager (429)", seen.in_all.throttled),
        *fan_out.storage_rows(fleet, seen)[1:],
    ]

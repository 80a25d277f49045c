"""Several Functions hosts that share queues, tables and Resource Manager's bucket, none of which knows the pace."""

from __future__ import annotations

from dev.bench import fan_out, push
from dev.bench.table import Row, floor_seconds, none
from dev.bench.world import BURST, REFILL, Fleet
from dev.bench.worlds import Worlds

HOSTS = (1, 4, 8)
_SIZE = 400
_TO_FLOOR = 1.1


async def rows(worlds: Worlds) -> list[Row]:
    """Measure a fan-out by one host, by four and by eight, each in a world of its own.

    What Groundswell remembers of the bucket is from the onboarding, when there was no limit: it is of no use.
    """
    found = []
    for hosts in HOSTS:
        world = await worlds.of(Fleet(_SIZE), fresh=True)
        count = world.fleet.size
        name = f"N = {count}, {hosts} cold host{'s' if hosts > 1 else ''}"
        worlds.say(f"a push: {name}")
        seen = await push.measure(world, hosts=hosts, to_end=False)
        floor = floor_seconds(count, BURST, REFILL)
        found.append(fan_out.to_floor(f"{name}: push to last run scheduled", seen.seconds, floor, _TO_FLOOR))
        found.append(none(f"{name}: refused by Resource Manager (429)", seen.in_all.throttled))
    return found

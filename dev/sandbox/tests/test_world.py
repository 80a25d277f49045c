"""The world that demo, bench and conformance share starts whatever else uses this machine."""

from __future__ import annotations

from dev.ports import free_ports
from dev.sandbox.world import Option, Ports, running


async def test_world_takes_other_ports_when_those_it_wants_are_taken_while_it_starts() -> None:
    (port,) = free_ports(0)
    # Both are free when it looks; the first service that listens takes it from the other.
    async with running(Option.USER_ASSIGNED, Ports(blob=port, queue=port)) as world:
        assert world.processes.dead() == ""

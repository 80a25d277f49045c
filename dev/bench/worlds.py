"""The world that scenarios measure in, one at a time: those who need the same fleet one after another share it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType

from dev.bench.world import Fleet, FleetWorld, running_fleet

_SMOKE = 5


@dataclass
class Worlds:
    """Hands out worlds; use as an async context manager.

    Attributes:
        say: Tells the person who waits what is being done.
        smoke: Only try that everything works: small fleets, short runs.
    """

    say: Callable[[str], None]
    smoke: bool = False
    _current: tuple[Fleet, FleetWorld] | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Worlds:
        """Return itself; nothing runs yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        """End the world that runs."""
        await self._stack.aclose()

    async def of(self, fleet: Fleet, *, fresh: bool = False) -> FleetWorld:
        """Return a world with this fleet: the one that runs if it has that, unless it must be fresh."""
        if self.smoke:
            fleet = Fleet(min(fleet.size, _SMOKE), min(fleet.subscriptions, 2))
        if self._current and self._current[0] == fleet and not fresh:
            return self._current[1]
        await self.none()
        self.say(f"setting up {fleet.size} registries")
        world = await self._stack.enter_async_context(running_fleet(fleet))
        self._current = fleet, world
        return world

    async def none(self) -> None:
        """End the world that runs: what is measured next wants the machine for itself, or a new world."""
        self._current = None
        await self._stack.aclose()
        self._stack = AsyncExitStack()

"""The sweep: has the whole fleet compared with what is wanted, whatever events were lost, and finds forgotten walks."""

from __future__ import annotations

from dataclasses import dataclass

from shared import telemetry
from shared.adapters.fleet_state import FleetState
from shared.domain.errors import GroundswellError
from shared.domain.moments import Clock
from shared.domain.state import walk
from shared.flows.base_images import BaseImages
from shared.flows.waking import Waking
from shared.logs import Log
from shared.together import each

log = Log("sweeping")


@dataclass(frozen=True, kw_only=True)
class Sweeping:
    """Sweeps the fleet."""

    state: FleetState
    base_images: BaseImages
    waking: Waking
    clock: Clock
    subscriptions: tuple[str, ...]

    @telemetry.traced("fleet_swept")
    async def sweep(self) -> None:
        """Look at the base images once, and have every subscription walked."""
        try:
            _, moved = await self.base_images.look()
        except GroundswellError as error:
            # All else can be compared without.
            log.warning("base registry not looked at", reason=error)
            moved = ()
        subscriptions = await self._subscriptions()
        await self.waking.raise_all(subscriptions, quiet=True)
        log.info("fleet swept", subscriptions=len(subscriptions), images=", ".join(base.image.name for base in moved))

    @telemetry.traced("walks_watched")
    async def watch(self) -> None:
        """Have walks gone on with that are forgotten: their walker died, or their message was lost."""
        await each(self._wake(subscription) for subscription in await self._subscriptions())

    async def _wake(self, subscription: str) -> None:
        there = (await self.state.walk(subscription)).value
        if walk.is_forgotten(there, self.clock()):
            log.warning("walk was forgotten", subscription=subscription)
            await self.waking.raise_one(subscription, quiet=there.quiet)

    async def _subscriptions(self) -> tuple[str, ...]:
        """Return the subscriptions that are watched, and those that were."""
        watched = (subscription.lower() for subscription in self.subscriptions)
        return tuple(dict.fromkeys((*watched, *await self.state.subscriptions())))

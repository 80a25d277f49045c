"""Calls whoever walks a subscription: now, or when something is due. Each has two messages in the queue at the most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.adapters.fleet_state import FleetState
from shared.adapters.queues import Queues, Sent
from shared.adapters.walk_messages import WALKS, Call
from shared.domain.errors import GroundswellError
from shared.domain.moments import Clock
from shared.domain.state.walk import Walk
from shared.together import each


@dataclass(frozen=True, kw_only=True)
class Waking:
    """Sends the messages of walks."""

    state: FleetState
    queues: Queues
    clock: Clock

    async def raise_all(self, subscriptions: Iterable[str], *, quiet: bool = False) -> None:
        """Give subscriptions one more reason to be walked, and call who walks them."""
        await each(self.raise_one(subscription, quiet=quiet) for subscription in subscriptions)

    async def raise_one(self, subscription: str, *, quiet: bool = False) -> None:
        """Give a subscription one more reason to be walked.

        Args:
            quiet: The reason is the sweep.
        """
        if await self.state.raise_walk(subscription, self.clock(), quiet=quiet):
            try:
                await self.queues.put(WALKS, Call(subscription=subscription).encode())
            except GroundswellError:
                # Whoever tries again is to send it.
                await self.state.change_walk(subscription, lambda there: replace(there, called=None))
                raise

    async def at(self, subscription: str, walk: Walk, when: datetime) -> Walk:
        """See to it that a message comes when something is due, or before; return the walk with that message.

        Args:
            walk: As it was, with the message that stands.
        """
        now = self.clock()
        stands = walk.message if walk.wake and walk.wake > now else None
        if stands and walk.wake and walk.wake <= when:
            return walk
        delay = (when - now).total_seconds()
        moved = await self.queues.move(WALKS, Sent(*stands), delay) if stands else None
        sent = moved or await self.queues.put(WALKS, Call(subscription=subscription).encode(), delay)
        return replace(walk, wake=when, message=(sent.id, sent.receipt))

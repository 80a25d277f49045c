"""Calls whoever walks a subscription: now, or when something is due. Each has two messages in the queue at the most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.fleet_state import FleetState
from shared.adapters.queues import Queues, Sent
from shared.adapters.walk_messages import WALKS, Call
from shared.domain.moments import Clock
from shared.domain.state.walk import Walk
from shared.together import each


@dataclass(frozen=True, kw_only=True)
class Waking:
    """Sends the messages of walks."""

    state: FleetState
    queues: Queues
    clock: Clock

    async def raise_all(self, subscriptions: Iterable[str]) -> None:
        """Give subscriptions one more reason to be walked, and call who walks them."""
        await each(self.raise_one(subscription) for subscription in subscriptions)

    async def raise_one(self, subscription: str) -> None:
        """Give a subscription one more reason to be walked."""
        if await self.state.raise_walk(subscription, self.clock()):
            await self.queues.put(WALKS, Call(subscription=subscription).encode())

    async def at(self, subscription: str, walk: Walk, when: datetime) -> tuple[str, str] | None:
        """See to it that a message comes when something is due; return it.

        Args:
            walk: As it was, with the message that stands.
        """
        now = self.clock()
        delay = (when - now).total_seconds()
        stands = walk.message if walk.wake and walk.wake > now else None
        if stands and walk.wake and walk.wake <= when:
            return stands
        moved = await self.queues.move(WALKS, Sent(*stands), delay) if stands else None
        sent = moved or await self.queues.put(WALKS, Call(subscription=subscription).encode(), delay)
        return sent.id, sent.receipt

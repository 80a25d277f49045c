"""Handles the messages of the queue `walks`: looks into a push, and walks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from shared import telemetry
from shared.adapters.queues import Queues
from shared.adapters.walk_messages import WALKS, Call, Heard, decode
from shared.domain import images
from shared.domain.errors import InvalidInput
from shared.domain.moments import Clock
from shared.domain.state.bases import Hint
from shared.flows.base_images import BaseImages
from shared.flows.waking import Waking
from shared.flows.walking import Walking
from shared.logs import Log

log = Log("calls")


@dataclass
class _Looked:
    """When this worker last began to look at the base registry, and saw what every event queued before tells of."""

    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Handles messages."""

    base_images: BaseImages
    walking: Walking
    waking: Waking
    queues: Queues
    clock: Clock
    subscriptions: tuple[str, ...]
    _looked: _Looked = field(default_factory=_Looked)

    async def called(self, body: bytes, invocation: str) -> None:
        """Handle a message. What fails in an unknown way is raised: the host tries again.

        Args:
            invocation: Its id, which no other one shares.
        """
        try:
            call = decode(body)
        except InvalidInput as error:
            log.error("message set aside", queue=f"{WALKS}-poison", reason=error)
            await self.queues.poison(WALKS, body)
            return
        if call.heard is not None:
            with telemetry.handling("push_heard", call, event_id=call.heard.event_id, image=call.heard.image):
                await self._heard(call.heard, invocation)
            return
        with telemetry.handling("subscription_walked", call, subscription=call.subscription):
            await self.walking.walk(call.subscription, invocation)

    async def _heard(self, heard: Heard, invocation: str) -> None:
        """Look into a push; what moved is built in every subscription, the first one at once."""
        if self._looked.at and heard.queued_at < self._looked.at and heard.looks == 0:
            return
        began = self.clock()
        hint = Hint(images.parse(heard.image), heard.pushed_at)
        found = await self.base_images.hear(hint, heard.looks + 1)
        self._looked.at = began
        if found.again is not None:
            again = heard.model_copy(update={"looks": heard.looks + 1})
            await self.queues.put(WALKS, Call(heard=again).encode(), found.again)
        if found.moved:
            names = ", ".join(base.image.name for base in found.moved[:5])
            log.info("base image moved", event_id=heard.event_id, images=names)
            first, *others = self.subscriptions
            await self.waking.raise_all(others)
            await self.waking.state.raise_walk(first, began)
            await self.walking.walk(first, invocation)

"""Puts messages that were set aside back into their queues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut, RebuildRequest, RunCheck, decode
from shared.adapters.queues import Queues
from shared.domain.errors import GroundswellError, InvalidInput, all_of
from shared.domain.moments import Clock
from shared.flows import inputs
from shared.flows.inputs import Body
from shared.flows.parts import apart
from shared.logs import Log

log = Log("replay")

_KINDS: dict[str, type[FanOut | RebuildRequest | RunCheck]] = {
    FAN_OUTS: FanOut, REBUILD_REQUESTS: RebuildRequest, RUN_CHECKS: RunCheck,
}  # fmt: skip


class ReplayBody(Body):
    """Body of `POST /api/rebuilds/replay`: nothing can be asked for in particular."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Replays what was set aside."""

    queues: Queues
    clock: Clock

    async def replay(self, body: bytes = b"") -> dict[str, int]:
        """Put what was set aside back into the queues, as if it had just been asked for.

        Raises:
            InvalidInput: The body asks for something in particular.
        """
        inputs.body(ReplayBody, body)
        replayed = kept = 0
        failed: dict[str, GroundswellError] = {}
        for queue in _KINDS:
            with apart(failed, "queue", queue):
                taken, left = await self.queues.take_poisoned(queue, partial(self._put_back, queue))
                replayed, kept = replayed + taken, kept + left
        log.info("poisoned messages replayed", replayed=replayed, kept=kept)
        if failed and not replayed:
            raise all_of("Nothing was put back.", failed)
        return {"replayed": replayed, "kept": kept}

    async def _put_back(self, queue: str, body: bytes) -> bool:
        """Put a message back; return False if it is none of this queue's."""
        try:
            message = decode(_KINDS[queue], body)
        except InvalidInput:
            return False
        await self.queues.send(queue, _afresh(message, self.clock()))
        return True


def _afresh(message: FanOut | RebuildRequest | RunCheck, now: datetime) -> FanOut | RebuildRequest | RunCheck:
    """Return a message that has neither failed nor waited. How often a run was looked at stays."""
    changes: dict[str, Any] = {"failing_since": None}
    if not isinstance(message, RunCheck):
        changes |= {"attempts": 0, "requested_at": now}
    if isinstance(message, RebuildRequest):
        changes |= {"waited": 0}
    return message.model_copy(update=changes)

"""Handles the messages of the queue `walks`: reasons to walk, and walks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.fleet import Fleet
from shared.adapters.fleet_state import FleetState
from shared.adapters.queues import Queues
from shared.adapters.rows import MOST_IN_A_TRANSACTION, Row
from shared.adapters.walk_messages import WALKS, Ask, Call, Changed, Heard, decode
from shared.domain import images, retries
from shared.domain.errors import GroundswellError, InvalidInput, TemporaryError
from shared.domain.moments import Clock
from shared.domain.policy import Policy
from shared.domain.registries import RegistryId
from shared.domain.selectors import Selection
from shared.domain.state import budget
from shared.domain.state.bases import Hint
from shared.domain.state.known import Asked, Known, asked
from shared.domain.targets import Target
from shared.flows.base_images import BaseImages
from shared.flows.places import Places
from shared.flows.visiting import Visiting
from shared.flows.waking import Waking
from shared.flows.walking import Walking
from shared.logs import Log, about

log = Log("calls")

_AGAIN = (5.0, 15.0, 60.0)
"""Seconds after which a registry is looked for again: replicas of Resource Manager lag behind its events."""

_MOST_FAILURES = 150
"""Failures of a message until it is set aside: about a day."""

_ROOM = 20
"""Writes that must be left in a subscription for a new registry to go before a walk."""


@dataclass
class _Looked:
    """When this worker last began to look at the base registry, and saw what every event queued before tells of."""

    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Handles messages."""

    policy: Callable[[], Policy]
    arm: Arm
    fleet: Fleet
    state: FleetState
    base_images: BaseImages
    places: Places
    visiting: Visiting
    walking: Walking
    waking: Waking
    queues: Queues
    clock: Clock
    subscriptions: tuple[str, ...]
    _looked: _Looked = field(default_factory=_Looked)

    async def called(self, body: bytes, invocation: str, *, again: bool = False) -> None:
        """Handle a message. What fails in an unknown way is raised: the host tries again.

        Args:
            invocation: Its id, which no other one shares.
            again: The message comes again: whoever handled it first may have died on the way.
        """
        try:
            call = decode(body)
        except InvalidInput as error:
            log.error("message set aside", queue=f"{WALKS}-poison", reason=error)
            telemetry.rebuild("set-aside")
            await self.queues.poison(WALKS, body)
            return
        try:
            await self._handle(call, invocation, again=again)
        except GroundswellError as error:
            await self._put_back(call, error)

    async def _handle(self, call: Call, invocation: str, *, again: bool) -> None:
        # What was put back may have been interrupted anywhere, too.
        again = again or call.failures > 0
        if heard := call.heard:
            with _handling("push_heard", call, event_id=heard.event_id, image=heard.image):
                await self._heard(heard, invocation, again=again)
        elif changed := call.changed:
            with _handling("registry_visited", call, event_id=changed.event_id, registry=changed.registry):
                await self._changed(changed)
        elif ask := call.ask:
            with _handling("fleet_asked", call, event_id=ask.id):
                await self._asked(ask)
        elif subscription := call.subscription:
            with telemetry.handling("subscription_walked", call, subscription=subscription):
                await self.walking.walk(subscription, invocation)

    async def _put_back(self, call: Call, error: GroundswellError) -> None:
        """Put a message back for later; one that has failed for a day is set aside."""
        failed = call.model_copy(update={"failures": call.failures + 1})
        if call.failures >= _MOST_FAILURES:
            log.error("message set aside", queue=f"{WALKS}-poison", reason=error)
            telemetry.rebuild("set-aside")
            await self.queues.poison(WALKS, failed.encode())
            return
        delay = retries.next_delay(call.failures, error)
        log.warning("message put back", delay=round(delay), reason=error)
        telemetry.failed(error)
        await self.queues.put(WALKS, failed.encode(), delay)

    async def _heard(self, heard: Heard, invocation: str, *, again: bool) -> None:
        """Look into a push; what moved is built in every subscription, the first one at once."""
        is_seen = self._looked.at is not None and heard.queued_at < self._looked.at
        if is_seen and heard.looks == 0 and not again:
            return
        began = self.clock()
        hint = Hint(images.parse(heard.image), heard.pushed_at)
        found = await self.base_images.hear(hint, heard.looks + 1)
        self._looked.at = began
        if found.again is not None:
            later = heard.model_copy(update={"looks": heard.looks + 1})
            await self.queues.put(WALKS, Call(heard=later).encode(), found.again)
        if found.moved or again:
            names = ", ".join(base.image.name for base in found.moved[:5])
            log.info("base images moved", images=names)
            first, *others = self.subscriptions
            await self.waking.raise_all(others)
            await self.state.raise_walk(first, began)
            await self.state.told(found.seq)
            await self.walking.walk(first, invocation, began)

    async def _changed(self, changed: Changed) -> None:
        """Look at a team registry, and do at once what is due there."""
        address = RegistryId.parse(changed.registry)
        if address.subscription.lower() not in {each.lower() for each in self.subscriptions}:
            log.warning("registry is in no subscription that is watched", registry=address.name)
            return
        try:
            team = await self.arm.get_registry(address)
        except GroundswellError as error:
            # The walk finds out whether that lasts.
            log.warning("registry not looked at", registry=address.name, reason=error)
            await self.waking.raise_one(address.subscription)
            return
        if team is None:
            if changed.looks < len(_AGAIN):
                later = changed.model_copy(update={"looks": changed.looks + 1})
                await self.queues.put(WALKS, Call(changed=later).encode(), _AGAIN[changed.looks])
            else:
                log.info("registry is gone", registry=address.name)
            return
        walk = await self.state.walk(team.subscription)
        if budget.left(walk.value.writes, self.clock()) < min(_ROOM, budget.left(budget.UNKNOWN, self.clock())):
            await self.waking.raise_one(team.subscription)
            return
        policy = self.policy()
        base = await self.fleet.base(policy)
        for task in policy.tasks:
            target = Target(policy, task, team, base)
            if target.selection is Selection.SELECTED and not task.problem:
                await self.visiting.visit(target, lambda known: known)

    async def _asked(self, ask: Ask) -> None:
        """Note on every target that somebody asked for its run, and have all of them walked."""
        image = images.parse(ask.image) if ask.image else None
        bases = await self.state.bases()
        for subscription in self.subscriptions:
            there, listing = await self.state.subscription(subscription), await self.fleet.listing((subscription,))
            places = await self.places.all(there, bases, listing.registries)
            rows = [
                replace(place.row, value=asked(place.row.value, Asked(ask.id, ask.by, ask.image)))
                for place in places.values()
                if place.wanted.selection is Selection.SELECTED and place.target
                if image is None or place.target.task.builds_on(image)
                if not _has_heard(place.row.value, ask.id)
            ]
            for start in range(0, len(rows), MOST_IN_A_TRANSACTION):
                await self._note(subscription, rows[start : start + MOST_IN_A_TRANSACTION])
            await self.waking.raise_one(subscription)

    async def _note(self, subscription: str, page: Sequence[Row[Known]]) -> None:
        if await self.state.write(subscription, None, page) is None:
            raise TemporaryError(f"Others work on subscription {subscription} at the moment.", 5.0)


@contextmanager
def _handling(name: str, call: Call, *, event_id: str, **attributes: str) -> Iterator[None]:
    """Handle a message in its trace; all that is logged meanwhile names its event."""
    with telemetry.handling(name, call, event_id=event_id, **attributes), about(event_id=event_id):
        yield


def _has_heard(known: Known, ask: str) -> bool:
    """Tell whether a request was noted before: its message may come again."""
    noted = known.asked.id if known.asked else ""
    claimed = known.claim.request if known.claim else ""
    return ask in (noted, claimed, *(run.request for run in known.runs))

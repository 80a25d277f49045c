"""From an event to a message: is it ours, and what is to be looked at? All work waits behind the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared import telemetry
from shared.adapters import event_grid
from shared.adapters.walk_messages import Call, Changed, Heard
from shared.domain import events
from shared.domain.events import Ignored, ImagePushed, Reason
from shared.domain.moments import Clock
from shared.domain.policy import Policy
from shared.logs import Log

log = Log("hearing")


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """Decides on events."""

    policy: Callable[[], Policy]
    clock: Clock
    subscriptions: tuple[str, ...]

    @telemetry.traced("base_image_pushed")
    def base_image_pushed(self, event: Mapping[str, Any]) -> str | None:
        """Decide on an event of the base registry; return the message that has it looked into, or None."""
        decision = push_of(self.policy(), event, log)
        if decision is None:
            return None
        now = self.clock()
        heard = Heard(
            image=str(decision.image),
            event_id=decision.event_id,
            # A push from the future would make all real ones after it look old.
            pushed_at=min(decision.pushed_at or now, now),
            queued_at=now,
        )
        return Call(heard=heard).encode().decode()

    @telemetry.traced("team_registry_changed")
    def team_registry_changed(self, event: Mapping[str, Any]) -> str | None:
        """Decide on an event of a subscription; return the message that has its registry looked at, or None."""
        policy = self.policy()
        decision = events.registry_changed(event_grid.read(event), self.subscriptions)
        if not isinstance(decision, Ignored) and decision.registry.name.lower() == policy.base_name.lower():
            decision = Ignored(Reason.BASE_REGISTRY, decision.registry.name)
        if isinstance(decision, Ignored):
            ignored("team_registry_changed", event, decision, log)
            return None
        name = decision.registry.name
        log.info("team registry changed", event_id=decision.event_id, registry=name, deleted=decision.deleted)
        telemetry.note(event_id=decision.event_id, registry=name)
        telemetry.event("team_registry_changed", telemetry.ACCEPTED)
        if decision.deleted:
            return Call(subscription=decision.registry.subscription.lower()).encode().decode()
        return Call(changed=Changed(registry=decision.registry.text, event_id=decision.event_id)).encode().decode()


def push_of(policy: Policy, event: Mapping[str, Any], log: Log) -> ImagePushed | None:
    """Return the push of a base image that an event tells of, or None if the policy does not ask for it."""
    decision = events.image_pushed(event_grid.read(event), policy.base_name)
    if isinstance(decision, ImagePushed) and not policy.builds_on(decision.image):
        decision = Ignored(Reason.NOT_IN_POLICY, decision.image.name)
    if isinstance(decision, Ignored):
        ignored("base_image_pushed", event, decision, log)
        return None
    log.info("base image pushed", event_id=decision.event_id, image=decision.image)
    telemetry.note(event_id=decision.event_id, image=decision.image)
    telemetry.event("base_image_pushed", telemetry.ACCEPTED)
    return decision


def ignored(function: str, event: Mapping[str, Any], decision: Ignored, log: Log) -> None:
    """Tell that an event is none of our business, and why."""
    telemetry.event(function, decision.reason)
    telemetry.note(decision=decision.reason)
    event_id = event.get("id")
    write = log.warning if decision.reason is Reason.MALFORMED else log.info
    write("event ignored", event_id=event_id if isinstance(event_id, str) else None, reason=decision.reason,
          detail=decision.detail)  # fmt: skip

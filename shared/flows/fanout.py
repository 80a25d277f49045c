"""From an event to queue messages: who is affected. Everything that takes long waits behind the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared import telemetry
from shared.adapters import event_grid
from shared.adapters.arm import Arm
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Ledger
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, Cause, FanOut, Image, RebuildRequest
from shared.adapters.queues import Queues
from shared.domain import events
from shared.domain.errors import GroundswellError, all_of
from shared.domain.events import Ignored, Reason
from shared.domain.images import BaseImage
from shared.domain.moments import Clock, moment
from shared.domain.policy import Policy, Selection, TaskPolicy, broken_task, select
from shared.domain.registries import Registry
from shared.domain.retries import next_delay
from shared.flows.hearing import ignored, push_of
from shared.logs import Log

log = Log("fanout")

PAGE = 250
"""How many rebuilds one message of the fan-out asks for: a few seconds' work."""


def affected(
    policy: Policy, tasks: tuple[TaskPolicy, ...], fleet: tuple[Registry, ...]
) -> list[tuple[Registry, TaskPolicy]]:
    """Return which registries must run which of these tasks."""
    return [
        (registry, task)
        for registry in fleet
        for task in tasks
        if select(policy, task, registry.name, registry.tags) is Selection.SELECTED
    ]


def plan(
    policy: Policy, tasks: tuple[TaskPolicy, ...], fleet: tuple[Registry, ...]
) -> list[tuple[str, Registry, TaskPolicy]]:
    """Return who is affected, each with its place in the order, which is that of the registries' hashes.

    It stays the same from page to page and mixes the subscriptions, so that a small one does not wait behind a large
    one.
    """
    return sorted(((_order(*pair), *pair) for pair in affected(policy, tasks, fleet)), key=lambda pair: pair[0])


@dataclass(frozen=True, kw_only=True)
class FanOuts:
    """Decides on events and fans out: asks for the rebuild of every task that is affected."""

    policy: Callable[[], Policy]
    fleet: Fleet
    arm: Arm
    ledger: Ledger
    queues: Queues
    clock: Clock
    subscriptions: tuple[str, ...]
    settling: timedelta

    @telemetry.traced("base_image_pushed")
    def base_image_pushed(self, event: Mapping[str, Any]) -> str | None:
        """Decide on an event of the base registry; return the message that asks for the rebuilds, if any are due."""
        decision = push_of(self.policy(), event, log)
        if decision is None:
            return None
        now = self.clock()
        return FanOut(
            id=decision.event_id,
            cause=Cause.BASE_IMAGE_PUSHED,
            image=Image.of(decision.image),
            # A push from the future would make all real ones after it look old.
            pushed_at=decision.pushed_at and min(decision.pushed_at, now),
            requested_at=now,
        ).encode()

    async def fan_out(self, message: FanOut) -> list[tuple[FanOut, GroundswellError]]:
        """Request the rebuilds of a page of the fleet. After a crash the page is repeated, and nothing is built twice.

        Returns:
            The parts that failed, as messages of their own, each with the reason: a subscription that cannot be read, a
            task that is broken.
        """
        policy = self.policy()
        image = message.image.to_domain() if message.image else None
        due = policy.builds_on(image) if image else policy.tasks
        if image and not message.after and (refusal := await self._not_due(message, image, due)):
            ignored("fan_out_requested", {"id": message.id}, refusal, log)
            return []
        message, due, broken = _without_broken_tasks(message, due)
        if not due:
            return broken
        # A list older than the push may lack registries that opted in before it.
        age = (self.clock() - message.requested_at).total_seconds()
        listing = await self.fleet.listing(message.subscriptions, max_age=0 if message.attempts else age)
        unread = [
            (message.model_copy(update={"subscriptions": (name,)}), error) for name, error in listing.unread.items()
        ]
        pairs = plan(policy, due, listing.registries)
        page = [pair for pair in pairs if pair[0] > message.after][:PAGE]
        requests = [self._request(message, registry, task) for _, registry, task in page]
        await self.queues.send_all(REBUILD_REQUESTS, requests)
        for request in requests:
            telemetry.rebuild("requested", registry=request.registry, task=request.task, cause=request.cause)
        log.info("rebuilds asked for", event_id=message.id, image=image, requests=len(page), of=len(pairs))
        if page and page[-1][0] != pairs[-1][0]:
            rest = {"after": page[-1][0], "attempts": 0, "failing_since": None,
                    "subscriptions": listing.read if unread else message.subscriptions}  # fmt: skip
            await self.queues.send(FAN_OUTS, message.model_copy(update=rest))
        return broken + unread

    async def _not_due(self, message: FanOut, image: BaseImage, tasks: tuple[TaskPolicy, ...]) -> Ignored | None:
        """Tell why a pushed image is not to be fanned out: something newer was pushed, or another event does it."""
        if message.cause is not Cause.BASE_IMAGE_PUSHED or not image.digest:
            return None
        names = tuple(task.name for task in tasks)
        if message.pushed_at and not await self.ledger.note_image(image, message.pushed_at, message.id, names):
            return Ignored(Reason.OLDER, str(image))
        if not await self.ledger.open_fan_out(image.digest, names, message.id):
            return Ignored(Reason.REPEATED, str(image))
        return None

    async def put_back(self, message: FanOut, error: GroundswellError) -> float | None:
        """Put a fan-out back in the queue after a failure; return the delay in seconds, or None to give up."""
        again = message.after_failure(error, self.clock(), self.settling)
        if again is None:
            return None
        delay = next_delay(message.attempts, error)
        await self.queues.send(FAN_OUTS, again.model_copy(update={"attempts": message.attempts + 1}), delay)
        return delay

    @telemetry.traced("team_registry_changed")
    async def team_registry_changed(self, event: Mapping[str, Any]) -> list[str]:
        """Decide on an event of a subscription; return one message for each task that the registry must have."""
        policy = self.policy()
        decision = events.registry_changed(event_grid.read(event), self.subscriptions)
        if isinstance(decision, Ignored):
            return _none(event, decision)
        name = decision.registry.name
        if decision.deleted:
            await self.ledger.registry_deleted(name, decision.registry.text, decision.event_id, self.clock())
            log.info("registry deleted", event_id=decision.event_id, registry=name)
            telemetry.event("team_registry_changed", telemetry.ACCEPTED)
            return []
        if name.lower() == policy.base_name.lower():
            return _none(event, Ignored(Reason.BASE_REGISTRY, name))
        registry = await self.arm.get_registry(decision.registry)
        if registry is None:
            return _none(event, Ignored(Reason.GONE, name))
        selections = {task.name: select(policy, task, registry.name, registry.tags) for task in policy.tasks}
        if Selection.SELECTED not in selections.values():
            detail = ", ".join(f"{task}: {selection}" for task, selection in selections.items())
            return _none(event, Ignored(_why_none(selections.values()), f"{name} ({detail})"))
        origin = FanOut(id=decision.event_id, cause=Cause.REGISTRY_CHANGED, requested_at=self.clock())
        telemetry.note(event_id=decision.event_id, registry=name)
        telemetry.event("team_registry_changed", telemetry.ACCEPTED)
        messages = []
        for _, task in affected(policy, policy.tasks, (registry,)):
            newborn = _is_newborn(registry, origin.requested_at)
            messages.append(self._request(origin, registry, task, newborn=newborn).encode())
            telemetry.rebuild("requested", registry=name, task=task.name, cause=origin.cause)
        log.info("team registry changed", event_id=decision.event_id, registry=name, requests=len(messages))
        return messages

    async def whole_fleet(self, image: BaseImage | None, request_id: str) -> tuple[str, int]:
        """Return the message that asks for all rebuilds that build on `image` (or for all), and how many those are."""
        policy = self.policy()
        tasks = policy.builds_on(image) if image else policy.tasks
        sound = tuple(task for task in tasks if not task.problem)
        listing = await self.fleet.listing(max_age=0)
        if not listing.read:
            raise all_of("No subscription could be read.", listing.unread)
        count = len(affected(policy, sound, listing.registries))
        log.info("fleet rebuild asked for", event_id=request_id, image=image, requests=count)
        wire = Image.of(image) if image else None
        return FanOut(id=request_id, cause=Cause.MANUAL, image=wire, requested_at=self.clock()).encode(), count

    def _request(
        self, origin: FanOut, registry: Registry, task: TaskPolicy, *, newborn: bool = False
    ) -> RebuildRequest:
        return RebuildRequest(
            id=f"{origin.id}:{registry.name.lower()}:{task.name}"[:200],
            registry=registry.id,
            task=task.name,
            cause=origin.cause,
            image=origin.image,
            event_id=origin.id,
            pushed_at=origin.pushed_at,
            requested_at=self.clock(),
            created=registry.created,
            newborn=newborn,
        )


def _without_broken_tasks(
    message: FanOut, due: tuple[TaskPolicy, ...]
) -> tuple[FanOut, tuple[TaskPolicy, ...], list[tuple[FanOut, GroundswellError]]]:
    """Return a message without the tasks that are broken, its tasks, and a message for each of the broken ones."""
    due = tuple(task for task in due if message.tasks is None or task.name in message.tasks)
    parts: list[tuple[FanOut, GroundswellError]] = []
    for task in due:
        if task.problem:
            error = broken_task(task)
            telemetry.part_failed("task", task.name, error)
            parts.append((message.model_copy(update={"tasks": (task.name,)}), error))
    if parts:
        due = tuple(task for task in due if not task.problem)
        message = message.model_copy(update={"tasks": tuple(task.name for task in due)})
    return message, due, parts


def _order(registry: Registry, task: TaskPolicy) -> str:
    return hashlib.sha256(f"{registry.id.lower()}/{task.name}".encode()).hexdigest()


def _why_none(selections: Iterable[Selection]) -> Reason:
    """Tell why no task of the policy is for a registry: what its team decided says more than what the policy does."""
    found = set(selections)
    if Selection.PAUSED in found:
        return Reason.PAUSED
    return Reason.OPTED_OUT if Selection.OPTED_OUT in found else Reason.NOT_SELECTED


def _is_newborn(registry: Registry, now: datetime) -> bool:
    """Tell whether a registry was created so shortly ago that nobody can have given it a task yet."""
    created = moment(registry.created)
    return created is not None and now - created < timedelta(minutes=2)


def _none(event: Mapping[str, Any], decision: Ignored) -> list[str]:
    ignored("team_registry_changed", event, decision, log)
    return []

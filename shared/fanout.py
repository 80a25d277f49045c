"""From an event to queue messages: who is affected. Everything that takes long waits behind the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.mgmt.core.tools import parse_resource_id

from shared import events
from shared.events import Ignored, Reason
from shared.images import BaseImage
from shared.logs import Log
from shared.messages import Cause, Image, RebuildRequest
from shared.policy import Policy, Selection, TaskPolicy, select
from shared.registries import Registry
from shared.services import Services

log = Log("fanout")


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


async def base_image_pushed(services: Services, event: Mapping[str, Any]) -> list[str]:
    """Decide on an event of the base registry; return one message for each affected registry and task."""
    policy = services.policy
    decision = events.image_pushed(event, policy.base_name)
    if isinstance(decision, Ignored):
        return _ignored(event, decision)
    tasks = policy.builds_on(decision.image)
    if not tasks:
        return _ignored(event, Ignored(Reason.NOT_IN_POLICY, decision.image.name))
    fleet = await services.fleet.registries()
    messages = [
        _request(services, decision.event_id, registry, task, Cause.BASE_IMAGE_PUSHED, decision.image)
        for registry, task in affected(policy, tasks, fleet)
    ]
    log.info("base image pushed", event_id=decision.event_id, image=decision.image, requests=len(messages))
    return messages


async def team_registry_changed(services: Services, event: Mapping[str, Any]) -> list[str]:
    """Decide on an event of a subscription; return one message for each task that the registry must have."""
    policy = services.policy
    decision = events.registry_changed(event, services.settings.subscriptions)
    if isinstance(decision, Ignored):
        return _ignored(event, decision)
    parts = parse_resource_id(decision.registry_id)
    name = str(parts["name"])
    if decision.deleted:
        await services.ledger.registry_deleted(name, decision.registry_id, decision.event_id, services.now())
        log.info("registry deleted", event_id=decision.event_id, registry=name)
        return []
    if name.lower() == policy.base_name.lower():
        return _ignored(event, Ignored(Reason.BASE_REGISTRY, name))
    registry = await services.arm.get_registry(str(parts["subscription"]), str(parts["resource_group"]), name)
    if registry is None:
        return _ignored(event, Ignored(Reason.GONE, name))
    selections = {task.name: select(policy, task, registry.name, registry.tags) for task in policy.tasks}
    if Selection.SELECTED not in selections.values():
        detail = ", ".join(f"{task}: {selection}" for task, selection in selections.items())
        return _ignored(event, Ignored(Reason.NOT_SELECTED, f"{name} ({detail})"))
    messages = [
        _request(services, decision.event_id, registry, task, Cause.REGISTRY_CHANGED, None)
        for registry, task in affected(policy, policy.tasks, (registry,))
    ]
    log.info("team registry changed", event_id=decision.event_id, registry=name, requests=len(messages))
    return messages


async def whole_fleet(services: Services, image: BaseImage | None, request_id: str) -> list[str]:
    """Return one message for each registry and task that the policy selects (and that builds on `image`, if given)."""
    policy = services.policy
    tasks = policy.builds_on(image) if image else policy.tasks
    fleet = await services.fleet.registries(fresh=True)
    messages = [
        _request(services, request_id, registry, task, Cause.MANUAL, image)
        for registry, task in affected(policy, tasks, fleet)
    ]
    log.info("fleet rebuild asked for", request_id=request_id, image=image, requests=len(messages))
    return messages


def _request(
    services: Services, origin: str, registry: Registry, task: TaskPolicy, cause: Cause, image: BaseImage | None
) -> str:
    return RebuildRequest(
        id=f"{origin}:{registry.name.lower()}:{task.name}",
        registry=registry.id,
        task=task.name,
        cause=cause,
        image=Image.of(image) if image else None,
        event_id=origin,
        requested_at=services.now(),
    ).encode()


def _ignored(event: Mapping[str, Any], decision: Ignored) -> list[str]:
    event_id = event.get("id")
    write = log.warning if decision.reason is Reason.MALFORMED else log.info
    write("event ignored", event_id=event_id if isinstance(event_id, str) else None, reason=decision.reason,
          detail=decision.detail)  # fmt: skip
    return []

"""What happens to a company: pushes, changes and requests, and an app that works off its queues."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from dev.testing.azure import SUBSCRIPTION
from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from shared.flows.work import Work
from tests.integration.world import BASE, IMAGE, TASKS, TEAM, World, registry_id

HANDLERS = {
    FAN_OUTS: Work.fan_out_requested,
    REBUILD_REQUESTS: Work.rebuild_requested,
    RUN_CHECKS: Work.run_check,
}

OTHER_SUBSCRIPTION = "00000000-0000-4000-8000-000000000002"
OTHER_GROUP = f"/subscriptions/{OTHER_SUBSCRIPTION}/resourceGroups/teamGroup"


def push_event(digest: str, *, image: str = IMAGE, registry: str = BASE, at: datetime | None = None) -> dict[str, Any]:
    """Return the event of a push, as Event Grid delivers it."""
    repository, _, tag = image.rpartition(":")
    stamp = (at or datetime.now(UTC)).isoformat()
    target = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": repository, "tag": tag,
              "digest": digest}  # fmt: skip
    return {
        "id": str(uuid.uuid4()), "topic": registry_id(registry), "subject": f"{repository}:{tag}",
        "eventType": "Microsoft.ContainerRegistry.ImagePushed", "eventTime": stamp,
        "data": {"id": str(uuid.uuid4()), "timestamp": stamp, "action": "push", "target": target},
    }  # fmt: skip


async def deliver_push(world: World, event: dict[str, Any]) -> None:
    """Deliver the event of a push; what it leads to waits in the queue."""
    if message := world.groundswell.fan_outs.base_image_pushed(event):
        await world.send(FAN_OUTS, message.encode())


async def push(world: World, text: str, *, image: str = IMAGE, registry: str = BASE) -> dict[str, Any]:
    """Push a base image and deliver its event; return the event."""
    event = push_event(await world.push(text, image=image, registry=registry), image=image, registry=registry)
    await deliver_push(world, event)
    return event


async def deliver_change(world: World, registry_arm_id: str) -> None:
    """Deliver the event of a registry that was created or changed."""
    event = {
        "id": str(uuid.uuid4()), "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "data": {"operationName": "Microsoft.ContainerRegistry/registries/write", "resourceUri": registry_arm_id},
    }  # fmt: skip
    for message in await world.groundswell.fan_outs.team_registry_changed(event):
        await world.send(REBUILD_REQUESTS, message.encode())


async def set_tags(world: World, tags: dict[str, str], registry: str = TEAM) -> None:
    """Change a registry's tags, as its team does, and deliver the event."""
    await world.arm("PATCH", registry_id(registry), {"tags": tags}, api_version="2026-09-01-preview")
    await deliver_change(world, registry_id(registry))


async def ask_for_all(world: World, **body: str) -> int:
    """Ask for the whole fleet, or for what `body` names, as `POST /api/runs` does; return how many were queued."""
    message, count = await world.groundswell.starts.start_fleet(json.dumps(body or {"all": True}).encode())
    await world.send(FAN_OUTS, message.encode())
    return count


async def work_off(world: World) -> None:
    """Handle what waits in the queues until nothing waits; look at a run when it has ended."""
    while waiting := [(queue, message) for queue in HANDLERS for message in await world.take(queue)]:
        for queue, message in waiting:
            if queue == RUN_CHECKS:
                await _ended(world, f"{message['request']['registry']}/runs/{message['runId']}")
            await HANDLERS[queue](world.groundswell.work, world.encode(message))


async def _ended(world: World, run: str) -> None:
    async def ended() -> bool:
        reply = await world.owner.arm("GET", run, api_version=TASKS)
        return reply.status == 404 or "finishTime" in reply.body["properties"]

    await eventually(ended)


async def built(world: World, registry: str = TEAM) -> list[str]:
    """Return the base digests that a registry's runs were started with, in order."""
    rows = sorted(await world.ledger("run|", registry), key=lambda row: row["scheduledAt"])
    return [str(row["image"]).rpartition("@")[2] for row in rows]


async def no_poison(world: World) -> bool:
    """Tell whether no message was set aside."""
    return [await world.waiting(f"{queue}-poison") for queue in HANDLERS] == [0, 0, 0]


async def watch_subscription(world: World, subscription: str) -> None:
    """Add a subscription as docs/operations.md says: its roles and the setting."""
    tasks = "fb382eab-e894-4461-af04-94435c366c3f"
    assert world.app.system_assigned
    world.azure.grant(world.app.system_assigned, tasks, f"/subscriptions/{subscription}")
    await world.reconnect(GROUNDSWELL_SUBSCRIPTIONS=f"{SUBSCRIPTION.rpartition('/')[2]},{subscription}")

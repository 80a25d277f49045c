"""The app's steps one by one: messages as they arise, each handled when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, Cause, FanOut, Image, RebuildRequest
from tests.integration.world import OPTED_IN, World, registry_id

_NOW = datetime.now(UTC)


def pushed(digest: str, minutes: int = 0, *, event: str = "", tag: str = "15-alpine") -> FanOut:
    """Return the message that a push leads to."""
    image = Image(repository="baseimages/node", tag=tag, digest=digest)
    at = _NOW + timedelta(minutes=minutes)
    return FanOut(id=event or f"push-{minutes}", cause=Cause.BASE_IMAGE_PUSHED, image=image, pushed_at=at,
                  requested_at=at)  # fmt: skip


async def fan_out(world: World, message: FanOut) -> list[dict[str, Any]]:
    """Handle a fan-out and all its further pages; return the rebuild requests it led to."""
    await world.groundswell.work.fan_out_requested(message.encode().encode())
    while pages := await world.take(FAN_OUTS):
        for page in pages:
            await world.groundswell.work.fan_out_requested(world.encode(page))
    return await world.take(REBUILD_REQUESTS)


async def handle(world: World, messages: list[dict[str, Any]]) -> None:
    """Handle rebuild requests."""
    for message in messages:
        await world.groundswell.work.rebuild_requested(world.encode(message))


async def onboard(world: World, name: str) -> list[dict[str, Any]]:
    """Deliver the event of a new registry; return the messages it leads to."""
    event = {
        "id": f"created-{name}",
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "data": {
            "operationName": "Microsoft.ContainerRegistry/registries/write",
            "resourceUri": registry_id(name),
        },
    }
    messages = await world.groundswell.fan_outs.team_registry_changed(event)
    return [RebuildRequest.model_validate_json(message).model_dump(mode="json", by_alias=True) for message in messages]


async def fleet(world: World, count: int) -> list[str]:
    """Create registries that opted in; return their names."""
    names = [f"team{number:03}" for number in range(count)]
    for name in names:
        await world.create_registry(name, tags=OPTED_IN)
    return names

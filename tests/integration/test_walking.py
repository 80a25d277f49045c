"""A pushed base image, told by its event: every team's image ends on it, each built once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from shared.adapters.walk_messages import WALKS, Call, Heard
from shared.domain.state.steps import State
from tests.integration.world import IMAGE, OPTED_IN, TEAM, World


async def heard(world: World, digest: str, image: str = IMAGE) -> None:
    """Let the event of a push be heard."""
    now = datetime.now(UTC)
    message = Call(heard=Heard(image=f"{image}@{digest}", event_id="e1", pushed_at=now, queued_at=now))
    await world.groundswell.calls.called(message.encode(), uuid.uuid4().hex)


async def work_off(world: World, most: int = 40) -> int:
    """Handle the messages of the queue until it is empty; return how many there were."""
    for count in range(most):
        messages: list[dict[str, Any]] = await world.take(WALKS)
        if not messages:
            return count
        for message in messages:
            await world.groundswell.calls.called(world.encode(message), uuid.uuid4().hex)
    raise AssertionError("the queue is never empty")


async def test_push_arms_a_new_registry_and_builds_it(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push("one")
    await heard(world, digest)
    await work_off(world)
    (run,) = await world.runs()
    assert run["status"] == "Succeeded"
    sub = await world.groundswell.state.subscription(world.groundswell.settings.subscriptions[0])
    (row,) = sub.targets.values()
    assert row.value.run
    assert row.value.run.succeeded
    assert State.CURRENT

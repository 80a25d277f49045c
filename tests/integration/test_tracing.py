"""One trace from an event through the queues, also for what comes back and what is put back by hand."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from tests.integration.world import BASE, IMAGE, OPTED_IN, TEAM, World, registry_id

TRACE = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def invocation() -> Iterator[None]:
    """Call a function in a trace, as the worker does it."""
    carrier = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    token = context.attach(TraceContextTextMapPropagator().extract(carrier))
    yield
    context.detach(token)


def pushed(digest: str) -> dict[str, Any]:
    repository, _, tag = IMAGE.rpartition(":")
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    target = {"mediaType": media_type, "digest": digest, "repository": repository, "tag": tag}
    return {
        "id": str(uuid.uuid4()), "topic": registry_id(BASE), "subject": IMAGE,
        "eventType": "Microsoft.ContainerRegistry.ImagePushed", "eventTime": datetime.now(UTC).isoformat(),
        "data": {"action": "push", "target": target},
    }  # fmt: skip


def traces(messages: list[dict[str, Any]]) -> list[str]:
    return [message["traceparent"].split("-")[1] for message in messages]


async def test_messages_of_a_push_belong_to_its_trace_to_the_end(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = pushed(await world.push())
    with invocation():
        message = world.groundswell.fan_outs.base_image_pushed(event)
    assert message
    assert traces([json.loads(message)]) == [TRACE]

    await world.groundswell.work.fan_out_requested(message.encode())
    requests = await world.take(REBUILD_REQUESTS)
    assert traces(requests) == [TRACE]

    world.fault(path=".*/scheduleRun", status=503)
    await world.groundswell.work.rebuild_requested(world.encode(requests[0]))
    (again,) = await world.take(REBUILD_REQUESTS)
    assert (again["attempts"], again["traceparent"]) == (1, requests[0]["traceparent"])

    await world.groundswell.work.rebuild_requested(world.encode(again))
    checks: list[dict[str, Any]] = await eventually(lambda: world.take(RUN_CHECKS))
    assert traces(checks) == [TRACE]


async def test_replayed_message_goes_back_to_its_trace(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = pushed(await world.push())
    with invocation():
        message = world.groundswell.fan_outs.base_image_pushed(event)
    assert message
    await world.send(f"{FAN_OUTS}-poison", message.encode())

    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 0}
    assert traces(await world.take(FAN_OUTS)) == [TRACE]

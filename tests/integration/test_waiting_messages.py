"""Messages that wait: through upgrades and pauses, for days, and in the poison queues."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from tests.integration.company_life import HANDLERS, built, no_poison, push, push_event, set_tags, work_off
from tests.integration.world import OPTED_IN, TEAM, World, registry_id

# One message for each queue, as release 0.1 writes them. Later releases must understand them: they lie in the queues
# while an app is upgraded.
MESSAGES_OF_0_1 = {
    FAN_OUTS: '{"version":1,"id":"event-1","cause":"base-image-pushed","image":{"repository":"baseimages/node",'
    '"tag":"15-alpine","digest":"%(digest)s"},"pushedAt":"2026-11-22T09:30:00Z","requestedAt":"2026-11-22T09:30:01Z",'
    '"after":"","attempts":0}',
    REBUILD_REQUESTS: '{"version":1,"id":"event-2:myregistry:helloworldtask","registry":"%(registry)s",'
    '"task":"helloworldtask","cause":"registry-changed","eventId":"event-2","requestedAt":"2026-11-22T09:30:01Z",'
    '"created":"","newborn":false,"attempts":0,"waited":0,"hasTurn":false,"replaces":"","build":"",'
    '"loginsRefused":0}',
    RUN_CHECKS: '{"version":1,"request":{"version":1,"id":"event-1:myregistry:helloworldtask",'
    '"registry":"%(registry)s","task":"helloworldtask","cause":"base-image-pushed","image":{"repository":"baseimages/node","tag":"15-alpine",'
    '"digest":"%(digest)s"},"eventId":"event-1","requestedAt":"2026-11-22T09:30:01Z"},"runId":"%(run)s",'
    '"build":"%(digest)s","created":"%(created)s","scheduledAt":"2026-11-22T09:30:03Z","attempts":0}',
}


async def test_messages_of_an_earlier_release_are_understood(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    values = {"digest": digest, "registry": registry_id(TEAM)}
    for queue in (FAN_OUTS, REBUILD_REQUESTS):
        await world.send(queue, (MESSAGES_OF_0_1[queue] % values).encode())
    await work_off(world)
    (run,) = await world.ledger("run|")
    values |= {"run": run["RowKey"].removeprefix("run|"), "created": run["created"]}
    await world.send(RUN_CHECKS, (MESSAGES_OF_0_1[RUN_CHECKS] % values).encode())
    await work_off(world)
    assert await built(world) == [digest]
    assert await no_poison(world)


async def test_message_of_a_later_release_is_kept_as_it_came_until_that_release_is_back(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    message = json.loads(MESSAGES_OF_0_1[FAN_OUTS] % {"digest": await world.push()})
    await world.send(FAN_OUTS, world.encode({**message, "version": 2, "more": "than before"}))
    await work_off(world)
    assert await world.runs() == []
    assert await world.groundswell.replay.replay() == {"replayed": 0, "kept": 1}
    assert await world.waiting(f"{FAN_OUTS}-poison") == 1


async def test_team_that_paused_gets_the_newest_base_image_when_it_resumes(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    one = await push(world, "one")
    await work_off(world)
    await set_tags(world, {"base-image-rebuilds": "paused"})
    await push(world, "two")
    three = await push(world, "three")
    await work_off(world)
    assert len(await world.runs()) == 1
    await set_tags(world, OPTED_IN)
    await work_off(world)
    assert await built(world) == [event["data"]["target"]["digest"] for event in (one, three)]


async def test_requests_that_waited_for_days_are_all_built_at_the_pace_arm_allows(world: World) -> None:
    names = [f"team{number:03}" for number in range(10)]
    for name in names:
        await world.create_registry(name, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    await push(world, "two")
    (message,) = await world.take(FAN_OUTS)
    await world.groundswell.work.fan_out_requested(world.encode(message))
    world.azure.throttle.configure("writes", burst=6, per_second=1)
    days_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    for request in await world.take(REBUILD_REQUESTS):
        await world.send(REBUILD_REQUESTS, world.encode({**request, "requestedAt": days_ago}))
    await work_off(world)
    assert [len(await built(world, name)) for name in names] == [2] * len(names)
    assert [delay for queue, delay in world.delays if queue == REBUILD_REQUESTS], "nothing had to wait: no trial"
    assert await no_poison(world)


async def test_request_that_fails_in_passing_after_days_in_the_queue_is_tried_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = push_event(await world.push())
    message = json.loads(str(world.groundswell.fan_outs.base_image_pushed(event)))
    message["requestedAt"] = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    await world.send(FAN_OUTS, world.encode(message))
    world.fault(path=".*/registries", status=503)
    world.fault(path=".*/scheduleRun", status=503)
    await work_off(world)
    assert await built(world) == [event["data"]["target"]["digest"]]


async def test_replay_is_not_held_up_by_what_somebody_put_into_a_poison_queue_by_hand(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = push_event(await world.push())
    message = world.groundswell.fan_outs.base_image_pushed(event)
    assert message
    for queue in HANDLERS:
        await world.send(f"{queue}-poison", b"")
        await world.groundswell.clients.queues().get_queue_client(f"{queue}-poison").send_message("by hand, no base64")
    # The host sets a message aside with the very body that it had in its queue.
    await world.send(f"{FAN_OUTS}-poison", message.encode())
    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 6}
    await work_off(world)
    assert await built(world) == [event["data"]["target"]["digest"]]

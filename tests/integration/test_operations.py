"""Day two: what docs/operations.md says, tried."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from dev.testing.azure import SUBSCRIPTION
from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from tests.integration.company_life import (
    HANDLERS,
    ask_for_all,
    built,
    deliver_change,
    deliver_push,
    push,
    push_event,
    set_tags,
    work_off,
)
from tests.integration.world import (
    BASE,
    GROUP,
    IMAGE,
    OPTED_IN,
    ROLES,
    TASKS,
    TEAM,
    World,
    deploy,
    registry_id,
    task_id,
)

OTHER_SUBSCRIPTION = "00000000-0000-4000-8000-000000000002"
OTHER_GROUP = f"/subscriptions/{OTHER_SUBSCRIPTION}/resourceGroups/teamGroup"

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


async def no_poison(world: World) -> bool:
    return [await world.waiting(f"{queue}-poison") for queue in HANDLERS] == [0, 0, 0]


# Upgrades


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


# Pauses


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


# Poisoned messages


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


# Moves


async def move(world: World, registry: str, group: str) -> str:
    """Move a registry to another resource group, as its owner; return its new id."""
    body = {"resources": [registry_id(registry)], "targetResourceGroup": group}
    await world.arm("POST", f"{GROUP}/moveResources", body, api_version="2024-11-01")
    moved = registry_id(registry, group)

    async def there() -> bool:
        return (await world.owner.arm("GET", moved)).status == 200

    await eventually(there)
    return moved


async def test_registry_in_another_resource_group_keeps_its_task_and_history(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    await world.arm("PUT", f"{GROUP}-2", {"location": "eastus"}, api_version="2024-11-01")
    moved = await move(world, TEAM, f"{GROUP}-2")
    before = world.azure.journal.last
    await deliver_change(world, moved)
    await push(world, "two")
    await work_off(world)
    assert len(await built(world)) == 2
    assert world.app_writes(before) == []
    shown = await world.groundswell.views.registry(TEAM)
    assert [run["status"] for run in shown["runs"]] == ["Succeeded"] * 2
    assert shown["tasks"][0]["ready"]


async def test_request_that_waited_while_its_registry_moved_is_skipped_and_asked_for_again_by_hand(
    world: World,
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    (message,) = await world.take(FAN_OUTS)
    await world.groundswell.work.fan_out_requested(world.encode(message))
    await world.arm("PUT", f"{GROUP}-2", {"location": "eastus"}, api_version="2024-11-01")
    await move(world, TEAM, f"{GROUP}-2")
    await work_off(world)
    (row,) = await world.ledger("request|")
    assert (row["outcome"], row["reason"]) == ("skipped", "the registry does not exist any more")
    assert (await world.groundswell.starts.start_run(TEAM, b"")).run_id


async def test_registry_in_another_subscription_is_served_once_that_is_named_and_its_roles_are_given(
    world: World,
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    moved = await move(world, TEAM, OTHER_GROUP)
    # Neither named nor permitted: it is none of Groundswell's any more.
    await deliver_change(world, moved)
    await push(world, "two")
    await work_off(world)
    assert len(await built(world)) == 1
    await watch(world, OTHER_SUBSCRIPTION)
    assert await ask_for_all(world) == 1
    await work_off(world)
    assert len(await built(world)) == 2
    assert (await world.groundswell.views.registry(TEAM))["tasks"][0]["ready"]


# Team subscriptions and policy


async def watch(world: World, subscription: str) -> None:
    """Add a subscription as docs/operations.md says: its roles and the setting."""
    tasks = "fb382eab-e894-4461-af04-94435c366c3f"
    assert world.app.system_assigned
    world.azure.grant(world.app.system_assigned, tasks, f"/subscriptions/{subscription}")
    await world.reconnect(GROUNDSWELL_SUBSCRIPTIONS=f"{SUBSCRIPTION.rpartition('/')[2]},{subscription}")


async def test_team_subscription_that_was_added_is_onboarded_on_request(world: World) -> None:
    await world.push()
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    faraway = await world.create_registry("faraway", group=OTHER_GROUP, tags=OPTED_IN)
    await deliver_change(world, faraway)
    await work_off(world)
    assert await built(world, "faraway") == []
    await watch(world, OTHER_SUBSCRIPTION)
    assert await ask_for_all(world) == 1
    await work_off(world)
    assert len(await built(world, "faraway")) == 1


async def test_policy_that_changed_reaches_every_task_on_request(world: World) -> None:
    names = ("mailteam", "shopteam")
    for name in names:
        await world.create_registry(name, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    world.write_policy(text=world.policy_text.replace("hello-world", "hello-again"))
    assert await ask_for_all(world) == 2
    before = world.azure.journal.last
    await work_off(world)
    assert world.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"] * 2
    for name in names:
        newest, _ = await world.runs(name)
        assert newest["outputImages"][0]["repository"] == "hello-again"


async def test_task_that_left_the_policy_runs_no_more_but_stays_until_somebody_deletes_it(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    await push(world, "two")
    (message,) = await world.take(FAN_OUTS)
    await world.groundswell.work.fan_out_requested(world.encode(message))
    world.write_policy(text=world.policy_text.replace("name: helloworldtask", "name: anothertask"))
    await work_off(world)
    (skipped,) = [row for row in await world.ledger("request|") if row["outcome"] == "skipped"]
    assert skipped["reason"] == "the policy has no task helloworldtask any more"
    await push(world, "three")
    await work_off(world)
    assert [row["task"] for row in await world.ledger("run|")] == ["helloworldtask", "anothertask"]
    assert (await world.task())["name"] == "helloworldtask"
    await world.arm("DELETE", task_id(), api_version=TASKS)


# Disasters


async def lose_storage(world: World) -> None:
    """Lose queues and ledger."""
    await world.clear_queues()
    await world.groundswell.clients.tables().delete_table(world.table)


async def test_storage_that_was_lost_starts_nothing_and_one_request_for_all_mends_it(world: World) -> None:
    names = ("mailteam", "shopteam")
    for name in names:
        await world.create_registry(name, tags=OPTED_IN)
    event = await push(world, "one")
    await work_off(world)
    await lose_storage(world)
    await world.reconnect()
    await work_off(world)
    assert [len(await world.runs(name)) for name in names] == [1, 1]

    before = world.azure.journal.last
    assert await ask_for_all(world) == 2
    await work_off(world)
    # Identity, grants and tasks are Azure's, which has lost nothing.
    assert world.app_writes(before) == []
    assert [len(await world.runs(name)) for name in names] == [2, 2]

    # What happens next to content and registries of before builds nothing more.
    await deliver_push(world, {**event, "id": "the same content again"})
    for name in names:
        await deliver_change(world, registry_id(name))
    await work_off(world)
    assert [len(await world.runs(name)) for name in names] == [2, 2]


async def test_storage_that_was_lost_costs_a_registry_one_run_at_its_next_event_and_no_more(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = await push(world, "one")
    await work_off(world)
    await lose_storage(world)
    await world.reconnect()
    for _ in range(3):
        await deliver_change(world, registry_id(TEAM))
        await deliver_push(world, {**event, "id": "the same content again"})
        await work_off(world)
    assert len(await world.runs()) == 2


async def test_ledger_that_is_deleted_while_the_app_runs_is_made_anew_and_nothing_is_set_aside(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    await push(world, "two")
    (message,) = await world.take(FAN_OUTS)
    await world.groundswell.work.fan_out_requested(world.encode(message))
    await world.groundswell.clients.tables().delete_table(world.table)
    await push(world, "three")
    await work_off(world)
    assert await no_poison(world)
    assert (await built(world))[-1] == await newest_digest(world)


async def newest_digest(world: World) -> str:
    found = world.azure.registries.find(await world.login_server(BASE))
    assert found
    repository, _, tag = IMAGE.rpartition(":")
    return str(world.azure.registries.repository(found, repository).tags[tag].digest)


async def test_app_that_was_deployed_anew_with_another_identity_goes_on_where_the_old_one_ended(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = await push(world, "one")
    await work_off(world)
    for role in world.roles.values():
        await world.arm("DELETE", role, api_version=ROLES)
    world.app = world.azure.identity.create_app("groundswell-2")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("IDENTITY_HEADER", world.app.header)
        world.roles = await deploy(world.owner, world.app)
        await world.reconnect()
        before = world.azure.journal.last
        await deliver_push(world, {**event, "id": "delivered again to the new app"})
        await push(world, "two")
        await work_off(world)
        assert len(await built(world)) == 2
        assert world.app_writes(before) == []
        await world.groundswell.close()


async def test_another_base_registry_is_one_change_of_the_policy(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    await world.create_registry("newbaseregistry")
    for role in world.roles.values():
        await world.arm("DELETE", role, api_version=ROLES)
    await deploy(world.owner, world.app, registry_id("newbaseregistry"))
    world.write_policy(text=world.policy_text.replace(f"baseRegistry: {BASE}", "baseRegistry: newbaseregistry"))
    event = await push(world, "two", registry="newbaseregistry")
    before = world.azure.journal.last
    await work_off(world)
    assert sorted(call.rpartition("/providers/")[2].split()[-1] for call in world.app_writes(before)) == [
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.ContainerRegistry/registries/tasks/write",
    ]
    newest, _ = await world.runs()
    assert newest["status"] == "Succeeded"
    assert (await built(world))[-1] == event["data"]["target"]["digest"]
    # The old one is none of Groundswell's any more.
    assert world.groundswell.fan_outs.base_image_pushed(push_event("sha256:" + "0" * 64)) is None


async def test_base_image_that_is_rolled_back_is_built_again_on_request_alone(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    good = (await push(world, "good"))["data"]["target"]["digest"]
    await work_off(world)
    bad = (await push(world, "bad"))["data"]["target"]["digest"]
    await work_off(world)
    await push(world, "good")
    await work_off(world)
    assert await built(world) == [good, bad]
    assert await ask_for_all(world, baseImage=IMAGE) == 1
    await work_off(world)
    assert await built(world) == [good, bad, good]


async def test_base_image_that_is_rolled_back_before_its_rebuilds_ran_is_built_by_nobody(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    good = (await push(world, "good"))["data"]["target"]["digest"]
    await work_off(world)
    await push(world, "bad")
    await push(world, "good")
    # What a worker knows of pushes may be two seconds old: this one has just started.
    await world.reconnect()
    await work_off(world)
    assert await built(world) == [good]


async def test_push_whose_event_was_lost_is_made_up_for_on_request(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    lost = push_event(await world.push("two"))
    assert await ask_for_all(world, baseImage=IMAGE) == 1
    await work_off(world)
    assert (await built(world))[1:] == [lost["data"]["target"]["digest"]]
    # Should the event come after all, it has nothing left to do.
    await deliver_push(world, lost)
    await work_off(world)
    assert len(await built(world)) == 2


async def test_grant_on_a_registry_that_moved_is_given_again(world: World) -> None:
    mode = {"roleAssignmentMode": "AbacRepositoryPermissions"}
    await world.create_registry(TEAM, tags=OPTED_IN, properties=mode)
    await push(world, "one")
    await work_off(world)
    await world.arm("PUT", f"{GROUP}-2", {"location": "eastus"}, api_version="2024-11-01")
    moved = await move(world, TEAM, f"{GROUP}-2")
    before = world.azure.journal.last
    await deliver_change(world, moved)
    await push(world, "two")
    await work_off(world)
    assert world.app_writes(before) == ["PUT Microsoft.Authorization/roleAssignments/write"]
    shown = await world.groundswell.views.registry(TEAM)
    assert [run["status"] for run in shown["runs"]] == ["Succeeded"] * 2

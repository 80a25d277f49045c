"""What moves or changes: registries, subscriptions, the policy, the base registry."""

from __future__ import annotations

from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS
from tests.integration.company_life import (
    OTHER_GROUP,
    OTHER_SUBSCRIPTION,
    ask_for_all,
    built,
    deliver_change,
    push,
    push_event,
    watch_subscription,
    work_off,
)
from tests.integration.world import BASE, GROUP, OPTED_IN, ROLES, TASKS, TEAM, World, deploy, registry_id, task_id


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
    await watch_subscription(world, OTHER_SUBSCRIPTION)
    assert await ask_for_all(world) == 1
    await work_off(world)
    assert len(await built(world)) == 2
    assert (await world.groundswell.views.registry(TEAM))["tasks"][0]["ready"]


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


async def test_team_subscription_that_was_added_is_onboarded_on_request(world: World) -> None:
    await world.push()
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    faraway = await world.create_registry("faraway", group=OTHER_GROUP, tags=OPTED_IN)
    await deliver_change(world, faraway)
    await work_off(world)
    assert await built(world, "faraway") == []
    await watch_subscription(world, OTHER_SUBSCRIPTION)
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

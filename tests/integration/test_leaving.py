"""What leaves the fleet is seen off cleanly: task, then grant; never what others use."""

from __future__ import annotations

import pytest

from tests.integration.company_life import OTHER_GROUP, OTHER_SUBSCRIPTION, watch_subscription
from tests.integration.test_moves import move
from tests.integration.test_sweep import AN_HOUR, swept
from tests.integration.test_walking import known, later, pushed
from tests.integration.world import (
    BASE,
    OPTED_IN,
    POLICY,
    SYSTEM_ASSIGNED,
    TASKS,
    TEAM,
    USER_ASSIGNED,
    World,
    registry_id,
    task_id,
)

DELETE = POLICY + "offboarding: {{after: 2h, action: delete}}\n"


async def onboarded(world: World, identity: str = SYSTEM_ASSIGNED, text: str = DELETE) -> str:
    """Have a registry onboarded and built; return the principal that its task pulls with."""
    world.write_policy(identity, text)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    task = await world.task()
    found = task["identity"].get("principalId")
    return str(found or next(iter(task["identity"]["userAssignedIdentities"].values()))["principalId"])


async def opt_out(world: World, name: str = TEAM) -> None:
    await world.create_registry(name, tags={"base-image-rebuilds": "disabled"})


async def passed(world: World, hours: int) -> None:
    """Let hours pass, with a sweep in each."""
    for _ in range(hours):
        await later(world, AN_HOUR)
        await swept(world)


async def has_task(world: World, name: str = TEAM) -> bool:
    return (await world.owner.arm("GET", task_id(name), api_version=TASKS)).status == 200


async def test_registry_that_opted_out_loses_task_and_grant_after_the_grace(world: World) -> None:
    principal = await onboarded(world)
    await opt_out(world)
    await passed(world, 2)
    assert await has_task(world)
    assert await world.assignments(registry_id(BASE), principal)
    await passed(world, 1)
    assert not await has_task(world)
    assert await world.assignments(registry_id(BASE), principal) == []
    assert await known(world) == {}


async def test_task_that_left_the_policy_is_removed(world: World) -> None:
    principal = await onboarded(world)
    world.write_policy(SYSTEM_ASSIGNED, DELETE.replace("helloworldtask\n", "othertask\n"))
    await swept(world)
    await passed(world, 2)
    assert not await has_task(world)
    assert await world.assignments(registry_id(BASE), principal) == []


async def test_everything_is_kept_unless_the_policy_says_otherwise(world: World) -> None:
    principal = await onboarded(world, text=POLICY)
    await opt_out(world)
    await later(world, 8 * 24 * AN_HOUR)
    await passed(world, 2)
    assert await has_task(world)
    assert await world.assignments(registry_id(BASE), principal)


async def test_identity_of_the_fleet_keeps_its_grant(world: World) -> None:
    principal = await onboarded(world, USER_ASSIGNED)
    await opt_out(world)
    await passed(world, 4)
    assert not await has_task(world)
    assert await world.assignments(registry_id(BASE), principal)


async def test_grant_of_a_deleted_registry_is_taken_back_once_it_is_surely_gone(world: World) -> None:
    principal = await onboarded(world)
    await world.arm("DELETE", registry_id(TEAM))
    await swept(world)
    await passed(world, 1)
    assert await world.assignments(registry_id(BASE), principal)
    await passed(world, 2)
    assert await world.assignments(registry_id(BASE), principal) == []
    assert await known(world) == {}


async def test_grant_of_an_identity_that_went_with_its_task_is_taken_back(world: World) -> None:
    former = await onboarded(world)
    await later(world, AN_HOUR)
    await world.arm("DELETE", task_id(), api_version=TASKS)
    await swept(world)
    assert await has_task(world)
    assert await world.assignments(registry_id(BASE), former) == []


async def test_task_that_somebody_else_has_taken_over_is_kept(world: World) -> None:
    principal = await onboarded(world)
    await opt_out(world)
    await passed(world, 1)
    await world.arm("PATCH", task_id(), {"tags": {"owner": "team"}}, api_version=TASKS)
    await passed(world, 3)
    assert await has_task(world)
    assert await world.assignments(registry_id(BASE), principal)


async def test_many_that_leave_at_once_wait_for_a_person(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.create_registry("second", tags=OPTED_IN)
    await onboarded(world)
    for name in (TEAM, "second"):
        await opt_out(world, name)
    await passed(world, 4)
    assert [await has_task(world, name) for name in (TEAM, "second")] == [True, True]
    assert "many registries leave at once" in caplog.text


async def test_registry_that_moved_to_another_subscription_keeps_its_history_and_its_grant(world: World) -> None:
    principal = await onboarded(world)
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    await watch_subscription(world, OTHER_SUBSCRIPTION)
    await move(world, TEAM, OTHER_GROUP)
    await swept(world)
    there = await world.groundswell.state.subscription(OTHER_SUBSCRIPTION)
    (row,) = there.targets.values()
    assert row.value.run
    assert row.value.run.id == "cw1"
    here = await world.groundswell.state.subscription(world.groundswell.settings.subscriptions[0])
    assert not here.targets
    assert await world.assignments(registry_id(BASE), principal)


async def test_subscription_that_is_not_watched_any_more_is_seen_off(world: World) -> None:
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    await watch_subscription(world, OTHER_SUBSCRIPTION)
    world.write_policy(SYSTEM_ASSIGNED, DELETE)
    await world.create_registry(TEAM, group=OTHER_GROUP, tags=OPTED_IN)
    await pushed(world, "one")
    task = f"{registry_id(TEAM, OTHER_GROUP)}/tasks/helloworldtask"
    principal = (await world.arm("GET", task, api_version=TASKS)).body["identity"]["principalId"]
    await world.reconnect()
    await swept(world)
    await passed(world, 2)
    assert (await world.owner.arm("GET", task, api_version=TASKS)).status == 404
    assert await world.assignments(registry_id(BASE), principal) == []

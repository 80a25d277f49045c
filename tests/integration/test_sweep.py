"""The sweep finds what no event told of, and leaves a healthy fleet alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.adapters.walk_messages import WALKS
from shared.domain.state.walk import Walk
from tests.integration.test_walking import known, later, pushed, walk, work_off
from tests.integration.world import (
    BASE,
    IMAGE,
    OPTED_IN,
    ROLES,
    SYSTEM_ASSIGNED,
    TASKS,
    TEAM,
    World,
    registry_id,
    task_id,
)

AN_HOUR = 3_600


async def swept(world: World) -> None:
    """Sweep, and let Groundswell do all that follows."""
    await world.groundswell.sweeping.sweep()
    await work_off(world)


async def test_push_registry_and_roll_back_that_no_event_told_of_are_found(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await world.push("two")
    await world.create_registry("unheard", tags=OPTED_IN)
    await swept(world)
    assert [len(await world.runs(name)) for name in (TEAM, "unheard")] == [2, 1]
    await world.push("one")
    await swept(world)
    assert [len(await world.runs(name)) for name in (TEAM, "unheard")] == [3, 2]


async def test_task_and_grant_that_were_taken_away_by_hand_are_mended(world: World) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await later(world, AN_HOUR)
    await world.arm("DELETE", task_id(), api_version=TASKS)
    await swept(world)
    principal = (await world.task())["identity"]["principalId"]
    assert await world.assignments(registry_id(BASE), principal)
    await later(world, AN_HOUR)
    (grant,) = await assignment_ids(world, principal)
    await world.arm("DELETE", grant, api_version=ROLES)
    await swept(world)
    assert await world.assignments(registry_id(BASE), principal)
    assert len(await world.runs()) == 1


async def assignment_ids(world: World, principal: str) -> list[str]:
    path = f"{registry_id(BASE)}/providers/Microsoft.Authorization/roleAssignments"
    reply = await world.owner.arm("GET", path, api_version=ROLES, **{"$filter": f"principalId eq '{principal}'"})
    return [item["id"] for item in reply.body["value"]]


async def test_changed_policy_reaches_every_task(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await later(world, AN_HOUR)
    world.write_policy(text=world.policy_text.replace("image: hello-world", "image: hello-moon"))
    await swept(world)
    values = (await world.task())["properties"]["step"]["values"]
    assert "hello-moon" in [value["value"] for value in values]


@pytest.mark.parametrize("count", [3, 30])
async def test_healthy_fleet_costs_no_write_and_few_reads_however_large_it_is(world: World, count: int) -> None:
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="30")
    for number in range(count):
        await world.create_registry(f"team{number:03}", tags=OPTED_IN)
    await pushed(world, "one")
    assert len(await world.runs_anywhere()) == count
    await later(world, AN_HOUR)
    await world.groundswell.close()
    world.groundswell = world.build({"GROUNDSWELL_FLEET_CACHE_SECONDS": "30"}, clock=world.groundswell.waking.clock)
    since = world.azure.journal.last
    await swept(world)
    calls = world.app_calls(since)
    assert len(calls) <= 20
    assert [call for call in calls if not call.startswith("GET")] == []


async def test_sweep_that_reports_writes_and_runs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "groundswell")
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await world.reconnect(GROUNDSWELL_SWEEP="report")
    await world.push("two")
    await world.create_registry("unheard", tags=OPTED_IN)
    since = world.azure.journal.last
    await swept(world)
    assert [call for call in world.app_calls(since) if not call.startswith("GET")] == []
    told = [record.getMessage() for record in caplog.records if "sweep would" in record.getMessage()]
    assert any(TEAM in text and IMAGE in text for text in told)
    assert any("unheard" in text for text in told)
    # What anybody else wants is done.
    await walk(world)
    assert [len(await world.runs(name)) for name in (TEAM, "unheard")] == [2, 1]


async def test_failing_target_is_left_alone(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    policy = world.policy_text.replace("acr-build-helloworld-node.git#main", "acr-build-helloworld-node.git#nowhere")
    world.write_policy(text=policy)
    await pushed(world, "one")
    for _ in range(4):
        await later(world, 2 * AN_HOUR)
        await swept(world)
    runs = len(await world.runs())
    await later(world, 2 * AN_HOUR)
    await swept(world)
    assert len(await world.runs()) == runs


async def test_walk_whose_message_was_lost_is_gone_on_with(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push("one")
    (subscription,) = world.groundswell.settings.subscriptions
    await world.groundswell.waking.raise_one(subscription)
    await world.take(WALKS)
    await world.groundswell.sweeping.watch()
    assert await world.waiting(WALKS) == 0
    await later(world, 300)
    await world.groundswell.sweeping.watch()
    await work_off(world)
    assert (await known(world))[TEAM].run


async def test_walk_whose_walker_died_is_gone_on_with(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push("one")
    (subscription,) = world.groundswell.settings.subscriptions

    def died(there: Walk) -> Walk:
        return replace(there, by="dead", until=world.groundswell.waking.clock(), wanted=1, walked=1)

    await world.groundswell.state.change_walk(subscription, died)
    await world.groundswell.sweeping.watch()
    await work_off(world)
    assert (await known(world))[TEAM].run

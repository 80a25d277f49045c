"""What is lost and made up for: storage, the app, events, a base image that was bad."""

from __future__ import annotations

import pytest

from shared.adapters.messages import FAN_OUTS
from tests.integration.company_life import (
    ask_for_all,
    built,
    deliver_change,
    deliver_push,
    no_poison,
    push,
    push_event,
    work_off,
)
from tests.integration.world import BASE, IMAGE, OPTED_IN, ROLES, TEAM, World, deploy, registry_id


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

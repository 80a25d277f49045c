"""Many registries: fan-out by pages, at most one run for each content, few reads, and the pace ARM allows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dev.testing.functions_host import eventually
from shared.adapters.messages import REBUILD_REQUESTS, FanOut
from shared.flows import fanout
from tests.integration.steps import fan_out, fleet, handle, onboard, pushed
from tests.integration.world import IMAGE, OPTED_IN, SYSTEM_ASSIGNED, TEAM, World, task_id

DIGESTS = [f"sha256:{number:064x}" for number in range(3)]


async def test_fan_out_asks_for_every_selected_registry_once_over_all_pages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "PAGE", 3)
    names = await fleet(world, 10)
    await world.create_registry("otherteam")
    requests = await fan_out(world, pushed(DIGESTS[0]))
    assert sorted(request["registry"].rpartition("/")[2] for request in requests) == names


async def test_page_that_is_delivered_twice_builds_nothing_twice(world: World) -> None:
    names = await fleet(world, 3)
    digest = await world.push()
    for _ in range(2):
        await handle(world, await fan_out(world, pushed(digest)))
    assert [len(await world.runs(name)) for name in names] == [1, 1, 1]


async def test_four_tags_of_one_content_are_asked_for_once(world: World) -> None:
    await fleet(world, 2)
    world.write_policy(text=world.policy_text.replace("15-alpine", '15*"').replace("[base", '["base'))
    asked = [await fan_out(world, pushed(DIGESTS[0], event=f"e{tag}", tag=tag)) for tag in ("15", "15.1", "15-alpine")]
    assert [len(requests) for requests in asked] == [2, 0, 0]


async def test_replicas_events_of_one_push_are_asked_for_once_but_a_redelivery_goes_on(world: World) -> None:
    await fleet(world, 2)
    assert len(await fan_out(world, pushed(DIGESTS[0], event="one"))) == 2
    assert await fan_out(world, pushed(DIGESTS[0], event="replica")) == []
    assert len(await fan_out(world, pushed(DIGESTS[0], event="one"))) == 2


async def test_older_push_that_arrives_late_starts_nothing(world: World) -> None:
    await fleet(world, 1)
    assert len(await fan_out(world, pushed(DIGESTS[1], minutes=5))) == 1
    assert await fan_out(world, pushed(DIGESTS[0], minutes=0)) == []


async def test_newer_content_supersedes_an_older_one_that_has_not_started(world: World) -> None:
    (name,) = await fleet(world, 1)
    old, new = await world.push("old"), await world.push("new")
    waiting = await fan_out(world, pushed(old, minutes=0))
    newer = await fan_out(world, pushed(new, minutes=1))
    await handle(world, waiting)
    await handle(world, newer)
    (run,) = await world.ledger("run|", name)
    assert run["image"].endswith(new)
    assert {row["outcome"] for row in await world.ledger("request|", name)} == {"superseded", "scheduled"}


async def test_content_that_comes_back_under_its_tag_is_built_where_it_was_superseded(world: World) -> None:
    (name,) = await fleet(world, 1)
    first, second = await world.push("first"), await world.push("second")
    waiting = await fan_out(world, pushed(first, minutes=0))
    await fan_out(world, pushed(second, minutes=1))
    await handle(world, waiting)
    assert await world.runs(name) == []
    await handle(world, await fan_out(world, pushed(first, minutes=2)))
    (run,) = await world.ledger("run|", name)
    assert run["image"].endswith(first)


@pytest.mark.parametrize("identity", ["user", "system"])
async def test_healthy_registries_cost_one_write_each_and_a_few_reads_together(world: World, identity: str) -> None:
    if identity == "system":
        world.write_policy(SYSTEM_ASSIGNED)
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    names = await fleet(world, 20)
    await handle(world, await fan_out(world, pushed(await world.push("one"), minutes=0)))
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300", GROUNDSWELL_FOLLOW_RUNS="changed")
    before = world.azure.journal.last
    await handle(world, await fan_out(world, pushed(await world.push("two"), minutes=1)))
    calls = world.app_calls(before)
    reads = [call for call in calls if call.startswith("GET")]
    assert [len(await world.runs(name)) for name in names] == [2] * 20
    assert len(calls) - len(reads) == 20
    assert len(reads) <= 4


async def test_newcomer_costs_four_writes_and_three_reads_with_a_new_identity(world: World) -> None:
    await world.push()
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300", GROUNDSWELL_FOLLOW_RUNS="changed")
    await world.create_registry(TEAM, tags=OPTED_IN)
    before = world.azure.journal.last
    await handle(world, await onboard(world, TEAM))
    calls = world.app_calls(before)
    assert len([call for call in calls if not call.startswith("GET")]) == 4
    assert len([call for call in calls if call.startswith("GET")]) <= 3
    await world.create_registry("second", tags=OPTED_IN)
    before = world.azure.journal.last
    await handle(world, await onboard(world, "second"))
    writes = [call for call in world.app_calls(before) if not call.startswith("GET")]
    assert [call.rpartition("/registries/")[2] for call in writes] == ["tasks/write", "scheduleRun/action"]


async def test_newcomer_with_an_identity_of_its_own_costs_three_writes(world: World) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.push()
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    await world.create_registry(TEAM, tags=OPTED_IN)
    before = world.azure.journal.last
    await handle(world, await onboard(world, TEAM))
    calls = world.app_calls(before)
    assert len([call for call in calls if not call.startswith("GET")]) == 3
    assert len([call for call in calls if call.startswith("GET")]) <= 3


async def test_newcomers_that_somebody_asks_for_cost_at_most_three_reads_each(world: World) -> None:
    await world.push()
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300", GROUNDSWELL_FOLLOW_RUNS="changed")
    await world.groundswell.fleet.base(world.groundswell.policy())
    for name in (TEAM, "second"):
        await world.create_registry(name, tags=OPTED_IN)
        before = world.azure.journal.last
        assert (await world.groundswell.starts.start_run(name, b"")).run_id
        assert len([call for call in world.app_calls(before) if call.startswith("GET")]) <= 3


async def test_change_by_hand_shows_in_the_list_and_is_put_right_before_the_next_run(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, await fan_out(world, pushed(await world.push("one"), minutes=0)))
    gone = {"properties": {"credentials": {"customRegistries": {"mybaseregistry.azurecr.io": None}}}}
    await world.arm("PATCH", task_id(), gone, api_version="2025-03-01-preview")
    await handle(world, await fan_out(world, pushed(await world.push("two"), minutes=1)))
    newest, _ = await world.runs()
    assert (await world.run(newest["runId"]))["status"] == "Succeeded"


async def test_spent_budget_puts_requests_back_and_nothing_is_throttled(world: World) -> None:
    names = await fleet(world, 12)
    await handle(world, await fan_out(world, pushed(await world.push("one"), minutes=0)))
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    world.azure.throttle.configure("writes", burst=8, per_second=0.5)
    before = world.azure.journal.last
    await handle(world, await fan_out(world, pushed(await world.push("two"), minutes=1)))
    assert world.delays
    waiting = await world.take(REBUILD_REQUESTS)
    assert waiting
    assert {message["attempts"] for message in waiting} == {0}

    async def all_built() -> bool:
        await handle(world, waiting[:])
        waiting[:] = await world.take(REBUILD_REQUESTS)
        return not waiting

    await eventually(all_built)
    assert [len(await world.runs(name)) for name in names] == [2] * 12
    statuses = [entry["status"] for entry in world.azure.journal.since(before, caller=world.app.name)]
    assert 429 not in statuses


async def test_crashed_workers_claim_is_taken_over_and_its_run_adopted(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    (request,) = await fan_out(world, pushed(await world.push()))
    crash = SystemExit("killed between scheduleRun and its record")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.groundswell.ledger, "schedule", raising(crash))
        with pytest.raises(SystemExit):
            await world.groundswell.work.rebuild_requested(world.encode(request))
    await world.groundswell.work.rebuild_requested(world.encode(request))
    assert len(await world.runs()) == 1
    (delay,) = {delay for queue, delay in world.delays if queue == REBUILD_REQUESTS}
    assert 0 < delay <= 600
    await world.age_claims(timedelta(minutes=11))
    await handle(world, await world.take(REBUILD_REQUESTS))
    (run,) = await world.runs()
    (row,) = await world.ledger("run|")
    assert row["RowKey"] == f"run|{run['runId']}"


def raising(error: BaseException) -> Any:
    async def stop(*_: object, **__: object) -> None:
        raise error

    return stop


async def test_poisoned_messages_are_put_back_on_request_and_what_is_none_stays(world: World) -> None:

    await world.create_registry(TEAM, tags=OPTED_IN)
    (request,) = await fan_out(world, pushed(await world.push()))
    world.fault(path=".*/scheduleRun", status=400, body={"error": {"code": "TasksOperationsNotAllowed"}})
    await world.groundswell.work.rebuild_requested(world.encode(request))
    await world.groundswell.work.rebuild_requested(b"nonsense")
    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 1}
    await handle(world, await world.take(REBUILD_REQUESTS))
    assert len(await world.runs()) == 1


async def test_unexpected_failure_is_raised_for_the_host_with_its_reason_in_the_ledger(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    (request,) = await fan_out(world, pushed(await world.push()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.groundswell.ledger, "claim", raising(ZeroDivisionError("a bug")))
        with pytest.raises(ZeroDivisionError):
            await world.groundswell.work.rebuild_requested(world.encode(request))
    (row,) = await world.ledger("request|")
    assert (row["outcome"], row["reason"]) == ("failed", "ZeroDivisionError: a bug")


async def test_whole_fleet_on_request_is_one_message_that_leads_to_all(world: World) -> None:
    names = await fleet(world, 4)
    await world.push()
    message, count = await world.groundswell.fan_outs.whole_fleet(None, "fleet-1")
    assert count == 4
    await handle(world, await fan_out(world, FanOut.model_validate_json(message)))
    assert [len(await world.runs(name)) for name in names] == [1] * 4
    assert IMAGE in (await world.ledger("run|", names[0]))[0]["image"]

"""Workers that die, answers that get lost, lists that lag: nothing is lost by it and nothing is built twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.localazure.clock import iso
from dev.localazure.state import Resource
from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut, Image
from shared.domain.retries import GIVE_UP_ATTEMPTS
from tests.integration.steps import fan_out, fleet, handle, onboard, pushed
from tests.integration.world import IMAGE, OPTED_IN, TASKS, TEAM, World, registry_id, task_id

CACHED = {"GROUNDSWELL_FLEET_CACHE_SECONDS": "300"}
KILLED = SystemExit("killed")
RUNS = "Microsoft.ContainerRegistry/registries/runs"


async def die(world: World, message: dict[str, Any] | FanOut, *, at: str, after: bool = False) -> None:
    """Handle a message with a worker that dies before, or after, it uses this function of the ledger."""
    function = getattr(world.groundswell.ledger, at)

    async def last_deed(*arguments: Any, **options: Any) -> None:
        if after:
            await function(*arguments, **options)
        raise KILLED

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.groundswell.ledger, at, last_deed)
        body = message.encode().encode() if isinstance(message, FanOut) else world.encode(message)
        work = world.groundswell.work
        handler = work.fan_out_requested if isinstance(message, FanOut) else work.rebuild_requested
        with pytest.raises(SystemExit):
            await handler(body)


async def check(world: World) -> list[dict[str, Any]]:
    """Handle all run checks until none is left; return them."""
    done = []
    while messages := await world.take(RUN_CHECKS):
        for message in messages:
            await world.run(message["runId"], message["request"]["registry"].rpartition("/")[2])
            await world.groundswell.work.run_check(world.encode(message))
        done += messages
    return done


async def built(world: World) -> list[str]:
    """Return the base image of each run that the ledger knows, and make sure that these are all runs there are."""
    rows = await world.ledger("run|")
    assert {row["RowKey"].removeprefix("run|") for row in rows} == {run["runId"] for run in await world.runs()}
    return sorted(row["image"].rpartition("@")[2] for row in rows)


async def outcomes(world: World) -> set[str]:
    return {row["outcome"] for row in await world.ledger("request|")}


async def test_run_whose_worker_died_before_recording_it_is_recorded_by_its_check(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    (request,) = await fan_out(world, pushed(await world.push()))
    await die(world, request, at="schedule")
    await check(world)
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"]) == ("ended", "Succeeded")
    await handle(world, [request])
    assert await outcomes(world) == {"already-scheduled"}
    assert len(await world.runs()) == 1


async def test_orphan_run_of_one_content_is_not_taken_for_another(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    python, node = await world.push("python", image="baseimages/python:3.13"), await world.push("node")
    image = Image(repository="baseimages/python", tag="3.13", digest=python)
    (first,) = await fan_out(world, pushed(python, event="python").model_copy(update={"image": image}))
    (second,) = await fan_out(world, pushed(node, event="node"))
    await die(world, first, at="claim", after=True)
    await handle(world, [second])
    await world.age_claims(timedelta(minutes=11))
    world.fault(path=".*/scheduleRun", reset="after")
    await handle(world, [second, first, second])
    actual = {
        run.name: next(v["value"] for v in run.properties["_definition"]["step"]["values"] if v["name"] == "baseDigest")
        for run in world.azure.state.of_type(RUNS)
    }
    rows = await world.ledger("run|")
    assert {row["RowKey"].removeprefix("run|"): row["image"].rpartition("@")[2] for row in rows} == actual
    assert sorted(actual.values()) == sorted((python, node))


async def test_claim_of_a_dead_worker_without_a_run_holds_up_no_other_content(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    one, two = await world.push("one"), await world.push("two")
    (first,) = await fan_out(world, pushed(one, minutes=0))
    await die(world, first, at="claim", after=True)
    await world.age_claims(timedelta(minutes=11))
    await world.reconnect()
    await handle(world, await fan_out(world, pushed(two, minutes=1)))
    await handle(world, [first])
    assert await built(world) == [two]
    assert await outcomes(world) == {"scheduled", "superseded"}


async def test_superseded_content_whose_run_was_started_all_the_same_is_recorded(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    one, two = await world.push("one"), await world.push("two")
    (first,) = await fan_out(world, pushed(one, minutes=0))
    world.fault(path=".*/scheduleRun", reset="after")
    await handle(world, [first])
    await world.reconnect()
    await fan_out(world, pushed(two, minutes=1))
    await handle(world, [first])
    assert await built(world) == [one]


async def test_orphan_run_in_a_registry_made_anew_is_adopted_though_its_id_was_used_before(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    (request,) = await fan_out(world, pushed(digest))
    await handle(world, [request])
    await world.arm("DELETE", registry_id(TEAM))
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.fault(path=".*/scheduleRun", reset="after")
    await handle(world, [request])
    await handle(world, await world.take(REBUILD_REQUESTS))
    assert len(await world.runs()) == 1
    assert await outcomes(world) == {"adopted-orphan-run"}


def have_run(world: World, count: int, *, minutes: float) -> None:
    """Let the task have had so many more runs, started so many minutes from now."""
    at = iso(world.azure.clock.now() + timedelta(minutes=minutes))
    for number in range(count):
        name = f"other{minutes}x{number}"
        properties = {"runId": name, "status": "Succeeded", "task": "helloworldtask", "createTime": at}
        world.azure.state.put(Resource(f"{registry_id(TEAM)}/runs/{name}", RUNS, name,
                                       properties=properties))  # fmt: skip


async def test_lost_run_is_adopted_without_reading_the_history_of_its_task(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    have_run(world, 250, minutes=-60)
    (request,) = await fan_out(world, pushed(await world.push()))
    world.fault(path=".*/scheduleRun", reset="after")
    await handle(world, [request])
    before = world.azure.journal.last
    await handle(world, await world.take(REBUILD_REQUESTS))
    assert await outcomes(world) == {"adopted-orphan-run"}
    assert len(list(world.azure.journal.since(before, method="GET", path=".*/runs"))) == 1


async def test_lost_run_is_adopted_though_more_than_a_page_of_runs_was_started_since(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    (request,) = await fan_out(world, pushed(await world.push()))
    world.fault(path=".*/scheduleRun", reset="after")
    await handle(world, [request])
    (lost,) = await world.runs()
    have_run(world, 150, minutes=5)
    await handle(world, await world.take(REBUILD_REQUESTS))
    (row,) = await world.ledger("run|")
    assert row["RowKey"] == f"run|{lost['runId']}"
    assert await outcomes(world) == {"adopted-orphan-run"}


async def test_late_look_at_a_repeated_run_does_not_open_its_build_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.rbac.delay = timedelta(minutes=5)
    await handle(world, await fan_out(world, pushed(await world.push())))
    (look,) = await check(world)
    world.azure.clock.advance(301)
    (again,) = await world.take(REBUILD_REQUESTS)
    await handle(world, [again])
    await world.reconnect(GROUNDSWELL_GRANT_PATIENCE_SECONDS="0")
    await world.groundswell.work.run_check(world.encode(look))
    await handle(world, [again])
    assert len(await world.runs()) == 2
    (build,) = await world.ledger("build|")
    newest, _ = await world.runs()
    assert build["runId"] == newest["runId"]


async def test_run_that_could_not_log_in_is_on_record_as_failed(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.rbac.delay = timedelta(minutes=5)
    await handle(world, await fan_out(world, pushed(await world.push())))
    await check(world)
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"]) == ("ended", "Failed")
    assert "401" in row["reason"]


async def test_patience_with_a_grant_begins_with_the_first_run_however_long_its_request_waited(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    (request,) = await fan_out(world, pushed(await world.push()))
    request["requestedAt"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    world.azure.rbac.delay = timedelta(minutes=5)
    await handle(world, [request])
    await check(world)
    (again,) = await world.take(REBUILD_REQUESTS)
    assert (again["cause"], again["loginsRefused"]) == ("retry", 1)


async def test_content_that_comes_back_is_asked_for_though_the_one_between_was_not_fanned_out(world: World) -> None:
    (name,) = await fleet(world, 1)
    first, second = await world.push("first"), await world.push("second")
    waiting = await fan_out(world, pushed(first, minutes=0))
    await die(world, pushed(second, minutes=1), at="open_fan_out")
    await handle(world, waiting)
    assert await world.runs(name) == []
    await handle(world, await fan_out(world, pushed(first, minutes=2)))
    (run,) = await world.ledger("run|", name)
    assert run["image"].endswith(first)


async def test_content_that_another_tag_still_stands_for_is_not_superseded(world: World) -> None:
    (name,) = await fleet(world, 1)
    world.write_policy(text=world.policy_text.replace("baseimages/node:15-alpine", '"baseimages/node:15*"'))
    first, second = await world.push("first"), await world.push("second")
    waiting = await fan_out(world, pushed(first, minutes=0))
    assert await fan_out(world, pushed(first, minutes=0, event="other tag", tag="15.1")) == []
    await fan_out(world, pushed(second, minutes=1))
    await handle(world, waiting)
    (run,) = await world.ledger("run|", name)
    assert run["image"].endswith(first)


async def test_team_that_has_just_opted_in_is_not_skipped_because_of_an_older_list(world: World) -> None:
    await world.push()
    await world.create_registry(TEAM)
    await world.reconnect(**CACHED)
    await world.groundswell.fleet.registries()
    await world.arm("PATCH", registry_id(TEAM), {"tags": OPTED_IN}, api_version="2026-09-01-preview")
    await handle(world, await onboard(world, TEAM))
    assert len(await world.runs()) == 1


async def test_registry_made_anew_is_not_mistaken_for_the_one_in_an_older_list(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.reconnect(**CACHED)
    await handle(world, await fan_out(world, pushed(await world.push())))
    await world.arm("DELETE", registry_id(TEAM))
    await world.create_registry(TEAM, tags=OPTED_IN)
    assert await world.runs() == []
    await handle(world, await onboard(world, TEAM))
    assert len(await world.runs()) == 1


async def test_registry_that_opted_in_before_a_push_is_asked_though_an_older_list_does_not_know_it(
    world: World,
) -> None:
    await world.reconnect(**CACHED)
    await world.groundswell.fleet.registries()
    await world.create_registry(TEAM, tags=OPTED_IN)
    push = pushed(await world.push()).model_copy(update={"requested_at": datetime.now(UTC)})
    assert len(await fan_out(world, push)) == 1


async def test_task_that_was_deleted_by_hand_is_made_again_though_an_older_list_still_has_it(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, await fan_out(world, pushed(await world.push("one"), minutes=0)))
    await world.reconnect(**CACHED)
    request = await fan_out(world, pushed(await world.push("two"), minutes=1))
    await world.groundswell.fleet.task((await world.groundswell.fleet.registries())[-1], "helloworldtask")
    await world.arm("DELETE", task_id(), api_version=TASKS)
    await handle(world, request)
    newest, _ = await world.runs()
    assert (await world.run(newest["runId"]))["status"] == "Succeeded"
    assert await world.take(f"{REBUILD_REQUESTS}-poison") == []


async def test_throttled_fan_out_comes_back_after_the_delay_azure_asked_for(world: World) -> None:
    await fleet(world, 2)
    message = pushed(await world.push())
    world.fault(method="GET", path=".*/registries", status=429, headers={"Retry-After": "17"})
    await world.groundswell.work.fan_out_requested(message.encode().encode())
    assert set(world.delays) == {(FAN_OUTS, 17)}
    (again,) = await world.take(FAN_OUTS)
    assert len(await fan_out(world, FanOut.model_validate(again))) == 2


async def test_fan_out_that_fails_for_a_day_is_set_aside_and_put_back_on_request(world: World) -> None:
    await fleet(world, 2)
    message = pushed(await world.push(), minutes=-25 * 60).model_copy(update={"attempts": GIVE_UP_ATTEMPTS})
    world.fault(method="GET", path=".*/registries", status=429)
    await world.groundswell.work.fan_out_requested(message.encode().encode())
    assert await world.waiting(FAN_OUTS) == 0
    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 0}
    (again,) = await world.take(FAN_OUTS)
    assert len(await fan_out(world, FanOut.model_validate(again))) == 2


async def test_base_registry_that_does_not_answer_is_asked_again_before_a_first_run_starts(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    world.fault(host=r"mybaseregistry\.azurecr\.io", status=503, times=2)
    world.azure.front.faults[-1].caller = None
    await handle(world, await onboard(world, TEAM))
    assert await world.runs() == []
    waiting: list[dict[str, Any]] = await eventually(lambda: world.take(REBUILD_REQUESTS))
    await handle(world, waiting)
    await handle(world, await fan_out(world, pushed(digest)))
    (row,) = await world.ledger("run|")
    assert row["image"] == f"{IMAGE}@{digest}"

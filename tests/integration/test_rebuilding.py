"""Rebuild requests and run checks as the queues deliver them, against the local Azure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.testing.functions_host import eventually
from shared.adapters.messages import REBUILD_REQUESTS, RUN_CHECKS, Cause, Image, RebuildRequest
from tests.integration import company_life
from tests.integration.company_life import HANDLERS
from tests.integration.world import BASE, IMAGE, OPTED_IN, ROLES, SYSTEM_ASSIGNED, TEAM, World, registry_id

REPOSITORY, TAG = IMAGE.split(":")


def request(digest: str = "", **changes: Any) -> RebuildRequest:
    """Return the request that a push of the base image leads to."""
    image = Image(repository=REPOSITORY, tag=TAG, digest=digest)
    return RebuildRequest.model_validate(
        {"id": "event-1:myregistry:helloworldtask", "registry": registry_id(TEAM), "task": "helloworldtask",
         "cause": Cause.BASE_IMAGE_PUSHED, "image": image, "eventId": "event-1", "requestedAt": datetime.now(UTC),
         **changes}
    )  # fmt: skip


async def handle(world: World, message: RebuildRequest) -> None:
    await world.groundswell.work.rebuild_requested(message.encode().encode())


async def check(world: World) -> list[dict[str, Any]]:
    """Handle the run checks that are due now; return them."""
    messages: list[dict[str, Any]] = await eventually(lambda: world.take(RUN_CHECKS))
    for message in messages:
        await world.run(message["runId"])
        await world.groundswell.work.run_check(world.encode(message))
    return messages


async def outcomes(world: World) -> list[str]:
    return [row["outcome"] for row in await world.ledger("request|")]


async def test_push_of_one_content_builds_once_however_often_it_is_asked_for(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await handle(world, request(digest))
    before = world.azure.journal.last
    for number in range(3):
        await handle(world, request(digest, id=f"other-{number}", eventId=f"other-{number}"))
    (run,) = await world.runs()
    assert await world.run(run["runId"])
    assert (await outcomes(world)).count("already-scheduled") == 3
    assert [call for call in world.app_calls(before) if not call.startswith("GET")] == []


async def test_same_content_under_another_tag_is_not_built_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await handle(world, request(digest))
    other = Image(repository="baseimages/python", tag="3.13", digest=digest)
    await handle(world, request(digest, id="two", eventId="two", image=other))
    assert len(await world.runs()) == 1


async def test_run_is_told_which_base_image_to_build_on_and_its_end_is_recorded(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await handle(world, request(digest))
    await check(world)
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"], row["cause"]) == ("ended", "Succeeded", "base-image-pushed")
    assert row["image"] == f"{IMAGE}@{digest}"
    (run,) = await world.runs()
    assert run["outputImages"][0]["tag"] == run["runId"]


async def test_run_that_goes_on_is_looked_at_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.agent.pace = 3600
    await handle(world, request(await world.push()))
    (message,) = await eventually(lambda: world.take(RUN_CHECKS))
    await world.groundswell.work.run_check(world.encode(message))
    assert await world.waiting(RUN_CHECKS) == 1
    world.azure.agent.pace = 0
    world.azure.clock.advance(3601)
    await check(world)
    (row,) = await world.ledger("run|")
    assert row["state"] == "ended"


async def test_onboarding_before_the_first_push_starts_no_run(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(image=None, cause=Cause.REGISTRY_CHANGED))
    assert (await world.task())["name"] == "helloworldtask"
    assert await world.runs() == []
    assert await outcomes(world) == ["no-base-image-yet"]


async def test_onboarding_after_a_push_starts_the_first_run_once(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await handle(world, request(image=None, cause=Cause.REGISTRY_CHANGED))
    await handle(world, request(image=None, cause=Cause.REGISTRY_CHANGED, id="tags-edited", eventId="tags-edited"))
    await handle(world, request(digest, id="late", eventId="late"))
    assert len(await world.runs()) == 1


async def test_registry_made_anew_under_its_old_name_starts_afresh(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await handle(world, request(digest))
    await world.arm("DELETE", registry_id(TEAM), api_version="2026-09-01-preview")
    await eventually(lambda: world.is_gone(registry_id(TEAM)))
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(digest, id="again", eventId="again"))
    assert len(await world.runs()) == 1
    assert await outcomes(world) == ["scheduled", "scheduled"]


@pytest.mark.parametrize("identity", ["user", "system"])
async def test_run_that_was_too_early_for_its_grant_is_repeated_until_it_works(world: World, identity: str) -> None:
    if identity == "system":
        world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.rbac.delay = timedelta(minutes=5)
    await handle(world, request(await world.push()))
    await check(world)
    (first,) = await world.runs()
    assert first["status"] == "Failed"
    assert await world.waiting(REBUILD_REQUESTS) == 1
    world.azure.clock.advance(301)
    (again,) = await world.take(REBUILD_REQUESTS)
    assert (again["cause"], again["replaces"]) == ("retry", first["runId"])
    await world.groundswell.work.rebuild_requested(world.encode(again))
    await check(world)
    second, _ = await world.runs()
    assert second["status"] == "Succeeded"
    (build,) = await world.ledger("build|")
    assert (build["runId"], build["status"]) == (second["runId"], "Succeeded")


async def test_run_that_was_too_early_is_not_repeated_once_something_newer_was_pushed(world: World) -> None:
    world.azure.rbac.delay = timedelta(minutes=5)
    await company_life.push(world, "one")
    await world.create_registry(TEAM, tags=OPTED_IN)
    # The content of its first run is not named by the request: it is what the tag points to when the run is started.
    await company_life.deliver_change(world, registry_id(TEAM))
    (first,) = await world.take(REBUILD_REQUESTS)
    await world.groundswell.work.rebuild_requested(world.encode(first))
    await check(world)
    (retry,) = await world.take(REBUILD_REQUESTS)
    world.azure.clock.advance(301)
    await company_life.push(world, "two")
    await company_life.work_off(world)
    await world.reconnect()
    await world.groundswell.work.rebuild_requested(world.encode(retry))
    await company_life.work_off(world)
    one, two = await company_life.built(world)
    assert one != two
    assert "superseded" in await outcomes(world)
    # What was never built is built when it comes back.
    await company_life.push(world, "one")
    await company_life.work_off(world)
    assert await company_life.built(world) == [one, two, one]


async def test_redelivered_retry_does_not_build_twice(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.rbac.delay = timedelta(minutes=5)
    await handle(world, request(await world.push()))
    await check(world)
    world.azure.clock.advance(301)
    (again,) = await world.take(REBUILD_REQUESTS)
    for _ in range(2):
        await world.groundswell.work.rebuild_requested(world.encode(again))
    assert len(await world.runs()) == 2


async def test_run_that_fails_for_another_reason_is_recorded_with_its_log_line_and_not_repeated(world: World) -> None:
    tags = {**OPTED_IN, "base-image-rebuilds.contextUrl": "https://github.com/contoso/nowhere.git"}
    await world.create_registry(TEAM, tags=tags)
    await handle(world, request(await world.push()))
    await check(world)
    (row,) = await world.ledger("run|")
    assert row["status"] == "Failed"
    assert row["reason"]
    assert await world.waiting(REBUILD_REQUESTS) == 0


async def test_grant_deleted_by_hand_is_repaired_by_the_next_push(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(await world.push("one")))
    (identity,) = (await world.task())["identity"]["userAssignedIdentities"].values()
    path = f"{registry_id(BASE)}/providers/Microsoft.Authorization/roleAssignments"
    query = {"$filter": f"principalId eq '{identity['principalId']}'"}
    (grant,) = (await world.owner.arm("GET", path, api_version=ROLES, **query)).body["value"]
    await world.arm("DELETE", grant["id"], api_version=ROLES)
    await handle(world, request(await world.push("two"), id="two", eventId="two"))
    assert await world.assignments(registry_id(BASE), identity["principalId"])
    newest, _ = await world.runs()
    assert (await world.run(newest["runId"]))["status"] == "Succeeded"


async def test_answer_lost_after_the_run_was_started_leads_to_no_second_run(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    world.fault(path=".*/scheduleRun", reset="after")
    await handle(world, request(digest))
    (again,) = await world.take(REBUILD_REQUESTS)
    assert again["attempts"] == 1
    await world.groundswell.work.rebuild_requested(world.encode(again))
    (run,) = await world.runs()
    (row,) = await world.ledger("run|")
    assert row["RowKey"] == f"run|{run['runId']}"
    assert await outcomes(world) == ["adopted-orphan-run"]


async def test_throttled_request_comes_back_after_the_delay_azure_asked_for(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    world.fault(path=".*/scheduleRun", status=429, headers={"Retry-After": "17"})
    await handle(world, request(digest))
    assert set(world.delays) == {(REBUILD_REQUESTS, 17)}
    (again,) = await world.take(REBUILD_REQUESTS)
    # Until then this worker leaves the subscription alone; one that knows nothing of the delay stands for later.
    await world.reconnect()
    await world.groundswell.work.rebuild_requested(world.encode(again))
    assert len(await world.runs()) == 1


async def test_request_azure_refuses_for_good_is_set_aside_with_its_reason_in_the_ledger(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    body = {"error": {"code": "TasksOperationsNotAllowed", "message": "ACR Tasks requests are not permitted."}}
    world.fault(path=".*/scheduleRun", status=400, body=body)
    await handle(world, request(digest))
    (aside,) = await world.take(f"{REBUILD_REQUESTS}-poison")
    assert aside["id"] == request().id
    (row,) = await world.ledger("request|")
    assert "TasksOperationsNotAllowed" in row["reason"]
    # Put back after the cause is mended, it builds.
    await world.groundswell.work.rebuild_requested(world.encode(aside))
    assert len(await world.runs()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"base-image-rebuilds": "paused"}, "paused"),
        ({"base-image-rebuilds": "disabled"}, "opted-out"),
        ({}, "not-selected"),
    ],
)
async def test_team_that_changed_its_mind_meanwhile_is_left_alone(
    world: World, change: dict[str, str], reason: str
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await world.arm("PATCH", registry_id(TEAM), {"tags": change}, api_version="2026-09-01-preview")
    before = world.azure.journal.last
    await handle(world, request(digest))
    assert world.app_writes(before) == []
    (row,) = await world.ledger("request|")
    assert row["outcome"] == "skipped"
    assert reason in row["reason"]


async def test_request_for_a_registry_that_is_gone_is_skipped(world: World) -> None:
    await handle(world, request("sha256:" + "0" * 64))
    assert await outcomes(world) == ["skipped"]
    assert await world.waiting(f"{REBUILD_REQUESTS}-poison") == 0


@pytest.mark.parametrize("queue", [REBUILD_REQUESTS, RUN_CHECKS])
async def test_message_that_is_none_is_set_aside_as_it_came(world: World, queue: str) -> None:
    await HANDLERS[queue](world.groundswell.work, b'{"hello": "world"}')
    assert await world.take(f"{queue}-poison") == [{"hello": "world"}]


async def test_base_registry_that_cannot_be_looked_into_does_not_stop_a_first_run(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    world.fault(host=rf"{BASE}\.azurecr\.io", status=403, times=-1, body={"errors": [{"code": "DENIED"}]})
    world.azure.front.faults[-1].caller = None
    await handle(world, request(image=None, cause=Cause.REGISTRY_CHANGED))
    assert len(await world.runs()) == 1

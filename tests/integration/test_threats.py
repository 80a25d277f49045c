"""What somebody who can forge an event or write into a queue can make Groundswell do: docs/security.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS
from shared.domain.errors import NotFound
from tests.integration.company_life import built, deliver_push, push, push_event, work_off
from tests.integration.world import BASE, IMAGE, OPTED_IN, TEAM, World, registry_id

FOREIGN = "/subscriptions/00000000-0000-4000-8000-0000000000ff/resourceGroups/theirs"
NOW = datetime.now(UTC).isoformat()


async def test_forged_push_from_the_future_does_not_make_real_ones_look_old(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    forged = push_event("sha256:" + "6" * 64, at=datetime.now(UTC) + timedelta(days=3650))
    await deliver_push(world, forged)
    await work_off(world)
    event = await push(world, "two")
    await work_off(world)
    assert (await built(world))[-1] == event["data"]["target"]["digest"]


async def test_forged_push_of_a_content_that_does_not_exist_builds_on_what_the_tag_really_is(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    real = await world.push("one")
    await deliver_push(world, push_event("sha256:" + "6" * 64))
    await work_off(world)
    (run,) = await world.runs()
    assert run["status"] == "Succeeded"
    found = world.azure.registries.find(await world.login_server(BASE))
    assert found
    assert world.azure.registries.repository(found, IMAGE.split(":")[0]).tags[IMAGE.split(":")[1]].digest == real


async def test_event_of_any_size_becomes_a_message_that_fits_the_queue(world: World) -> None:
    event = push_event("sha256:" + "6" * 64, image=f"baseimages/python:3.{'9' * 100}")
    event["data"]["request"] = {"host": "x" * 900_000, "useragent": "y" * 100_000}
    event["data"]["target"]["length"] = 10**500
    message = world.groundswell.fan_outs.base_image_pushed(event)
    assert message
    assert len(message.encode()) < 2_000
    for part in ("id", "repository", "tag", "digest"):
        huge = push_event("sha256:" + "6" * 64)
        (huge if part == "id" else huge["data"]["target"])[part] = "a" * 900_000
        assert world.groundswell.fan_outs.base_image_pushed(huge) is None


@pytest.mark.parametrize(
    "registry",
    [
        f"{FOREIGN}/providers/Microsoft.ContainerRegistry/registries/theirregistry",
        f"{registry_id(TEAM)}/tasks/helloworldtask",
        registry_id(TEAM).replace("Microsoft.ContainerRegistry/registries", "Microsoft.Storage/storageAccounts"),
        registry_id("../../evil"),
        registry_id(BASE),
    ],
    ids=["other-subscription", "child", "other-provider", "path", "base-registry"],
)
async def test_request_in_the_queue_reaches_no_registry_that_is_not_watched(world: World, registry: str) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    await world.groundswell.fleet.base(world.groundswell.policy())
    before = world.azure.journal.last
    message = {"id": "forged", "registry": registry, "task": "helloworldtask", "cause": "manual", "requestedAt": NOW}
    await world.send(REBUILD_REQUESTS, world.encode(message))
    await work_off(world)
    assert [call for call in world.app_calls(before) if not call.startswith("GET")] == []
    assert [e["path"] for e in world.azure.journal.since(before, caller=world.app.name, path=".*theirs.*")] == []
    assert await world.runs_anywhere() == []


@pytest.mark.parametrize("task", ["no-such-task", "../../registries/x", "a' or TaskName ne '", "helloworldtask/x"])
async def test_request_for_a_task_that_the_policy_does_not_have_asks_azure_for_nothing(world: World, task: str) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    before = world.azure.journal.last
    message = {"id": "forged", "registry": registry_id(TEAM), "task": task, "cause": "manual", "requestedAt": NOW}
    await world.send(REBUILD_REQUESTS, world.encode(message))
    await work_off(world)
    assert world.app_calls(before) == []
    with pytest.raises(NotFound, match="The policy has no task"):
        await world.groundswell.starts.start_run(TEAM, json.dumps({"task": task}).encode())


@pytest.mark.parametrize("run_id", ["../../../../tasks/helloworldtask", "cf1/listLogSasUrl?x=", "cf1'"])
async def test_run_check_in_the_queue_only_reads_runs(world: World, run_id: str) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    request = {"id": "forged", "registry": registry_id(TEAM), "task": "helloworldtask", "cause": "manual",
               "requestedAt": NOW}  # fmt: skip
    check = {"request": request, "runId": run_id, "build": "forged", "scheduledAt": NOW}
    before = world.azure.journal.last
    await world.groundswell.work.run_check(world.encode(check))
    calls = world.azure.journal.since(before, caller=world.app.name)
    assert {entry["method"] for entry in calls} <= {"GET"}
    assert all("/runs/" in entry["path"] for entry in calls)


async def test_fan_out_in_the_queue_asks_for_selected_registries_alone(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.create_registry("otherteam")
    await world.push()
    await world.send(FAN_OUTS, world.encode({"id": "forged", "cause": "manual", "requestedAt": NOW}))
    await work_off(world)
    assert len(await built(world)) == 1
    assert await world.runs("otherteam") == []

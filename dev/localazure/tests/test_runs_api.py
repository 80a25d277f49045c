"""Runs over ARM: scheduling, reading, listing, cancelling."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient
from azure.mgmt.containerregistrytasks.models import (
    OverrideTaskStepProperties,
    RunUpdateParameters,
    SetValue,
    TaskRunRequest,
)

from dev.localazure.azure import Azure
from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.localazure.tests.task_runs import HELLO_WORLD, TASK, TASKS_API, TEAM, Scenario, encoded, registry_id, run_path
from dev.testing.azure import Client

pytestmark = pytest.mark.usefixtures("granted_task")

QUICK = {
    "type": "EncodedTaskRunRequest", "platform": {"os": "linux", "architecture": "amd64"},
    "encodedTaskContent": base64.b64encode(b"steps: [{cmd: bash echo hello}]").decode(),
}  # fmt: skip
MISSING_TASK = f"{registry_id('myregistry')}/tasks/missing"


async def test_scheduling_answers_a_queued_run_in_short(scenario: Scenario) -> None:
    reply = await scenario.schedule()
    assert reply.status == 200
    run_id = reply.body["name"]
    assert reply.body["id"] == run_path(run_id)
    assert reply.body["type"] == "Microsoft.ContainerRegistry/registries/runs"
    properties = reply.body["properties"]
    assert list(properties) == ["runId", "status", "lastUpdatedTime", "provisioningState", "isArchiveEnabled"]
    assert (properties["status"], properties["provisioningState"]) == ("Queued", "Succeeded")
    assert len(properties["lastUpdatedTime"]) == len("2026-09-10T06:55:15+00:00")
    assert set(reply.body["systemData"]) == {"lastModifiedBy", "lastModifiedByType", "lastModifiedAt"}


async def test_run_shows_its_fields_in_acrs_order_and_no_request(scenario: Scenario) -> None:
    ended = await scenario.run()
    assert list(ended.run) == [
        "runId", "status", "lastUpdatedTime", "runType", "createTime", "startTime", "finishTime", "outputImages",
        "task", "platform", "agentConfiguration", "customRegistries", "provisioningState", "isArchiveEnabled",
    ]  # fmt: skip
    assert (ended.run["runType"], ended.run["task"]) == ("QuickRun", "helloworldtask")


async def test_run_ids_count_to_base_36_for_each_registry(scenario: Scenario) -> None:
    ids = [(await scenario.schedule(QUICK)).body["name"] for _ in range(36)]
    assert [name[2:] for name in ids[:11]] == ["1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"]
    assert ids[35][2:] == "10"
    assert {name[:2] for name in ids} == {ids[0][:2]}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"type": "TaskRunRequest", "taskId": MISSING_TASK}, 404, "ResourceNotFound"),
        ({"type": "TaskRunRequest", "taskId": "helloworldtask"}, 400, "InvalidInputValue"),
        ({"type": "TaskRunRequest"}, 400, "InvalidInputValue"),
        (
            {"type": "TaskRunRequest", "taskId": f"{registry_id('mybaseregistry')}/tasks/helloworldtask"},
            400,
            "InvalidInputValue",
        ),
        (
            {"type": "TaskRunRequest", "taskId": TASK, "overrideTaskStepProperties": {"values": [{"value": "x"}]}},
            400,
            "InvalidRequestContent",
        ),
        ({"type": "TaskRunRequest", "taskId": TASK, "overrideTaskStepProperties": []}, 200, ""),
        ({"type": "TaskRunRequest", "taskId": TASK, "overrideTaskStepProperties": [1]}, 400, "InvalidRequestContent"),
        ({"type": "Nonsense"}, 400, "InvalidInputValue"),
        ({**QUICK, "platform": None}, 400, "InvalidInputValue"),
        ({**QUICK, "encodedTaskContent": "?"}, 400, "InvalidInputValue"),
        ({**QUICK, "encodedTaskContent": None}, 400, "InvalidInputValue"),
        ({**QUICK, "timeout": 10}, 400, "InvalidInputValue"),
        ({**QUICK, "agentConfiguration": {"cpu": 8}}, 400, "InvalidInputValue"),
        ([], 400, "InvalidRequestContent"),
    ],
)
async def test_bad_run_request_is_refused(scenario: Scenario, request_: Any, status: int, code: str) -> None:
    path = f"{registry_id('myregistry')}/scheduleRun"
    reply = await scenario.owner.arm("POST", path, request_, api_version=TASKS_API)
    assert reply.status == status, reply.text
    assert status == 200 or reply.body["error"]["code"] == code


async def test_disabled_task_cannot_be_run(scenario: Scenario, owner: Client) -> None:
    await owner.arm("PATCH", TASK, {"properties": {"status": "Disabled"}}, api_version=TASKS_API)
    assert (await scenario.schedule()).status == 400


async def test_subscription_without_tasks_is_told_so(scenario: Scenario) -> None:
    scenario.azure.agent.forbidden.add(DEFAULT_SUBSCRIPTION)
    reply = await scenario.schedule()
    assert reply.status == 400
    assert reply.body["error"]["code"] == "TasksOperationsNotAllowed"
    assert reply.body["error"]["target"] == "request"


async def test_scheduling_needs_its_own_permission(scenario: Scenario, session: aiohttp.ClientSession) -> None:
    reader = scenario.azure.identity.create_app("reader")
    scenario.azure.grant(reader.system_assigned or "", "acdd72a7-3385-48ef-bd42-f606fba81ae7", "/")
    client = Client(scenario.azure, reader, session)
    request = {"type": "TaskRunRequest", "taskId": TASK}
    path = f"{registry_id('myregistry')}/scheduleRun"
    refused = await client.arm("POST", path, request, api_version=TASKS_API)
    assert (refused.status, refused.body["error"]["code"]) == (403, "AuthorizationFailed")
    assert "Microsoft.ContainerRegistry/registries/scheduleRun/action" in refused.body["error"]["message"]
    ended = await scenario.run()
    assert (await client.arm("GET", run_path(ended.id), api_version=TASKS_API)).status == 200
    assert (await client.arm("POST", run_path(ended.id) + "/listLogSasUrl", api_version=TASKS_API)).status == 403
    assert (await client.arm("POST", run_path(ended.id) + "/cancel", api_version=TASKS_API)).status == 403


async def list_runs(scenario: Scenario, **query: str) -> list[dict[str, Any]]:
    path = f"{registry_id('myregistry')}/runs"
    reply = await scenario.owner.arm("GET", path, api_version=TASKS_API, **{f"${k}": v for k, v in query.items()})
    assert reply.status == 200, reply.text
    assert "nextLink" not in reply.body
    return [run["properties"] for run in reply.body["value"]]


async def test_list_filters_runs_newest_first(scenario: Scenario) -> None:
    first = await scenario.run()
    quick = await scenario.run(QUICK)
    second = await scenario.run()
    digest = scenario.tags()[second.id]

    async def ids(text: str) -> list[str]:
        return [run["runId"] for run in await list_runs(scenario, filter=text)]

    assert [run["runId"] for run in await list_runs(scenario)] == [second.id, quick.id, first.id]
    assert [run["runId"] for run in await list_runs(scenario, top="2")] == [second.id, quick.id]
    assert await ids("TaskName eq 'helloworldtask'") == [second.id, first.id]
    assert await ids("TaskName eq 'helloworldtask' and Status eq 'Failed'") == []
    assert await ids(f"RunId eq '{quick.id}'") == [quick.id]
    assert await ids(f"contains(OutputImageManifests,'hello-world@{digest}')") == [second.id]
    assert await ids(f"RunType ne 'QuickBuild' and RunId ne '{second.id}'") == [quick.id, first.id]
    assert await ids("IsArchiveEnabled eq true") == []


@pytest.mark.parametrize(
    "text",
    [
        "TaskName eq", "TaskName eq 'a' or TaskName eq 'b'", "Nonsense eq 'a'", "TaskName gt 'a'",
        "CreateTime ge 2026-11-22T10:00:00Z", "FinishTime le '2026-11-22T10:00:00Z'",
        "contains(TaskName,'a')", "TaskName eq 'a' and", "not (TaskName eq 'a')",
    ],
)  # fmt: skip
async def test_filter_that_acr_does_not_or_may_not_know_is_refused(scenario: Scenario, text: str) -> None:
    path = f"{registry_id('myregistry')}/runs"
    reply = await scenario.owner.arm("GET", path, api_version=TASKS_API, **{"$filter": text})
    assert (reply.status, reply.body["error"]["code"]) == (400, "InvalidFilter")


async def test_long_list_comes_in_pages(scenario: Scenario, owner: Client) -> None:
    for _ in range(103):
        await scenario.schedule(QUICK)
    await owner.control("GET", "/idle")
    path = f"{registry_id('myregistry')}/runs"
    first = await owner.arm("GET", path, api_version=TASKS_API)
    assert len(first.body["value"]) == 100
    headers = {"Authorization": f"Bearer {await owner.token()}"}
    second = await owner.request("GET", first.body["nextLink"], headers=headers)
    assert [run["name"][2:] for run in second.body["value"]] == ["3", "2", "1"]
    assert "nextLink" not in second.body


async def test_archiving_a_run_is_a_patch_at_the_top_level(scenario: Scenario, owner: Client) -> None:
    ended = await scenario.run()
    reply = await owner.arm("PATCH", run_path(ended.id), {"isArchiveEnabled": True}, api_version=TASKS_API)
    assert reply.status == 200
    assert reply.body["properties"]["isArchiveEnabled"] is True
    assert "createdAt" in reply.body["systemData"]


async def test_missing_run_is_not_found(scenario: Scenario, owner: Client) -> None:
    for method, suffix in (("GET", ""), ("PATCH", ""), ("POST", "/cancel"), ("POST", "/listLogSasUrl")):
        reply = await owner.arm(method, run_path("cf999") + suffix, {}, api_version=TASKS_API)
        assert (reply.status, reply.body["error"]["code"]) == (404, "ResourceNotFound")


# The life of a run


async def status_of(scenario: Scenario, run_id: str, *wanted: str) -> str:
    """Ask until a run has one of the statuses."""
    while (status := str((await scenario.get(run_id))["status"])) not in wanted:
        pass
    return status


async def test_run_goes_through_queued_started_and_running(scenario: Scenario) -> None:
    scenario.azure.agent.pace = 3600.0
    scenario.azure.agent.concurrency = 1
    first, second = [(await scenario.schedule(QUICK)).body["name"] for _ in range(2)]
    await status_of(scenario, first, "Started")
    assert "startTime" not in await scenario.get(first)
    assert (await scenario.get(second))["status"] == "Queued"
    scenario.azure.clock.advance(3600)
    await status_of(scenario, first, "Running")
    running = await scenario.get(first)
    assert running["startTime"] > running["createTime"]
    assert "finishTime" not in running


async def test_queued_run_starts_when_an_agent_is_free(scenario: Scenario, owner: Client) -> None:
    scenario.azure.agent.concurrency = 1
    names = [(await scenario.schedule()).body["name"] for _ in range(3)]
    await owner.control("GET", "/idle")
    runs = [await scenario.get(name) for name in names]
    assert [run["status"] for run in runs] == ["Succeeded"] * 3
    assert runs[0]["finishTime"] <= runs[1]["startTime"] <= runs[1]["finishTime"] <= runs[2]["startTime"]


async def test_canceled_run_ends_its_log_and_frees_the_agent(scenario: Scenario, owner: Client) -> None:
    scenario.azure.agent.concurrency = 1
    scenario.azure.agent.pace = 100.0
    first, second = [(await scenario.schedule(QUICK)).body["name"] for _ in range(2)]
    await status_of(scenario, first, "Started")
    scenario.azure.clock.advance(100)
    await status_of(scenario, first, "Running")
    for name in (second, first, first):
        reply = await owner.arm("POST", run_path(name) + "/cancel", api_version=TASKS_API)
        assert (reply.status, reply.text) == (200, "")
    for name in (first, second):
        ended = await scenario.ended(name)
        assert ended.status == "Canceled"
        assert ended.blob.headers["x-ms-meta-Complete"] == "canceled"
        assert ended.lines[-2].startswith(f"Run ID: {name} was canceled after ")
    scenario.azure.agent.pace = 0.0
    assert (await scenario.run(QUICK)).status == "Succeeded"


async def test_cancelling_a_run_that_has_ended_changes_nothing(scenario: Scenario, owner: Client) -> None:
    ended = await scenario.run()
    assert (await owner.arm("POST", run_path(ended.id) + "/cancel", api_version=TASKS_API)).status == 200
    assert await scenario.get(ended.id) == ended.run


async def test_run_longer_than_the_tasks_timeout_times_out(scenario: Scenario) -> None:
    await scenario.create_granted_task(timeout=300)
    scenario.azure.clock.set_scale(10_000)
    scenario.azure.agent.pace = 110.0
    ended = await scenario.run()
    assert ended.status == "Timeout"
    assert ended.blob.headers["x-ms-meta-Complete"] == "timedout"
    # At this speed a busy machine loses minutes.
    assert re.match(rf"Run ID: {ended.id} timed out after ([5-9]|\d\d)m", ended.lines[-2])


async def test_step_longer_than_its_timeout_fails(scenario: Scenario) -> None:
    scenario.azure.clock.set_scale(10_000)
    scenario.azure.agent.pace = 30.0
    ended = await scenario.run({**QUICK, "encodedTaskContent": base64.b64encode(
        b"steps: [{id: slow, cmd: bash, timeout: 20}]").decode()})  # fmt: skip
    assert ended.status == "Failed"
    assert "failed to run step ID: slow: context deadline exceeded" in ended.lines


async def test_moving_the_clock_does_not_time_out_a_run_at_work(scenario: Scenario) -> None:
    scenario.azure.agent.pace = 10.0
    name = (await scenario.schedule()).body["name"]
    for _ in range(20):
        if (await scenario.get(name))["status"] in ("Succeeded", "Timeout"):
            break
        scenario.azure.clock.advance(86_400)
    assert (await scenario.get(name))["status"] == "Succeeded"


async def test_deleting_the_registry_ends_its_runs(scenario: Scenario, owner: Client) -> None:
    scenario.azure.agent.pace = 3600.0
    name = (await scenario.schedule()).body["name"]
    await status_of(scenario, name, "Started")
    await owner.arm("DELETE", registry_id("myregistry"))
    while owner.azure.state.get(run_path(name)):
        await owner.arm("GET", registry_id("myregistry"))
    assert (await owner.control("GET", "/idle")).body["idle"]


async def test_reset_drops_runs_and_frees_their_agents(scenario: Scenario, owner: Client) -> None:
    scenario.azure.agent.pace = 3600.0
    scenario.azure.agent.concurrency = 1
    await scenario.schedule()
    await scenario.schedule()
    assert (await owner.control("POST", "/reset")).status == 204
    assert (await owner.control("GET", "/idle")).body["idle"]
    scenario.azure.agent.pace = 0.0
    await scenario.set_up()
    assert (await scenario.run(QUICK)).status == "Succeeded"


# With the real SDK


@pytest.fixture
async def tasks_client(azure: Azure) -> AsyncIterator[ContainerRegistryTasksMgmtClient]:
    async with (
        ManagedIdentityCredential() as credential,
        ContainerRegistryTasksMgmtClient(credential, DEFAULT_SUBSCRIPTION) as client,
    ):
        yield client


async def test_sdk_schedules_reads_lists_and_updates_runs(
    scenario: Scenario, owner: Client, tasks_client: ContainerRegistryTasksMgmtClient
) -> None:
    request = TaskRunRequest(
        task_id=TASK,
        override_task_step_properties=OverrideTaskStepProperties(values_property=[SetValue(name="x", value="y")]),
    )
    scheduled = await tasks_client.registries.schedule_run("rg", "myregistry", request)
    name = str(scheduled.name)
    await owner.control("GET", "/idle")
    run = await tasks_client.runs.get("rg", "myregistry", name)
    assert run.properties is not None
    assert run.properties.status == "Succeeded"
    assert run.properties.output_images is not None
    assert run.properties.output_images[0].registry == TEAM
    listed = [r.name async for r in tasks_client.runs.list("rg", "myregistry", filter="Status eq 'Succeeded'", top=5)]
    assert listed == [name]
    link = await tasks_client.runs.get_log_sas_url("rg", "myregistry", name)
    assert f"Run ID: {name} was successful" in (await owner.request("GET", str(link.log_link))).text
    updated = await tasks_client.runs.update("rg", "myregistry", name, RunUpdateParameters(is_archive_enabled=True))
    assert updated.properties is not None
    assert updated.properties.is_archive_enabled
    await tasks_client.runs.cancel("rg", "myregistry", name)


async def test_sdk_sees_the_refusal_of_a_missing_task(
    scenario: Scenario, tasks_client: ContainerRegistryTasksMgmtClient
) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await tasks_client.registries.schedule_run("rg", "myregistry", TaskRunRequest(task_id=MISSING_TASK))
    assert (caught.value.status_code, caught.value.error and caught.value.error.code) == (404, "ResourceNotFound")


async def test_task_with_values_file_reads_it(scenario: Scenario) -> None:
    step = encoded(HELLO_WORLD.replace("mybaseregistry.azurecr.io", "{{.Values.base}}"))
    values = base64.b64encode(b"base: mybaseregistry.azurecr.io").decode()
    await scenario.create_granted_task({**step, "encodedValuesContent": values})
    assert (await scenario.run()).status == "Succeeded"
    await scenario.create_granted_task({**step, "encodedValuesContent": base64.b64encode(b"a: [").decode()})
    assert any("failed to deserialize values" in line for line in (await scenario.run()).lines)

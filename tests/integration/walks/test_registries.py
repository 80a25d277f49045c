"""Registries that are created, changed, moved and deleted, and what their teams say with tags."""

from __future__ import annotations

import json
import traceback

import pytest

from shared.domain.errors import GroundswellError, NotSelected
from shared.domain.state.known import Why
from shared.domain.state.steps import State
from tests.integration.company_life import OTHER_GROUP, OTHER_SUBSCRIPTION, watch_subscription
from tests.integration.test_moves import move
from tests.integration.test_onboarding import ABAC, ACR_PULL, REPOSITORY_READER, REPOSITORY_WRITER, roles
from tests.integration.test_team_tags import CONTEXT, REFUSED, SECRET
from tests.integration.walks.steps import (
    HOUR,
    MINUTE,
    Company,
    ask,
    ask_for_all,
    built,
    change_event,
    deliver,
    known,
    later,
    push,
    set_aside,
    set_tags,
    stands,
    statuses,
    walk,
    work_off,
    work_once,
)
from tests.integration.world import (
    BASE,
    GROUP,
    OPTED_IN,
    ROLES,
    SYSTEM_ASSIGNED,
    TASKS,
    TEAM,
    USER_ASSIGNED,
    deploy,
    registry_id,
    task_id,
)  # fmt: skip

IDENTITIES = pytest.mark.parametrize("identity", [USER_ASSIGNED, SYSTEM_ASSIGNED], ids=["user", "system"])


# Created


@IDENTITIES
async def test_registry_that_is_created_is_armed_and_built_at_once(company: Company, identity: str) -> None:
    company.write_policy(identity)
    await push(company, "one")
    await work_off(company)
    await company.create_registry(TEAM, tags=OPTED_IN)
    before = company.azure.journal.last
    await deliver(company, change_event(registry_id(TEAM)))
    await work_once(company)
    assert len(await company.runs()) == 1
    calls = company.app_calls(before)
    writes = 4 if identity == USER_ASSIGNED else 3
    assert len([call for call in calls if not call.startswith("GET")]) == writes
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]
    assert (await known(company)).runs[0].why is Why.FIRST


async def test_events_of_a_registry_that_is_current_start_nothing_more(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    before = company.azure.journal.last
    for _ in range(3):
        await deliver(company, change_event(registry_id(TEAM)))
        await work_off(company)
    assert await statuses(company) == ["Succeeded"]
    assert company.app_writes(before) == []


async def test_registry_before_the_first_push_waits_for_it(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await deliver(company, change_event(registry_id(TEAM)))
    await work_off(company)
    assert await company.runs() == []
    assert (await stands(company)).state is State.WAITING
    digest = await push(company, "one")
    await work_off(company)
    assert await built(company) == [digest]


async def test_registry_that_azure_does_not_show_yet_is_looked_for_again(company: Company) -> None:
    await push(company, "one")
    await work_off(company)
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.fault(method="GET", path=f".*/registries/{TEAM}", status=404, times=2,
                  body={"error": {"code": "ResourceNotFound", "message": "Not here."}})  # fmt: skip
    await deliver(company, change_event(registry_id(TEAM)))
    await work_off(company)
    assert ("walks", 5) in company.delays
    assert ("walks", 15) in company.delays
    assert await statuses(company) == ["Succeeded"]


async def test_registry_that_azure_never_shows_is_dropped(company: Company) -> None:
    await deliver(company, change_event(registry_id(TEAM)))
    await work_off(company)
    assert [delay for _, delay in company.delays] == [5, 15, 60]
    assert await set_aside(company) == 0


async def test_registry_that_cannot_be_looked_at_is_found_by_the_walk(company: Company) -> None:
    await push(company, "one")
    await work_off(company)
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.fault(method="GET", path=f".*/registries/{TEAM}", status=403)
    await deliver(company, change_event(registry_id(TEAM)))
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]


async def test_base_registry_in_abac_mode_gets_repository_reader_in_place_of_acrpull(company: Company) -> None:
    await company.arm("PATCH", registry_id(BASE), {"properties": ABAC}, api_version="2026-09-01-preview")
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    (identity,) = (await company.task())["identity"]["userAssignedIdentities"].values()
    assert roles(await company.assignments(registry_id(BASE), identity["principalId"])) == {REPOSITORY_READER}
    assert await statuses(company) == ["Succeeded"]


@IDENTITIES
async def test_team_registry_in_abac_mode_lets_its_task_log_in_and_write(company: Company, identity: str) -> None:
    company.write_policy(identity)
    await company.create_registry(TEAM, tags=OPTED_IN, properties=ABAC)
    await push(company, "one")
    await work_off(company)
    task = await company.task()
    if identity == SYSTEM_ASSIGNED:
        principal = task["identity"]["principalId"]
    else:
        (shown,) = task["identity"]["userAssignedIdentities"].values()
        principal = shown["principalId"]
    assert roles(await company.assignments(registry_id(TEAM), principal)) == {REPOSITORY_WRITER}
    assert roles(await company.assignments(registry_id(BASE), principal)) == {ACR_PULL}
    assert await statuses(company) == ["Succeeded"]


# Deleted


async def test_registry_that_is_deleted_is_left_alone_and_the_others_are_built(company: Company) -> None:
    for name in (TEAM, "otherteam"):
        await company.create_registry(name, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await company.arm("DELETE", registry_id(TEAM))
    await deliver(company, change_event(registry_id(TEAM), deleted=True))
    digest = await push(company, "two")
    await work_off(company)
    assert (await built(company, "otherteam"))[-1] == digest
    assert await set_aside(company) == 0
    assert (await stands(company)).state is State.LEAVING


async def test_registry_that_is_deleted_before_its_first_look_is_no_failure(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await deliver(company, change_event(registry_id(TEAM)))
    await company.arm("DELETE", registry_id(TEAM))
    await work_off(company)
    assert await set_aside(company) == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# Changed


async def test_team_that_opts_in_is_built_and_one_that_changes_its_mind_is_left_alone(company: Company) -> None:
    await company.create_registry(TEAM)
    await push(company, "one")
    await work_off(company)
    await set_tags(company, OPTED_IN)
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]
    for said, state in (("paused", State.PAUSED), ("disabled", State.NOT_SELECTED), ("enable", State.NOT_SELECTED)):
        await set_tags(company, {"base-image-rebuilds": said})
        before = company.azure.journal.last
        await push(company, f"while {said}")
        await work_off(company)
        assert company.app_writes(before) == []
        assert (await stands(company)).state is state
    assert await statuses(company) == ["Succeeded"]
    await set_tags(company, OPTED_IN)
    await work_off(company)
    assert await statuses(company) == ["Succeeded", "Succeeded"]


async def test_tag_that_is_corrected_reaches_the_task_with_one_write(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await later(company, 11 * MINUTE)
    url = "https://github.com/Azure-Samples/acr-build-helloworld-node.git#main:."
    before = company.azure.journal.last
    await set_tags(company, {**OPTED_IN, CONTEXT: url})
    await push(company, "two")
    await work_off(company)
    assert company.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"]
    values = {item["name"]: item["value"] for item in (await company.task())["properties"]["step"]["values"]}
    assert values["contextUrl"] == url


@pytest.mark.parametrize("tag", REFUSED)
async def test_refused_override_starts_nothing_and_writes_nothing_until_it_is_mended(
    company: Company, tag: str
) -> None:
    before = company.azure.journal.last
    await company.create_registry(TEAM, tags=OPTED_IN)
    await set_tags(company, {**OPTED_IN, tag: REFUSED[tag]})
    await push(company, "one")
    assert await ask_for_all(company) == 1
    await work_off(company)
    with pytest.raises(NotSelected, match=f"until its tags are fixed: tag {tag}"):
        await ask(company)
    assert company.app_writes(before) == []
    assert await company.runs() == []
    digest = await push(company, "two")
    await set_tags(company, OPTED_IN)
    await work_off(company)
    assert await built(company) == [digest]


async def test_task_of_a_team_whose_override_is_refused_later_stays_as_it_is(company: Company) -> None:
    ours = "https://github.com/Azure-Samples/acr-build-helloworld-node.git#main"
    await company.create_registry(TEAM, tags={**OPTED_IN, CONTEXT: ours})
    await push(company, "one")
    await work_off(company)
    before, there = company.azure.journal.last, await company.task()
    await set_tags(company, {**OPTED_IN, CONTEXT: f"{ours} --no-cache"})
    await push(company, "two")
    await work_off(company)
    assert company.app_writes(before) == []
    assert (await company.task())["properties"]["step"] == there["properties"]["step"]
    step = await stands(company)
    assert (step.state, f"tag {CONTEXT} " in step.reason) == (State.NOT_ARMED, True)


async def test_credential_in_an_override_is_never_repeated(company: Company, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "groundswell")
    await company.create_registry(TEAM, tags={**OPTED_IN, CONTEXT: REFUSED[CONTEXT]})
    await push(company, "one")
    await deliver(company, change_event(registry_id(TEAM)))
    await ask_for_all(company)
    await work_off(company)
    said = [(await stands(company)).reason]
    for body in (b"", b'{"baseImage": "https://user:%s@example.com/node:15"}' % SECRET.encode()):
        with pytest.raises(GroundswellError) as refused:
            await company.groundswell.asking.start_run(TEAM, body)
        said.append("".join(traceback.format_exception(refused.value)))
    said += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    table = company.groundswell.clients.tables().get_table_client(company.table)
    said += [json.dumps(dict(row), default=str) async for row in table.query_entities("RowKey ge ' '")]
    assert [text for text in said if SECRET in text] == []
    assert "names a user or holds a credential" in said[0]


# Moved


async def test_registry_in_another_resource_group_keeps_its_task_and_history(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await company.arm("PUT", f"{GROUP}-2", {"location": "eastus"}, api_version="2024-11-01")
    moved = await move(company, TEAM, f"{GROUP}-2")
    before = company.azure.journal.last
    await deliver(company, change_event(moved))
    await push(company, "two")
    await work_off(company)
    assert len(await built(company)) == 2
    assert company.app_writes(before) == []
    assert all(run.succeeded for run in (await known(company)).runs)


async def test_grant_on_a_registry_that_moved_is_given_again(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN, properties=ABAC)
    await push(company, "one")
    await work_off(company)
    await later(company, 11 * MINUTE)
    await company.arm("PUT", f"{GROUP}-2", {"location": "eastus"}, api_version="2024-11-01")
    moved = await move(company, TEAM, f"{GROUP}-2")
    before = company.azure.journal.last
    await deliver(company, change_event(moved))
    await push(company, "two")
    await work_off(company)
    assert company.app_writes(before) == ["PUT Microsoft.Authorization/roleAssignments/write"]
    assert all(run.succeeded for run in (await known(company)).runs)


async def test_registry_in_another_subscription_is_served_once_that_is_named_and_its_roles_are_given(
    company: Company,
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    company.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await company.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    moved = await move(company, TEAM, OTHER_GROUP)
    # Neither named nor permitted: it is none of Groundswell's any more.
    await deliver(company, change_event(moved))
    await push(company, "two")
    await work_off(company)
    assert len(await company.runs_anywhere()) == 1
    await watch_subscription(company, OTHER_SUBSCRIPTION)
    await walk(company)
    assert len(await company.runs_anywhere()) == 2


# The policy


async def test_policy_that_changed_reaches_every_task_at_the_next_run(company: Company) -> None:
    names = ("mailteam", "shopteam")
    for name in names:
        await company.create_registry(name, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await later(company, 11 * MINUTE)
    company.write_policy(text=company.policy_text.replace("hello-world", "hello-again"))
    before = company.azure.journal.last
    assert await ask_for_all(company) == 2
    await work_off(company)
    assert company.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"] * 2
    for name in names:
        newest, _ = await company.runs(name)
        assert newest["outputImages"][0]["repository"] == "hello-again"


async def test_task_that_left_the_policy_runs_no_more_but_stays(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    company.write_policy(text=company.policy_text.replace("name: helloworldtask", "name: anothertask"))
    await push(company, "two")
    await work_off(company)
    assert [run["task"] for run in reversed(await company.runs())] == ["helloworldtask", "anothertask"]
    assert (await company.task())["name"] == "helloworldtask"


async def test_another_base_registry_is_one_change_of_the_policy(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await company.create_registry("newbaseregistry")
    for role in company.roles.values():
        await company.arm("DELETE", role, api_version=ROLES)
    await deploy(company.owner, company.app, registry_id("newbaseregistry"))
    company.write_policy(text=company.policy_text.replace(f"baseRegistry: {BASE}", "baseRegistry: newbaseregistry"))
    await later(company, HOUR)
    digest = await push(company, "two", registry="newbaseregistry")
    before = company.azure.journal.last
    await work_off(company)
    assert sorted(call.rpartition("/providers/")[2].split()[-1] for call in company.app_writes(before)) == [
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.ContainerRegistry/registries/tasks/write",
    ]
    assert (await built(company))[-1] == digest
    assert (await statuses(company))[-1] == "Succeeded"


# Changed by hand


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {"timeout": 900}},
        {"properties": {"status": "Disabled"}},
        {"properties": {"trigger": {"baseImageTrigger": {"name": "own", "baseImageTriggerType": "Runtime"}}}},
        {"properties": {"credentials": {"customRegistries": {f"{BASE}.azurecr.io": None}}}},
    ],
    ids=["timeout", "disabled", "native-trigger", "credential-removed"],
)
async def test_task_that_was_changed_by_hand_is_put_right_before_the_next_run(
    company: Company, change: dict[str, object]
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await later(company, 11 * MINUTE)
    await company.arm("PATCH", task_id(), change, api_version=TASKS)
    before = company.azure.journal.last
    await push(company, "two")
    await work_off(company)
    assert company.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"]
    assert await statuses(company) == ["Succeeded", "Succeeded"]

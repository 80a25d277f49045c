"""What people ask for: one run, the whole fleet, and what they are told when it cannot be."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dev.localazure.restrictions import Restriction
from dev.testing.azure import SUBSCRIPTION
from shared.domain.errors import (
    GroundswellError,
    InvalidInput,
    NotFound,
    NotPermitted,
    NotSelected,
    PermanentError,
    TemporaryError,
)
from shared.domain.state.known import Why
from tests.integration.test_requests import write_second_task
from tests.integration.walks.steps import (
    HOUR,
    MINUTE,
    Company,
    ask,
    ask_for_all,
    built,
    fleet,
    known,
    later,
    push,
    statuses,
    walk,
    work_off,
    work_once,
)
from tests.integration.world import IMAGE, OPTED_IN, ROLES, TEAM, registry_id

LOCKED = {"kind": "lock", "scope": registry_id(TEAM)}
CLOSED = {"kind": "disabled", "scope": SUBSCRIPTION}
GOVERNED = {"kind": "policy", "scope": SUBSCRIPTION, "name": "tags-for-all", "tag": "costCenter"}
UNREGISTERED = {"kind": "unregistered", "scope": SUBSCRIPTION, "namespace": "Microsoft.ManagedIdentity"}
ASSIGNMENT = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/policyAssignments/tags-for-all"


def restrict(company: Company, restriction: dict[str, Any]) -> None:
    company.azure.restrictions.all.append(Restriction.model_validate(restriction))


# One run


async def test_key_that_is_sent_again_starts_nothing_more(company: Company) -> None:
    await company.push()
    await company.create_registry(TEAM, tags=OPTED_IN)
    first = await ask(company, key="one")
    assert (await ask(company, key="one")).run_id == first.run_id
    await work_off(company)
    second = await ask(company, key="two")
    await work_off(company)
    assert second.run_id not in ("", first.run_id)
    assert (await ask(company, key="one")).run_id == first.run_id
    await work_off(company)
    assert len(await company.runs()) == 2


async def test_request_waits_for_the_run_that_is_under_way(company: Company) -> None:
    company.azure.agent.pace = HOUR
    await company.push()
    await company.create_registry(TEAM, tags=OPTED_IN)
    first = await ask(company)
    second = await ask(company, key="second")
    assert (second.run_id, second.waits_for) == ("", first.run_id)
    assert len(await company.runs()) == 1
    company.azure.agent.pace = 0
    await later(company, 6 * HOUR)
    await walk(company)
    target = await known(company)
    assert [(run.why, run.asked_by, run.request) for run in target.runs[1:]] == [(Why.ASKED, "key", "second")]
    assert await statuses(company) == ["Succeeded", "Succeeded"]


async def test_digest_that_the_tag_does_not_have_is_refused(company: Company) -> None:
    old = await company.push("one")
    await company.create_registry(TEAM, tags=OPTED_IN)
    new = await company.push("two")
    with pytest.raises(InvalidInput, match=f"{IMAGE} is {new} now") as refused:
        await ask(company, baseImage=f"{IMAGE}@{old}")
    assert refused.value.field == "baseImage"
    with pytest.raises(InvalidInput, match=f"{IMAGE} is {new} now"):
        await ask_for_all(company, baseImage=f"{IMAGE}@{old}")
    assert (await ask(company, baseImage=f"{IMAGE}@{new}")).run_id
    assert len(await company.runs()) == 1


async def test_base_image_that_was_never_pushed_is_not_found(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(NotFound, match="does not exist in mybaseregistry: push it first"):
        await ask(company, baseImage=IMAGE)
    with pytest.raises(NotFound, match="No run was started: no base image of task helloworldtask was ever pushed"):
        await ask(company)
    assert await company.runs() == []


async def test_base_image_alone_means_the_task_that_builds_on_it(company: Company) -> None:
    write_second_task(company, "baseimages/java:21")
    await company.push(image="baseimages/java:21")
    await company.create_registry(TEAM, tags=OPTED_IN)
    assert (await ask(company, baseImage="baseimages/java:21")).task == "secondtask"


async def test_base_image_that_several_tasks_build_on_wants_a_task(company: Company) -> None:
    write_second_task(company, IMAGE)
    await company.push()
    await company.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(InvalidInput, match="name one of helloworldtask, secondtask as task") as refused:
        await ask(company, baseImage=IMAGE)
    assert refused.value.field == "task"
    assert await company.runs() == []
    assert (await ask(company, baseImage=IMAGE, task="secondtask")).task == "secondtask"


async def test_base_image_that_no_task_builds_on_is_answered_with_those_that_would_do(company: Company) -> None:
    write_second_task(company, "baseimages/java:21")
    await company.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(InvalidInput, match=r"No task .* builds on other/image:1: .*node:15-alpine.*java:21"):
        await ask(company, baseImage="other/image:1")


@pytest.mark.parametrize("task", ["no-such-task", "../../registries/x", "a' or TaskName ne '", "helloworldtask/x"])
async def test_task_that_the_policy_does_not_have_is_not_found(company: Company, task: str) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(NotFound, match="The policy has no task"):
        await ask(company, task=task)


@pytest.mark.parametrize("body", [b'{"task": ""}', b'{"baseImage": ""}', b'{"task": null}'])
async def test_run_is_not_started_for_a_name_that_is_empty(company: Company, body: bytes) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(GroundswellError, match=r"task|baseImage"):
        await company.groundswell.asking.start_run(TEAM, body)
    assert await company.runs() == []


async def test_run_that_was_asked_for_leaves_a_line_that_names_it(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "groundswell")
    await company.push()
    await company.create_registry(TEAM, tags=OPTED_IN)
    run = await ask(company, key="deploy-4711")
    (line,) = [record for record in caplog.records if record.getMessage().startswith("run asked for")]
    fields = {name: vars(line)[f"groundswell.{name}"] for name in ("request_id", "registry", "task", "run_id")}
    assert fields == {"request_id": "deploy-4711", "registry": TEAM, "task": "helloworldtask", "run_id": run.run_id}


# What Azure refuses


@pytest.mark.parametrize(
    ("restriction", "advice"),
    [
        (LOCKED, "409 ScopeLocked: .*Remove the lock"),
        (CLOSED, "409 ReadOnlyDisabledSubscription: .*enabled again"),
        (GOVERNED, rf"403 RequestDisallowedByPolicy: .*Azure Policy assignment: tags-for-all \({ASSIGNMENT}\)"),
        ({**GOVERNED, "detailsOnly": True}, rf"Azure Policy assignment: tags-for-all \({ASSIGNMENT}\)"),
    ],
    ids=["lock", "disabled-subscription", "policy", "policy-in-the-details"],
)
async def test_what_only_a_person_can_change_waits_says_what_to_do_and_is_built_once_it_is_changed(
    company: Company, restriction: dict[str, Any], advice: str
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    digest = await company.push()
    restrict(company, restriction)
    with pytest.raises(PermanentError, match=advice) as refused:
        await ask(company)
    assert "app-roles" not in str(refused.value)
    assert await company.runs() == []
    company.azure.restrictions.reset()
    await later(company, HOUR + 1)
    await walk(company)
    assert await built(company) == [digest]


@pytest.mark.parametrize("role", ["tasks", "grantPull", "createIdentity", "assignIdentity"])
async def test_role_that_is_missing_is_named_and_what_waited_for_it_is_built_once_it_is_there(
    company: Company, role: str
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    digest = await company.push()
    role_id = company.roles[role]
    stored = (await company.arm("GET", role_id, api_version=ROLES)).body["properties"]
    await company.arm("DELETE", role_id, api_version=ROLES)
    with pytest.raises(NotPermitted, match=r"Give the app's identity the role named in infra/app-roles\.json"):
        await ask(company)
    kept = ("roleDefinitionId", "principalId", "principalType", "condition", "conditionVersion")
    body = {"properties": {name: stored[name] for name in kept if stored.get(name)}}
    await company.arm("PUT", role_id, body, api_version=ROLES)
    await later(company, HOUR + 1)
    await walk(company)
    assert await built(company) == [digest]


async def test_resource_provider_that_is_being_registered_is_waited_for(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await company.push()
    restrict(company, UNREGISTERED)
    with pytest.raises(PermanentError, match="az provider register"):
        await ask(company)
    company.azure.restrictions.reset()
    await later(company, MINUTE)
    await walk(company)
    assert await statuses(company) == ["Succeeded"]


async def test_throttling_reaches_whoever_asked_with_the_delay_azure_wants(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await company.push()
    company.fault(path=".*/scheduleRun", status=429, headers={"Retry-After": "17"})
    with pytest.raises(TemporaryError) as refused:
        await ask(company)
    assert refused.value.retry_after == 17
    await later(company, 2 * HOUR)
    await walk(company)
    assert await statuses(company) == ["Succeeded"]


async def test_subscription_that_azure_does_not_find_is_no_registry_that_is_gone(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    body = {"error": {"code": "SubscriptionNotFound", "message": "The subscription could not be found."}}
    company.fault(method="GET", path=f".*/registries/{TEAM}", status=404, body=body)
    with pytest.raises(PermanentError, match="GROUNDSWELL_SUBSCRIPTIONS"):
        await ask(company)


async def test_identity_that_is_not_assigned_to_the_app_is_named_as_the_cause(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    nobody = "0c7d9e52-8b1f-4a36-b2e4-5f90d1c6a783"
    monkeypatch.setenv("AZURE_CLIENT_ID", nobody)
    await company.reconnect(AZURE_CLIENT_ID=nobody)
    with pytest.raises(PermanentError, match=r"no token for the app's identity .*AZURE_CLIENT_ID"):
        await ask(company)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"base-image-rebuilds": "paused"}, "paused"),
        ({"base-image-rebuilds": "disabled"}, "opted out|opted-out"),
        ({"base-image-rebuilds": "enable"}, "says 'enable', which counts as no"),
    ],
)
async def test_team_that_does_not_want_it_is_left_alone_and_whoever_asks_is_told(
    company: Company, tags: dict[str, str], said: str
) -> None:
    await company.create_registry(TEAM, tags=tags)
    await company.push()
    before = company.azure.journal.last
    with pytest.raises(NotSelected, match=said):
        await ask(company)
    assert company.app_writes(before) == []


async def test_whoever_asks_again_does_not_wait_until_it_is_tried_again(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await company.push()
    restrict(company, LOCKED)
    for _ in range(2):
        with pytest.raises(PermanentError, match="Remove the lock"):
            await ask(company)
    company.azure.restrictions.reset()
    assert (await ask(company)).run_id


# The fleet


async def test_whole_fleet_on_request_is_one_message_that_leads_to_one_run_each(company: Company) -> None:
    names = await fleet(company, 4)
    await company.create_registry("otherteam")
    await push(company, "one")
    await work_off(company)
    before = company.azure.journal.last
    assert await ask_for_all(company) == 4
    await work_off(company)
    assert [len(await company.runs(name)) for name in (*names, "otherteam")] == [2, 2, 2, 2, 0]
    assert company.app_writes(before) == []
    run = (await known(company, names[0])).run
    assert run
    assert (run.why, run.asked_by) == (Why.ASKED, "key")
    assert run.request.startswith("fleet-")


async def test_request_for_a_base_image_reaches_those_that_build_on_it_alone(company: Company) -> None:
    write_second_task(company, "baseimages/java:21")
    await company.push()
    await company.push(image="baseimages/java:21")
    await company.create_registry(TEAM, tags=OPTED_IN)
    await walk(company)
    assert len(await company.runs()) == 2
    assert await ask_for_all(company, baseImage="baseimages/java:21") == 1
    await work_off(company)
    assert [run.why for run in (await known(company)).runs] == [Why.FIRST]
    assert [run.why for run in (await known(company, task="secondtask")).runs] == [Why.FIRST, Why.ASKED]


async def test_request_that_is_delivered_twice_asks_nobody_twice(company: Company) -> None:
    names = await fleet(company, 3)
    await company.push()
    await walk(company)
    message, _ = await company.groundswell.asking.start_fleet(b'{"all": true}')
    for _ in range(2):
        await company.groundswell.calls.called(message.encode(), "one")
        await work_off(company)
    assert [len(await company.runs(name)) for name in names] == [2, 2, 2]


async def test_whole_fleet_is_rebuilt_without_those_that_are_paused(company: Company) -> None:
    await fleet(company, 1)
    await company.create_registry("paused", tags={"base-image-rebuilds": "paused"})
    await company.push()
    assert await ask_for_all(company) == 1
    await work_off(company)
    assert await company.runs("paused") == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"everything": true}', b'{"all": true, "registries": ["a"]}', b'{"all": false}', b'{"all": 1}',
        b'{"all": "true"}', b'{"all": null}', b'{"baseImage": ""}', b'{"baseImage": null}', b"[]", b"null", b"true",
        b'{"all": true, "baseImage": "baseimages/node:15-alpine"}', b'{"ALL": true}', b" ",
    ],
)  # fmt: skip
async def test_whole_fleet_is_rebuilt_only_if_the_body_says_so(company: Company, body: bytes) -> None:
    with pytest.raises(GroundswellError):
        await company.groundswell.asking.start_fleet(body)


async def test_nothing_is_queued_and_the_caller_is_told_when_no_subscription_can_be_read(company: Company) -> None:
    company.fault(method="GET", path=".*/registries", status=503, times=-1)
    with pytest.raises(TemporaryError, match="No subscription could be read"):
        await ask_for_all(company)
    assert await work_once(company) == 0

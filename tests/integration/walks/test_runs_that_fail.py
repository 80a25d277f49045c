"""Runs that fail: which are repeated and for how long, which are left alone, and what is said of them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from dev.localazure.roles import ACR_PULL
from shared.domain.grants import Grant
from shared.domain.state.known import Failure, Why
from shared.domain.state.steps import State
from tests.integration.walks.steps import (
    HOUR,
    MINUTE,
    Company,
    ask,
    known,
    later,
    push,
    stands,
    statuses,
    walk,
    work_off,
)
from tests.integration.world import (
    BASE,
    OPTED_IN,
    ROLES,
    SYSTEM_ASSIGNED,
    TASKS,
    TEAM,
    USER_ASSIGNED,
    registry_id,
)  # fmt: skip

IDENTITIES = pytest.mark.parametrize("identity", [USER_ASSIGNED, SYSTEM_ASSIGNED], ids=["user", "system"])
NOWHERE = {**OPTED_IN, "base-image-rebuilds.contextUrl": "https://github.com/contoso/nowhere.git"}
DISABLED = {"publicNetworkAccess": "Disabled"}
PASS = {"networkRuleBypassAllowedForTasks": True}


async def fence(company: Company, name: str, **properties: Any) -> None:
    """Put a registry behind a firewall."""
    await company.arm("PATCH", registry_id(name), {"sku": {"name": "Premium"}, "properties": properties})


def age_grants(company: Company, age: timedelta) -> None:
    """Let all grants look older than they are."""
    for assignment in company.azure.state.of_type("Microsoft.Authorization/roleAssignments"):
        made = datetime.fromisoformat(assignment.properties["createdOn"])
        assignment.properties["createdOn"] = (made - age).isoformat()


# Logins that are refused


@IDENTITIES
async def test_run_that_was_too_early_for_its_grant_is_repeated_until_it_works(company: Company, identity: str) -> None:
    company.write_policy(identity)
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.azure.rbac.delay = timedelta(minutes=5)
    await push(company, "one")
    await work_off(company)
    assert set(await statuses(company)) == {"Failed"}
    assert (await known(company)).runs[-1].failure is Failure.PASSING
    await later(company, 5 * MINUTE)
    await walk(company)
    target = await known(company)
    assert (await statuses(company))[-1] == "Succeeded"
    assert target.run
    assert (target.run.why, target.failures) == (Why.FAILED, 0)


async def test_login_that_is_refused_for_longer_than_a_grant_takes_is_not_tried_for_ever(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.azure.rbac.delay = timedelta(days=1000)
    await push(company, "one")
    await work_off(company)
    for _ in range(12):
        await later(company, 5 * MINUTE)
        await walk(company)
    runs = len(await company.runs())
    assert 1 < runs < 12
    assert (await stands(company)).state is State.FAILING
    await later(company, 5 * HOUR)
    await walk(company)
    assert len(await company.runs()) == runs


async def test_repeat_builds_what_was_pushed_meanwhile_and_nothing_is_built_twice(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.azure.rbac.delay = timedelta(minutes=5)
    await push(company, "one")
    await work_off(company)
    await later(company, 5 * MINUTE)
    digest = await push(company, "two")
    await work_off(company)
    await walk(company)
    target = await known(company)
    assert target.run
    assert (target.run.content, target.run.succeeded) == (digest, True)
    assert (await statuses(company)).count("Succeeded") == 1


@IDENTITIES
async def test_grant_of_long_ago_that_is_refused_is_not_waited_for(company: Company, identity: str) -> None:
    company.write_policy(identity)
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.azure.rbac.delay = timedelta(days=1000)
    await company.groundswell.onboarding.ensure(await company.target())
    age_grants(company, timedelta(days=730))
    await push(company, "one")
    await work_off(company)
    target = await known(company)
    assert await statuses(company) == ["Failed"]
    assert target.run
    assert target.run.failure is Failure.FINAL
    assert "so this is no late grant" in target.run.reason
    assert "`az acr config authentication-as-arm show" in target.run.reason


async def test_firewall_of_the_base_registry_is_not_run_against_until_a_person_says_so(company: Company) -> None:
    company.write_policy(SYSTEM_ASSIGNED)
    await company.create_registry(TEAM, tags=OPTED_IN)
    await fence(company, BASE, **DISABLED)
    await push(company, "one")
    await work_off(company)
    await later(company, HOUR)
    await walk(company)
    target = await known(company)
    assert await statuses(company) == ["Failed"]
    assert target.run
    assert target.run.failure is Failure.FINAL
    assert "--set properties.networkRuleBypassAllowedForTasks=true" in target.run.reason
    await fence(company, BASE, **PASS)
    await ask(company)
    await work_off(company)
    assert await statuses(company) == ["Failed", "Succeeded"]


async def test_shared_identity_that_no_firewall_lets_pass_is_not_run_against_it_again(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await fence(company, BASE, **DISABLED, **PASS)
    await push(company, "one")
    await work_off(company)
    run = (await known(company)).run
    assert run
    assert "Set `identity: {type: SystemAssigned}` in the policy" in run.reason
    assert await statuses(company) == ["Failed"]


async def test_firewalled_registry_that_tasks_may_not_pass_says_what_to_do(company: Company) -> None:
    company.write_policy(SYSTEM_ASSIGNED)
    properties = {**DISABLED, **PASS, "networkRuleBypassOptions": "None"}
    await company.create_registry(TEAM, tags=OPTED_IN, sku={"name": "Premium"}, properties=properties)
    await push(company, "one")
    await work_off(company)
    run = (await known(company)).run
    assert run
    assert f"az resource update --ids {registry_id(TEAM)} " in run.reason
    assert "networkRuleBypassOptions=AzureServices" in run.reason
    assert await statuses(company) == ["Failed"]


async def test_registry_that_gets_a_firewall_gets_its_credential_before_the_next_run(company: Company) -> None:
    company.write_policy(SYSTEM_ASSIGNED)
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await later(company, 11 * MINUTE)
    await fence(company, TEAM, **DISABLED, **PASS)
    await push(company, "two")
    await work_off(company)
    assert await statuses(company) == ["Succeeded", "Succeeded"]


async def test_grant_that_somebody_took_away_is_given_again_however_old_it_was(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await company.groundswell.onboarding.ensure(await company.target())
    age_grants(company, timedelta(days=730))
    # What lists say is as old as they are.
    await company.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    (identity,) = (await company.task())["identity"]["userAssignedIdentities"].values()
    who, grant = identity["principalId"], Grant(registry_id(BASE), ACR_PULL)
    await company.groundswell.fleet.assignments(grant.scope)
    path = f"{grant.scope}/providers/Microsoft.Authorization/roleAssignments/{grant.assignment_name(who)}"
    await company.arm("DELETE", path, api_version=ROLES)
    await push(company, "one")
    await work_off(company)
    assert (await statuses(company))[-1] == "Succeeded"
    assert await company.assignments(grant.scope, who)


# Other failures


async def test_run_that_fails_for_another_reason_is_recorded_with_its_log_line_and_repeated_twice(
    company: Company,
) -> None:
    await company.create_registry(TEAM, tags=NOWHERE)
    await push(company, "one")
    await work_off(company)
    run = (await known(company)).run
    assert run
    assert (run.failure, bool(run.reason)) == (Failure.UNKNOWN, True)
    assert await statuses(company) == ["Failed"]
    for wait in (11 * MINUTE, 61 * MINUTE, 24 * HOUR):
        await later(company, wait)
        await walk(company)
    assert await statuses(company) == ["Failed"] * 3
    assert (await stands(company)).state is State.FAILING


@pytest.mark.parametrize("size", [1, 9])
async def test_reason_of_a_failure_is_at_the_end_of_a_long_log(company: Company, size: int) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    (run_id,) = [run["runId"] for run in await company.runs()]
    company.azure.agent.pace = 0
    await later(company, 24 * HOUR)
    run = company.azure.state.get(f"{registry_id(TEAM)}/runs/{run_id}")
    assert run
    run.properties["status"] = "Failed"
    (path,) = [path for path in company.azure.state.blobs if f"/{run_id}/" in path]
    middle = "WARN npm: optional dependency failed, going on\n" * (size * 1024 * 1024 // 47)
    end = "harmless output\n" * 400 + "the cause: disk not found\nRun ID: cf1 failed after 5s. Error: failed\n"
    company.azure.state.blobs[path].body[:] = (middle + end).encode()
    await walk(company)
    ended = (await known(company)).runs[0]
    assert ended.reason == "the cause: disk not found"


async def test_run_that_somebody_cancels_is_not_repeated(company: Company) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    (run,) = await company.runs()
    await company.arm("POST", f"{registry_id(TEAM)}/runs/{run['runId']}/cancel", api_version=TASKS)
    company.azure.agent.pace = 0
    for _ in range(3):
        await later(company, HOUR)
        await walk(company)
    assert await statuses(company) == ["Canceled"]
    canceled = (await known(company)).run
    assert canceled
    assert canceled.failure is Failure.CANCELED
    await push(company, "two")
    await work_off(company)
    assert await statuses(company) == ["Canceled", "Succeeded"]


async def test_run_that_cannot_be_found_any_more_is_recorded_as_lost(company: Company) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    body = {"error": {"code": "RunNotFound", "message": "The run could not be found."}}
    company.fault(method="GET", path=".*/runs/[^/]+", status=404, body=body, times=-1)
    await later(company, HOUR)
    await walk(company)
    lost = (await known(company)).runs[0]
    assert (lost.failure, lost.reason) == (Failure.UNKNOWN, "the run cannot be found any more")


@pytest.mark.parametrize("code", ["", "SubscriptionNotFound"])
async def test_run_is_not_taken_for_lost_when_something_else_is_not_found(company: Company, code: str) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    body = {"error": {"code": code, "message": "Not here."}} if code else {}
    company.fault(method="GET", path=".*/runs/[^/]+", status=404, body=body)
    await later(company, HOUR)
    await walk(company)
    run = (await known(company)).run
    assert run
    assert run.ended is None


async def test_run_that_goes_on_is_looked_at_again(company: Company) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    assert (await stands(company)).state is State.BUILDING
    company.azure.agent.pace = 0
    await later(company, 6 * HOUR)
    await walk(company)
    assert (await stands(company)).state is State.CURRENT


async def test_run_that_went_with_its_registry_is_no_failure(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await company.arm("DELETE", registry_id(TEAM))
    await later(company, HOUR)
    await walk(company)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []

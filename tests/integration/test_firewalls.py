"""Registries behind firewalls, which the local Azure enforces: what the app writes, shows, repeats and gives up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.localazure.roles import ACR_PULL, ACR_PUSH, REPOSITORY_WRITER
from dev.testing.functions_host import eventually
from shared.adapters.messages import REBUILD_REQUESTS, RUN_CHECKS, Cause, Image, RebuildRequest
from shared.domain.grants import Grant
from tests.integration.world import (
    BASE,
    IMAGE,
    OPTED_IN,
    SYSTEM_ASSIGNED,
    TASKS,
    TEAM,
    USER_ASSIGNED,
    World,
    registry_id,
    task_id,
)

DISABLED = {"publicNetworkAccess": "Disabled"}
SELECTED = {"networkRuleSet": {"defaultAction": "Deny"}}
PASS = {"networkRuleBypassAllowedForTasks": True}
ABAC = {"roleAssignmentMode": "AbacRepositoryPermissions"}
HOME, FAR = f"{TEAM}.azurecr.io", f"{BASE}.azurecr.io"
FORBIDDEN = "exchange API response code: 403 Forbidden"


async def fence(world: World, name: str, **properties: Any) -> None:
    """Put a registry behind a firewall."""
    body = {"sku": {"name": "Premium"}, "properties": properties}
    await world.arm("PATCH", registry_id(name), body)


async def rebuild(world: World, digest: str = "", **changes: Any) -> None:
    """Handle a request as a push of the base image leads to it."""
    repository, _, tag = IMAGE.partition(":")
    request = RebuildRequest.model_validate(
        {"id": "event-1:myregistry:helloworldtask", "registry": registry_id(TEAM), "task": "helloworldtask",
         "cause": Cause.BASE_IMAGE_PUSHED, "image": Image(repository=repository, tag=tag, digest=digest),
         "eventId": "event-1", "requestedAt": datetime.now(UTC), **changes}
    )  # fmt: skip
    await world.groundswell.work.rebuild_requested(request.encode().encode())


async def check(world: World) -> dict[str, Any]:
    """Handle the one run check that is due; return the ledger's row of its run."""
    (message,) = await eventually(lambda: world.take(RUN_CHECKS))
    await world.run(message["runId"])
    await world.groundswell.work.run_check(world.encode(message))
    (row,) = await world.ledger(f"run|{message['runId']}")
    return row


async def shown(world: World) -> tuple[bool, dict[str, str]]:
    """Return whether the API calls the task ready, and its condition `network`."""
    (task,) = (await world.groundswell.views.registry(TEAM))["tasks"]
    return task["ready"], next(c for c in task["conditions"] if c["type"] == "network")


async def age_grants(world: World, age: timedelta) -> None:
    """Let all grants look older than they are."""
    for assignment in world.azure.state.of_type("Microsoft.Authorization/roleAssignments"):
        made = datetime.fromisoformat(assignment.properties["createdOn"])
        assignment.properties["createdOn"] = (made - age).isoformat()


@pytest.mark.parametrize("wall", [DISABLED, SELECTED], ids=["disabled", "selected"])
async def test_base_registrys_firewall_is_shown_with_the_command_that_opens_it_and_is_not_run_against(
    world: World, wall: dict[str, Any]
) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await fence(world, BASE, **wall)

    await rebuild(world, digest)
    row = await check(world)
    command = (
        f"az resource update --ids {registry_id(BASE)} --api-version 2025-11-01 "
        "--set properties.networkRuleBypassAllowedForTasks=true"
    )
    assert row["status"] == "Failed"
    assert FORBIDDEN in row["reason"]
    assert command in row["reason"]
    assert await world.waiting(REBUILD_REQUESTS) == 0
    ready, network = await shown(world)
    assert (ready, network["status"], network["reason"]) == (False, "False", "Firewall")
    assert command in network["message"]
    assert "look-ups in mybaseregistry fail" in network["message"]

    await fence(world, BASE, **PASS)
    await rebuild(world, cause=Cause.MANUAL, id="again", eventId="")
    assert (await check(world))["status"] == "Succeeded"
    ready, network = await shown(world)
    assert (ready, network["status"]) == (True, "True")


async def test_shared_identity_that_no_firewall_lets_pass_is_not_run_against_it_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await fence(world, BASE, **DISABLED, **PASS)
    await rebuild(world, await world.push())
    row = await check(world)
    assert "Set `identity: {type: SystemAssigned}` in the policy" in row["reason"]
    assert await world.waiting(REBUILD_REQUESTS) == 0
    assert (await shown(world))[1]["status"] == "False"


async def test_ip_rules_that_admit_the_agents_are_unknown_and_do_not_make_the_registry_unready(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    rules = {"defaultAction": "Deny", "ipRules": [{"action": "Allow", "value": world.azure.agent.address}]}
    await fence(world, BASE, networkRuleSet=rules)
    await rebuild(world, await world.push())
    assert (await check(world))["status"] == "Succeeded"
    ready, network = await shown(world)
    assert (ready, network["status"], network["reason"]) == (True, "Unknown", "NotChecked")
    assert f"az acr network-rule list --name {BASE}" in network["message"]


@pytest.mark.parametrize("wall", [DISABLED, SELECTED], ids=["disabled", "selected"])
@pytest.mark.parametrize("abac", [False, True], ids=["legacy", "abac"])
async def test_task_of_a_firewalled_registry_pushes_there_with_its_own_identity(
    world: World, abac: bool, wall: dict[str, Any]
) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    mode, role = (ABAC, REPOSITORY_WRITER) if abac else ({}, ACR_PUSH)
    await world.create_registry(TEAM, tags=OPTED_IN, sku={"name": "Premium"}, properties={**wall, **PASS, **mode})
    await rebuild(world, await world.push())
    assert (await check(world))["status"] == "Succeeded"

    task = await world.task(details=True)
    system = {"identity": "[system]"}
    assert task["properties"]["credentials"]["customRegistries"] == {FAR: system, HOME: system}
    held = await world.assignments(registry_id(TEAM), task["identity"]["principalId"])
    assert [item["roleDefinitionId"].rpartition("/")[2] for item in held] == [role]
    assert (await world.groundswell.onboarding.ensure(await world.target())).writes == ()
    ready, network = await shown(world)
    assert (ready, network["status"]) == (True, "True")


async def test_registry_that_gets_a_firewall_gets_its_credential_before_the_next_run(world: World) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await rebuild(world, await world.push())
    assert (await check(world))["status"] == "Succeeded"
    await fence(world, TEAM, **DISABLED, **PASS)
    await world.reconnect()

    (task,) = (await world.groundswell.views.registry(TEAM))["tasks"]
    credential = next(c for c in task["conditions"] if c["type"] == "credential")
    assert (credential["status"], credential["message"]) == (
        "False",
        f"The task cannot log in: no credential for {HOME}.",
    )
    await rebuild(world, await world.push("two"), id="two", eventId="two")
    assert (await check(world))["status"] == "Succeeded"


async def test_credential_of_the_own_registry_that_somebody_removed_comes_back(world: World) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN, sku={"name": "Premium"}, properties={**DISABLED, **PASS})
    await world.groundswell.onboarding.ensure(await world.target())
    change = {"properties": {"credentials": {"customRegistries": {HOME: None}}}}
    await world.arm("PATCH", task_id(), change, api_version=TASKS)
    assert (await world.groundswell.onboarding.ensure(await world.target())).writes == ("write task helloworldtask",)


async def test_firewall_that_came_after_the_last_look_is_met_once_and_then_passed(world: World) -> None:
    """What the lists do not know yet is found out by the run: a repeat puts it right, as for a grant."""
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await rebuild(world, await world.push())
    await check(world)
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    await world.groundswell.fleet.registries()
    await fence(world, TEAM, **DISABLED, **PASS)

    await rebuild(world, await world.push("two"), id="two", eventId="two")
    row = await check(world)
    assert "client with IP" in row["reason"]
    (again,) = await world.take(REBUILD_REQUESTS)
    await world.reconnect()
    await world.groundswell.work.rebuild_requested(world.encode(again))
    assert (await check(world))["status"] == "Succeeded"


async def test_firewalled_registry_that_tasks_may_not_pass_says_what_to_do(world: World) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    properties = {**DISABLED, **PASS, "networkRuleBypassOptions": "None"}
    await world.create_registry(TEAM, tags=OPTED_IN, sku={"name": "Premium"}, properties=properties)
    await rebuild(world, await world.push())
    row = await check(world)
    assert FORBIDDEN in row["reason"]
    assert f"az resource update --ids {registry_id(TEAM)} " in row["reason"]
    assert "networkRuleBypassOptions=AzureServices" in row["reason"]
    assert await world.waiting(REBUILD_REQUESTS) == 0


@pytest.mark.parametrize("identity", [USER_ASSIGNED, SYSTEM_ASSIGNED], ids=["user", "system"])
async def test_grant_of_long_ago_that_is_refused_is_not_waited_for(world: World, identity: str) -> None:
    world.write_policy(identity)
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.rbac.delay = timedelta(days=1000)
    await world.groundswell.onboarding.ensure(await world.target())
    await age_grants(world, timedelta(days=730))
    await rebuild(world, await world.push())
    row = await check(world)
    assert row["status"] == "Failed"
    assert "so this is no late grant" in row["reason"]
    assert "`az acr config authentication-as-arm show" in row["reason"]
    assert await world.waiting(REBUILD_REQUESTS) == 0


async def test_grant_that_somebody_took_away_is_given_again_however_old_it_was(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.groundswell.onboarding.ensure(await world.target())
    await age_grants(world, timedelta(days=730))
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    (identity,) = (await world.task())["identity"]["userAssignedIdentities"].values()
    who, grant = identity["principalId"], Grant(registry_id(BASE), ACR_PULL)
    await world.groundswell.fleet.assignments(grant.scope)
    path = f"{grant.scope}/providers/Microsoft.Authorization/roleAssignments/{grant.assignment_name(who)}"
    await world.arm("DELETE", path, api_version="2022-04-01")

    await rebuild(world, await world.push())
    assert "401" in (await check(world))["reason"]
    (again,) = await world.take(REBUILD_REQUESTS)
    await world.groundswell.work.rebuild_requested(world.encode(again))
    assert (await check(world))["status"] == "Succeeded"


async def test_firewall_of_the_base_registry_does_not_stop_a_first_run_and_the_log_says_what_to_do(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    await fence(world, BASE, **DISABLED, **PASS)
    await rebuild(world, image=None, cause=Cause.REGISTRY_CHANGED)
    assert (await check(world))["status"] == "Succeeded"
    assert "base image not looked up" in caplog.text
    assert "Let the app's address through the registry's firewall" in caplog.text
    assert "infra/app-roles.json" not in caplog.text

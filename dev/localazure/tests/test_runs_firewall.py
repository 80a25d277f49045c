"""Runs before registries' firewalls, in Azure Container Registry's own words."""

from __future__ import annotations

from typing import Any

import pytest

from dev.localazure.azure import Azure
from dev.localazure.tests.task_runs import (
    ACR_PULL,
    ACR_PUSH,
    BASE,
    GROUP,
    REPOSITORY_WRITER,
    TEAM,
    Ended,
    Scenario,
    registry_id,
)
from dev.testing.azure import Client

FORBIDDEN = (
    "failed to unmarshal task before running: failed to resolve secrets: failed to get ACR refresh token, "
    "exchange API response code: 403 Forbidden"
)
DISABLED = {"publicNetworkAccess": "Disabled"}
SELECTED = {"networkRuleSet": {"defaultAction": "Deny"}}
PASS = {"networkRuleBypassOptions": "AzureServices", "networkRuleBypassAllowedForTasks": True}
OWN = {"customRegistries": {BASE: {"identity": "[system]"}, TEAM: {"identity": "[system]"}}}


def denied(host: str, address: str = "203.0.113.9") -> str:
    return (
        "failed to login, ran out of retries: failed to set docker credentials: Error response from daemon: "
        f"Get \"https://{host}/v2/\": denied: client with IP '{address}' is not allowed access. "
        "Refer https://aka.ms/acr/firewall to grant access."
    )


async def fence(scenario: Scenario, name: str, **properties: Any) -> None:
    reply = await scenario.owner.arm("PATCH", registry_id(name), {"properties": properties}, api_version="2025-11-01")
    assert reply.status == 200, reply.text


@pytest.mark.parametrize("wall", [DISABLED, SELECTED], ids=["disabled", "selected"])
@pytest.mark.parametrize(
    "missing",
    [
        {"networkRuleBypassAllowedForTasks": True, "networkRuleBypassOptions": "None"},
        {"networkRuleBypassAllowedForTasks": False},
        {},
    ],
    ids=["no-trusted-services", "no-tasks", "neither"],
)
async def test_firewall_answers_403_to_a_system_assigned_identity_unless_it_lets_tasks_pass(
    scenario: Scenario, wall: dict[str, Any], missing: dict[str, Any]
) -> None:
    await scenario.create_granted_task()
    await fence(scenario, "mybaseregistry", **wall, **missing)
    ended = await scenario.run()
    assert (ended.status, FORBIDDEN in ended.lines) == ("Failed", True)

    await fence(scenario, "mybaseregistry", **PASS)
    assert (await scenario.run()).status == "Succeeded"


async def user_assigned_run(scenario: Scenario) -> Ended:
    path = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/myid"
    made = await scenario.owner.arm("PUT", path, {"location": "eastus"}, api_version="2024-11-30")
    user = made.body["properties"]
    scenario.azure.grant(user["principalId"], ACR_PULL, registry_id("mybaseregistry"))
    await scenario.create_task(
        identity={"type": "UserAssigned", "userAssignedIdentities": {path: {}}},
        credentials={"customRegistries": {BASE: {"identity": user["clientId"]}}},
    )
    return await scenario.run()


async def test_user_assigned_identity_never_passes_a_firewall(scenario: Scenario) -> None:
    await fence(scenario, "mybaseregistry", **DISABLED, **PASS)
    assert FORBIDDEN in (await user_assigned_run(scenario)).lines


@pytest.mark.parametrize(("address", "status"), [("203.0.113.0/24", "Succeeded"), ("192.0.2.1", "Failed")])
async def test_ip_rules_that_hold_the_agents_addresses_admit_any_identity(
    scenario: Scenario, address: str, status: str
) -> None:
    rules = {"defaultAction": "Deny", "ipRules": [{"action": "Allow", "value": address}]}
    await fence(scenario, "mybaseregistry", networkRuleSet=rules)
    assert (await user_assigned_run(scenario)).status == status


async def test_disabled_public_access_overrides_ip_rules(scenario: Scenario) -> None:
    rules = {"defaultAction": "Deny", "ipRules": [{"action": "Allow", "value": "203.0.113.9"}]}
    await fence(scenario, "mybaseregistry", **DISABLED, networkRuleSet=rules)
    assert FORBIDDEN in (await user_assigned_run(scenario)).lines


async def test_run_needs_a_credential_for_its_own_firewalled_registry(scenario: Scenario) -> None:
    await fence(scenario, "myregistry", **DISABLED, **PASS)
    principal = await scenario.create_granted_task()
    ended = await scenario.run()
    assert (ended.status, denied(TEAM) in ended.lines) == ("Failed", True)

    await scenario.create_task(credentials=OWN)
    assert any("exchange API response code: 401" in line for line in (await scenario.run()).lines)
    scenario.azure.grant(principal, ACR_PUSH, registry_id("myregistry"))
    ended = await scenario.run()
    assert (ended.status, ended.lines.count(f"Logging in to registry: {TEAM}")) == ("Succeeded", 1)


async def test_firewalled_abac_registry_takes_the_identity_that_may_write(azure: Azure, owner: Client) -> None:
    scenario = Scenario(azure, owner)
    await scenario.set_up(team_mode="AbacRepositoryPermissions")
    await fence(scenario, "myregistry", **DISABLED, **PASS)
    principal = await scenario.create_granted_task(credentials={**OWN, "sourceRegistry": {"identity": "[system]"}})
    azure.grant(principal, REPOSITORY_WRITER, registry_id("myregistry"))
    assert (await scenario.run()).status == "Succeeded"


async def test_firewall_denies_what_logs_in_with_a_password(scenario: Scenario) -> None:
    secret = {"userName": {"type": "Opaque", "value": "me"}, "password": {"type": "Opaque", "value": "x"}}
    await scenario.create_task(credentials={"customRegistries": {BASE: secret}})
    await fence(scenario, "mybaseregistry", **DISABLED, **PASS)
    assert denied(BASE) in (await scenario.run()).lines


async def test_firewall_denies_an_anonymous_pull(scenario: Scenario) -> None:
    await fence(scenario, "mybaseregistry", anonymousPullEnabled=True, **DISABLED)
    await scenario.create_task(credentials={})
    ended = await scenario.run()
    assert any("denied: client with IP '203.0.113.9' is not allowed access" in line for line in ended.lines)

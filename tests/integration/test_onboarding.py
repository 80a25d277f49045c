"""Onboarding against the local Azure, with the real SDKs and the app's own roles."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dev.testing.azure import SUBSCRIPTION
from shared.domain.errors import NotPermitted, PermanentError, TemporaryError
from tests.integration.world import (
    AUTHORIZATION,
    BASE,
    GROUP,
    OPTED_IN,
    ROLES,
    ROOT,
    SYSTEM_ASSIGNED,
    TASKS,
    TEAM,
    USER_ASSIGNED,
    World,
    deploy,
    registry_id,
    task_id,
)  # fmt: skip

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
REPOSITORY_WRITER = "2a1e307c-b015-4ebd-883e-5b7698a07328"
ABAC = {"roleAssignmentMode": "AbacRepositoryPermissions"}
LOGIN_SERVER = f"{BASE}.azurecr.io"
ALL_READY = dict.fromkeys(("identity", "task", "grant", "credential", "network", "values"), True)


async def ready(world: World, team: str = TEAM) -> dict[str, bool | None]:
    state = await world.groundswell.onboarding.observe(await world.target(team))
    return {condition.kind.value: condition.ready for condition in state.conditions}


def roles(assignments: list[dict[str, Any]]) -> set[str]:
    return {assignment["roleDefinitionId"].rpartition("/")[2] for assignment in assignments}


async def test_user_assigned_onboarding_creates_identity_grant_and_task_with_its_credential(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    applied = await world.groundswell.onboarding.ensure(await world.target())
    assert applied.writes == (
        "create identity myACRTasksId",
        "grant AcrPull on mybaseregistry",
        "write task helloworldtask",
    )
    task = await world.task(details=True)
    (identity,) = task["identity"]["userAssignedIdentities"].values()
    assert task["properties"]["credentials"]["customRegistries"] == {LOGIN_SERVER: {"identity": identity["clientId"]}}
    assert roles(await world.assignments(registry_id(BASE), identity["principalId"])) == {ACR_PULL}


async def test_system_assigned_onboarding_writes_the_task_and_then_grants_its_principal(world: World) -> None:
    world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    applied = await world.groundswell.onboarding.ensure(await world.target())
    assert applied.writes == ("write task helloworldtask", "grant AcrPull on mybaseregistry")
    task = await world.task(details=True)
    assert task["properties"]["credentials"]["customRegistries"] == {LOGIN_SERVER: {"identity": "[system]"}}
    assert roles(await world.assignments(registry_id(BASE), task["identity"]["principalId"])) == {ACR_PULL}


async def test_fleet_shares_one_identity_and_one_grant(world: World) -> None:
    for name in ("teamone", "teamtwo"):
        await world.create_registry(name, tags=OPTED_IN)
        applied = await world.groundswell.onboarding.ensure(await world.target(name))
    assert applied.writes == ("write task helloworldtask",)


@pytest.mark.parametrize("identity", ["user", "system"])
async def test_onboarding_twice_writes_nothing_the_second_time(world: World, identity: str) -> None:
    if identity == "system":
        world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.groundswell.onboarding.ensure(await world.target())
    before = world.azure.journal.last
    applied = await world.groundswell.onboarding.ensure(await world.target())
    assert applied.writes == ()
    # Not even listDetails, which Resource Manager counts as a write.
    assert [call for call in world.app_calls(before) if not call.startswith("GET")] == []
    assert await ready(world) == ALL_READY


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {"timeout": 900}},
        {"properties": {"status": "Disabled"}},
        {"properties": {"step": {"type": "EncodedTask", "encodedTaskContent": "dmVyc2lvbjogdjEuMS4wCg=="}}},
        {"properties": {"trigger": {"baseImageTrigger": {"name": "own", "baseImageTriggerType": "Runtime"}}}},
        {"properties": {"credentials": {"customRegistries": {LOGIN_SERVER: None}}}},
        {"properties": {"credentials": {"customRegistries": {LOGIN_SERVER: {"identity": "[system]"}}}}},
    ],
    ids=["timeout", "disabled", "content", "native-trigger", "credential-removed", "credential-of-somebody-else"],
)
async def test_task_that_was_changed_by_hand_is_put_right_with_one_write(world: World, change: dict[str, Any]) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.groundswell.onboarding.ensure(await world.target())
    right = await world.task(details=True)
    await world.arm("PATCH", task_id(), change, api_version=TASKS)
    before = world.azure.journal.last
    await world.groundswell.onboarding.ensure(await world.target())
    assert world.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"]
    repaired = await world.task(details=True)
    for shown in (right, repaired):
        shown.pop("systemData")
        shown["properties"].pop("creationDate", None)
    assert repaired == right


async def test_registry_wired_by_somebody_else_needs_no_write(world: World) -> None:
    """The nine commands of the `az` walk-through, as the calls they make, with an assignment name of their own."""
    await world.create_registry(TEAM, tags=OPTED_IN)
    path = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/myACRTasksId"
    made = (await world.arm("PUT", path, {"location": "eastus"}, api_version="2024-11-30")).body
    content = (ROOT / "policy" / "tasks" / "helloworldtask.yaml").read_bytes()
    values = {
        "contextUrl": "https://github.com/Azure-Samples/acr-build-helloworld-node.git#main", "image": "hello-world",
        "registryName": LOGIN_SERVER, "baseRepository": "baseimages/node", "baseTag": "15-alpine", "baseDigest": "",
    }  # fmt: skip
    step = {
        "type": "EncodedTask",
        "encodedTaskContent": base64.b64encode(content).decode(),
        "values": [{"name": name, "value": value, "isSecret": False} for name, value in values.items()],
    }
    body = {
        "location": "eastus",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {made["id"]: {}}},
        "properties": {
            "status": "Enabled", "timeout": 3600, "agentConfiguration": {"cpu": 2}, "step": step,
            "platform": {"os": "linux", "architecture": "amd64"},
        },
    }  # fmt: skip
    await world.arm("PUT", task_id(), body, api_version=TASKS)
    name = "0f0f0f0f-1111-4222-8333-444444444444"
    grant = {
        "roleDefinitionId": f"{SUBSCRIPTION}{AUTHORIZATION}/roleDefinitions/{ACR_PULL}",
        "principalId": made["properties"]["principalId"],
        "principalType": "ServicePrincipal",
    }
    scope = f"{registry_id(BASE)}{AUTHORIZATION}/roleAssignments/{name}"
    await world.arm("PUT", scope, {"properties": grant}, api_version=ROLES)
    credential = {"customRegistries": {LOGIN_SERVER: {"identity": made["properties"]["clientId"]}}}
    await world.arm("PATCH", task_id(), {"properties": {"credentials": credential}}, api_version=TASKS)
    before = world.azure.journal.last
    assert (await world.groundswell.onboarding.ensure(await world.target())).writes == ()
    assert world.app_writes(before) == []


async def test_base_registry_in_abac_mode_gets_repository_reader_in_place_of_acrpull(world: World) -> None:
    await world.arm("PATCH", registry_id(BASE), {"properties": ABAC}, api_version="2026-09-01-preview")
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.groundswell.onboarding.ensure(await world.target())
    (identity,) = (await world.task())["identity"]["userAssignedIdentities"].values()
    assert roles(await world.assignments(registry_id(BASE), identity["principalId"])) == {REPOSITORY_READER}


@pytest.mark.parametrize("identity", ["user", "system"])
async def test_team_registry_in_abac_mode_lets_its_task_log_in_and_write(world: World, identity: str) -> None:
    if identity == "system":
        world.write_policy(SYSTEM_ASSIGNED)
    await world.create_registry(TEAM, tags=OPTED_IN, properties=ABAC)
    await world.groundswell.onboarding.ensure(await world.target())
    task = await world.task()
    if identity == "system":
        principal, reference = task["identity"]["principalId"], "[system]"
    else:
        (shown,) = task["identity"]["userAssignedIdentities"].values()
        principal, reference = shown["principalId"], shown["clientId"]
    assert task["properties"]["credentials"]["sourceRegistry"] == {"identity": reference}
    assert roles(await world.assignments(registry_id(TEAM), principal)) == {REPOSITORY_WRITER}
    assert (await world.groundswell.onboarding.ensure(await world.target())).writes == ()


@pytest.mark.parametrize(("identity", "warnings"), [(USER_ASSIGNED, 1), (SYSTEM_ASSIGNED, 0)])
async def test_log_warns_where_one_identity_for_the_fleet_may_push_to_a_team(
    world: World, caplog: pytest.LogCaptureFixture, identity: str, warnings: int
) -> None:
    world.write_policy(identity)
    await world.create_registry(TEAM, tags=OPTED_IN, properties=ABAC)
    await world.groundswell.onboarding.ensure(await world.target())
    assert caplog.text.count("every team's builds may push to this registry") == warnings


async def test_login_server_with_a_domain_name_label_is_read_from_azure(world: World) -> None:
    await world.arm("DELETE", registry_id(BASE), api_version="2026-09-01-preview")
    await world.create_registry(BASE, properties={"autoGeneratedDomainNameLabelScope": "TenantReuse"})
    await deploy(world.owner, world.app)
    await world.create_registry(TEAM, tags=OPTED_IN)
    server = await world.login_server(BASE)
    assert server != LOGIN_SERVER
    await world.groundswell.onboarding.ensure(await world.target())
    task = (await world.task())["properties"]
    assert list(task["credentials"]["customRegistries"]) == [server]
    assert {"name": "registryName", "value": server, "isSecret": False} in task["step"]["values"]


async def test_grant_that_appeared_meanwhile_is_no_error(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.groundswell.onboarding.ensure(await world.target())
    world.fault(method="GET", path=".*/roleAssignments", status=200, body={"value": []})
    applied = await world.groundswell.onboarding.ensure(await world.target())
    assert applied.writes == ()
    assert "PUT Microsoft.Authorization/roleAssignments/write" in world.app_calls()


async def test_identity_that_the_directory_does_not_know_yet_is_tried_again_later(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    body = {"error": {"code": "PrincipalNotFound", "message": "Principal 0 does not exist in the directory 1."}}
    world.fault(method="PUT", path=".*/roleAssignments/.*", status=400, body=body)
    with pytest.raises(TemporaryError, match="directory does not know the identity"):
        await world.groundswell.onboarding.ensure(await world.target())
    applied = await world.groundswell.onboarding.ensure(await world.target())
    assert applied.writes == ("grant AcrPull on mybaseregistry",)


async def test_missing_resource_group_of_the_identity_says_what_to_create(world: World) -> None:
    world.write_policy("{type: UserAssigned, name: myACRTasksId, resourceGroup: nowhere}")
    await world.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises((PermanentError, NotPermitted), match="nowhere"):
        await world.groundswell.onboarding.ensure(await world.target())


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        ("grantPull", "assign AcrPull on mybaseregistry"),
        ("tasks", "write task helloworldtask of myregistry"),
        ("createIdentity", "create identity myACRTasksId"),
        ("assignIdentity", "write task helloworldtask of myregistry"),
    ],
)
async def test_missing_role_is_permanent_and_says_what_was_refused(world: World, role: str, refused: str) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.arm("DELETE", world.roles[role], api_version=ROLES)
    with pytest.raises(NotPermitted, match=rf"Could not {refused}.*infra/app-roles\.json"):
        await world.groundswell.onboarding.ensure(await world.target())


async def test_registry_in_another_group_and_subscription_is_onboarded(world: World) -> None:
    other = "00000000-0000-4000-8000-000000000002"
    world.azure.create_subscription(other, "Team subscription")
    group = f"/subscriptions/{other}/resourceGroups/teamGroup"
    await world.arm("PUT", group, {"location": "westeurope"}, api_version="2024-11-01")
    assert world.app.system_assigned
    world.azure.grant(world.app.system_assigned, "fb382eab-e894-4461-af04-94435c366c3f", f"/subscriptions/{other}")
    await world.create_registry("faraway", group=group, tags=OPTED_IN, location="West Europe")
    await world.reconnect(GROUNDSWELL_SUBSCRIPTIONS=f"{SUBSCRIPTION.rpartition('/')[2]}, {other}")
    applied = await world.groundswell.onboarding.ensure(await world.target("faraway"))
    assert applied.task_id.startswith(group)
    assert await ready(world, "faraway") == ALL_READY


async def test_teams_tags_point_the_task_at_their_own_repository(world: World) -> None:
    url = "https://github.com/contoso/shop.git#release"
    tags = {**OPTED_IN, "base-image-rebuilds.contextUrl": url}
    await world.create_registry(TEAM, tags=tags)
    await world.groundswell.onboarding.ensure(await world.target())
    values = {item["name"]: item["value"] for item in (await world.task())["properties"]["step"]["values"]}
    assert values["contextUrl"] == url
    assert values["image"] == "hello-world"

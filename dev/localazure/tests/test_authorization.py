"""Role definitions, role assignments and what they allow."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.authorization.aio import AuthorizationManagementClient

from dev.localazure import roles
from dev.localazure.azure import Azure
from dev.localazure.conditions import REPOSITORY_NAME
from dev.localazure.rbac import ROLE_ASSIGNMENT
from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.testing.azure import SUBSCRIPTION, Client, Reply

GROUP = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
DEFINITIONS = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
API = "2022-04-01"


@pytest.fixture
async def group(owner: Client) -> str:
    assert (await owner.arm("PUT", GROUP, {"location": "eastus"})).status == 201
    return GROUP


def body(principal: str, role: str = roles.ACR_PULL, **more: Any) -> dict[str, Any]:
    given = {"roleDefinitionId": f"{DEFINITIONS}/{role}", "principalId": principal}
    return {"properties": {**given, "principalType": "ServicePrincipal", **more}}


def path(scope: str, name: str | None = None) -> str:
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name or uuid.uuid4()}"


async def assign(client: Client, scope: str, sent: dict[str, Any], name: str | None = None) -> Reply:
    return await client.arm("PUT", path(scope, name), sent, api_version=API)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body["error"]["code"]


@pytest.fixture
async def principal(azure: Azure) -> str:
    return azure.identity.create_principal("reg/tasks/task").object_id


@pytest.fixture
async def app(azure: Azure, session: aiohttp.ClientSession) -> Client:
    return Client(azure, azure.identity.create_app("app"), session)


async def test_assignment_is_answered_and_read_back_as_azure_does(owner: Client, group: str, principal: str) -> None:
    name = str(uuid.uuid4())
    created = await assign(owner, group, body(principal), name)
    assert created.status == 201
    stored = created.body["properties"]
    assert datetime.fromisoformat(stored["createdOn"]) <= datetime.fromisoformat(stored["updatedOn"])
    assert created.body == {
        "properties": {
            "roleDefinitionId": f"{DEFINITIONS}/{roles.ACR_PULL}", "principalId": principal,
            "principalType": "ServicePrincipal", "scope": group, "condition": None, "conditionVersion": None,
            "createdOn": stored["createdOn"], "updatedOn": stored["updatedOn"], "createdBy": None,
            "updatedBy": owner.app.system_assigned, "delegatedManagedIdentityResourceId": None, "description": None,
        },
        "id": path(group, name), "type": ROLE_ASSIGNMENT, "name": name,
    }  # fmt: skip
    read = (await owner.arm("GET", path(group, name), api_version=API)).body["properties"]
    assert read == {**stored, "createdOn": stored["updatedOn"], "createdBy": owner.app.system_assigned}


async def test_sdk_creates_lists_and_deletes_assignments(azure: Azure, group: str, principal: str) -> None:
    name = str(uuid.uuid4())
    async with (
        ManagedIdentityCredential() as credential,
        AuthorizationManagementClient(credential, DEFAULT_SUBSCRIPTION, api_version=API) as client,
    ):
        assignments = client.role_assignments
        created = await assignments.create(group, name, body(principal))
        with pytest.raises(HttpResponseError) as caught:
            await assignments.create(group, str(uuid.uuid4()), body(principal))
        listed = [a.name async for a in assignments.list_for_scope(group, filter=f"principalId eq '{principal}'")]
        everywhere = [a.name async for a in assignments.list_for_subscription()]
        deleted = await assignments.delete(group, name)
        again = await assignments.delete_by_id(created.id)
        left = [a.name async for a in assignments.list_for_resource_group("myResourceGroup")]
        definitions = [d.id async for d in client.role_definitions.list(group, filter="roleName eq 'acrpull'")]
    assert caught.value.status_code == 409
    assert caught.value.error is not None
    assert caught.value.error.code == "RoleAssignmentExists"
    assert listed == [name]
    assert name in everywhere
    assert deleted is not None
    assert deleted.principal_id == principal
    assert again is None
    assert name not in left
    assert definitions == [f"{DEFINITIONS}/{roles.ACR_PULL}"]


async def test_repeated_assignment_conflicts_and_names_the_first(owner: Client, group: str, principal: str) -> None:
    name = str(uuid.uuid4())
    await assign(owner, group, body(principal), name)
    for again in (name, str(uuid.uuid4())):
        refused = await assign(owner, group.upper().replace("SUBSCRIPTIONS", "subscriptions"), body(principal), again)
        assert code(refused) == (409, "RoleAssignmentExists")
        assert refused.body["error"]["message"].endswith(f"assignment is {name.replace('-', '')}.")


async def test_put_under_the_same_name_updates_description_and_condition_only(
    azure: Azure, owner: Client, group: str, principal: str
) -> None:
    name = str(uuid.uuid4())
    created = await assign(owner, group, body(principal), name)
    azure.clock.advance(60)
    updated = await assign(owner, group, body(principal, description="for builds"), name)
    assert (updated.status, updated.body["properties"]["description"]) == (200, "for builds")
    assert updated.body["properties"]["createdOn"] == created.body["properties"]["updatedOn"]
    assert updated.body["properties"]["createdOn"] < updated.body["properties"]["updatedOn"]
    refused = await assign(owner, group, body(principal, roles.ACR_PUSH), name)
    assert code(refused) == (400, "RoleAssignmentUpdateNotPermitted")
    elsewhere = await assign(owner, SUBSCRIPTION, body(principal), name)
    assert code(elsewhere) == (400, "RoleAssignmentUpdateNotPermitted")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("not-a-guid", {}, (400, "InvalidRoleAssignmentId")),
        (None, {"principalId": "me"}, (400, "InvalidPrincipalId")),
        (None, {"principalType": "Robot"}, (400, "InvalidPrincipalType")),
        (None, {"principalType": "User"}, (400, "UnmatchedPrincipalType")),
        (None, {"principalId": str(uuid.uuid4())}, (400, "PrincipalNotFound")),
        (None, {"roleDefinitionId": "acrpull"}, (400, "InvalidCreateRoleAssignmentRequest")),
        (None, {"roleDefinitionId": f"{DEFINITIONS}/{uuid.uuid4()}"}, (404, "RoleDefinitionDoesNotExist")),
        (None, {"condition": "true", "conditionVersion": "2.0"}, (400, "InvalidRoleAssignmentCondition")),
        (
            None, {"condition": "ActionMatches{'*'}", "conditionVersion": "1.0"},
            (400, "InvalidRoleAssignmentCondition"),
        ),
    ],
)  # fmt: skip
async def test_wrong_assignment_is_refused(
    owner: Client, group: str, principal: str, name: str | None, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert code(await assign(owner, group, body(principal, **change), name)) == expected


async def test_assignment_on_a_missing_resource_is_refused(owner: Client, group: str, principal: str) -> None:
    for scope, expected in (
        (f"{group}/providers/Microsoft.ContainerRegistry/registries/nowhere", (404, "ResourceNotFound")),
        (f"{SUBSCRIPTION}/resourceGroups/nowhere", (404, "ResourceGroupNotFound")),
        (f"/subscriptions/{uuid.uuid4()}", (404, "SubscriptionNotFound")),
    ):
        assert code(await assign(owner, scope, body(principal))) == expected


async def test_new_principal_is_not_found_until_it_is_replicated_unless_its_type_is_given(
    azure: Azure, owner: Client, group: str
) -> None:
    azure.identity.replication = timedelta(seconds=60)
    new = azure.identity.create_principal("new").object_id
    untyped = body(new)
    del untyped["properties"]["principalType"]
    refused = await assign(owner, group, untyped)
    assert code(refused) == (400, "PrincipalNotFound")
    assert refused.body["error"]["message"].startswith(f"Principal {new.replace('-', '')} does not exist")
    assert (await assign(owner, group, body(new))).status == 201
    azure.clock.advance(60)
    accepted = await assign(owner, group, {"properties": {**untyped["properties"], "roleDefinitionId":
                                                          f"{DEFINITIONS}/{roles.READER}"}})  # fmt: skip
    assert (accepted.status, accepted.body["properties"]["principalType"]) == (201, "ServicePrincipal")


async def test_strict_directory_does_not_trust_the_type_for_a_while(azure: Azure, owner: Client, group: str) -> None:
    azure.identity.replication, azure.identity.strict = timedelta(seconds=60), timedelta(seconds=5)
    new = azure.identity.create_principal("new").object_id
    assert code(await assign(owner, group, body(new))) == (400, "PrincipalNotFound")
    azure.clock.advance(5)
    assert (await assign(owner, group, body(new))).status == 201


async def test_subscription_holds_a_limited_number_of_assignments(
    azure: Azure, owner: Client, group: str, principal: str
) -> None:
    azure.rbac.limit = 2
    assert (await assign(owner, group, body(principal))).status == 201
    assert (await assign(owner, SUBSCRIPTION, body(principal))).status == 201
    third = await assign(owner, group, body(principal, roles.READER))
    assert code(third) == (400, "RoleAssignmentLimitExceeded")


async def test_assignment_of_a_deleted_principal_stays(azure: Azure, owner: Client, group: str) -> None:
    gone = azure.identity.create_principal("gone", resource_id="/subscriptions/s/x")
    created = await assign(owner, group, body(gone.object_id))
    azure.identity.delete_principals_of("/subscriptions/s/x")
    assert (await owner.arm("GET", created.body["id"], api_version=API)).status == 200


async def names(client: Client, scope: str, text: str = "") -> set[str]:
    query = {"$filter": text} if text else {}
    url = f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments"
    reply = await client.arm("GET", url, api_version=API, **query)
    assert reply.status == 200, reply.text
    return {assignment["name"] for assignment in reply.body["value"]}


async def test_lists_show_what_is_at_above_and_below(azure: Azure, owner: Client, group: str, principal: str) -> None:
    top = azure.grant(principal, roles.READER, "/").name
    middle = (await assign(owner, SUBSCRIPTION, body(principal))).body["name"]
    low = (await assign(owner, group, body(principal))).body["name"]
    theirs = f"principalId eq '{principal}'"
    assert await names(owner, "/", "atScope() and " + f"assignedTo('{principal}')") == {top}
    assert await names(owner, SUBSCRIPTION, theirs) == {top, middle, low}
    assert await names(owner, SUBSCRIPTION, f"atScope() and assignedTo('{principal}')") == {top, middle}
    assert await names(owner, group, f"assignedTo('{principal}')") == {top, middle, low}
    assert {top, middle} < await names(owner, SUBSCRIPTION, "atScope()")
    other = f"{SUBSCRIPTION}/resourceGroups/other"
    await owner.arm("PUT", other, {"location": "eastus"})
    assert await names(owner, other, theirs) == {top, middle}
    shown = await owner.arm("GET", f"{group}/providers/{ROLE_ASSIGNMENT}", api_version=API, **{"$filter": theirs})
    assert {a["properties"]["roleDefinitionId"] for a in shown.body["value"]} == {
        f"{DEFINITIONS}/{roles.ACR_PULL}", f"{DEFINITIONS}/{roles.READER}",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["principalId eq 'x' and atScope()", "colour eq 'red'", "atScope("])
async def test_filter_that_azure_does_not_take_is_refused(owner: Client, text: str) -> None:
    url = f"{SUBSCRIPTION}/providers/{ROLE_ASSIGNMENT}"
    assert code(await owner.arm("GET", url, api_version=API, **{"$filter": text})) == (400, "InvalidFilter")


async def test_missing_assignment_is_not_found_and_deleting_it_changes_nothing(owner: Client, group: str) -> None:
    missing = path(group)
    assert code(await owner.arm("GET", missing, api_version=API)) == (404, "RoleAssignmentNotFound")
    assert (await owner.arm("DELETE", missing, api_version=API)).status == 204


async def test_built_in_roles_are_found_by_name_in_any_case(owner: Client) -> None:
    query = {"$filter": "roleName eq 'container registry repository contributor' and type eq 'BuiltInRole'"}
    reply = await owner.arm("GET", DEFINITIONS, api_version="2022-05-01-preview", **query)
    [found] = reply.body["value"]
    assert found["id"] == f"{DEFINITIONS}/{roles.REPOSITORY_CONTRIBUTOR}"
    prefix = "Microsoft.ContainerRegistry/registries/repositories"
    assert found["properties"]["permissions"] == [
        {
            "actions": [], "notActions": [],
            "dataActions": [
                f"{prefix}/metadata/read", f"{prefix}/content/read", f"{prefix}/metadata/write",
                f"{prefix}/content/write", f"{prefix}/metadata/delete", f"{prefix}/content/delete",
            ],
            "notDataActions": [],
        }
    ]  # fmt: skip
    custom = await owner.arm("GET", DEFINITIONS, api_version=API, **{"$filter": "type eq 'CustomRole'"})
    assert custom.body["value"] == []
    by_id = await owner.arm("GET", f"/providers/Microsoft.Authorization/roleDefinitions/{roles.READER}")
    assert by_id.body["properties"]["roleName"] == "Reader"
    assert code(await owner.arm("GET", f"{DEFINITIONS}/{uuid.uuid4()}")) == (404, "RoleDefinitionDoesNotExist")


async def test_grant_counts_after_its_delay_and_a_removed_one_for_as_long(
    azure: Azure, owner: Client, app: Client, group: str
) -> None:
    azure.rbac.delay = timedelta(minutes=5)
    me = app.app.system_assigned or ""
    granted = await assign(owner, group, body(me, roles.READER))
    assert code(await app.arm("GET", group)) == (403, "AuthorizationFailed")
    azure.clock.advance(300)
    assert (await app.arm("GET", group)).status == 200
    await owner.arm("DELETE", granted.body["id"], api_version=API)
    assert (await app.arm("GET", group)).status == 200
    azure.clock.advance(300)
    assert code(await app.arm("GET", group)) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("role", "action", "data", "expected"),
    [
        (roles.CONTRIBUTOR, "Microsoft.ContainerRegistry/registries/write", False, True),
        (roles.CONTRIBUTOR, "Microsoft.Authorization/roleAssignments/write", False, False),
        (roles.CONTRIBUTOR, "Microsoft.ContainerRegistry/registries/repositories/content/read", True, False),
        (roles.READER, "microsoft.containerregistry/registries/pull/READ", False, True),
        (roles.READER, "Microsoft.ContainerRegistry/registries/scheduleRun/action", False, False),
        (roles.ACR_PULL, "Microsoft.ContainerRegistry/registries/push/write", False, False),
        (roles.REPOSITORY_READER, "Microsoft.ContainerRegistry/registries/repositories/content/read", True, True),
        (roles.REPOSITORY_READER, "Microsoft.ContainerRegistry/registries/repositories/content/write", True, False),
        (roles.TASKS_CONTRIBUTOR, "Microsoft.ContainerRegistry/registries/scheduleRun/action", False, True),
        (roles.TASKS_CONTRIBUTOR, "Microsoft.ContainerRegistry/registries/write", False, False),
        (roles.IDENTITY_OPERATOR, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", False, True),
        (roles.IDENTITY_OPERATOR, "Microsoft.ManagedIdentity/userAssignedIdentities/read", False, True),
        (roles.IDENTITY_OPERATOR, "Microsoft.ManagedIdentity/userAssignedIdentities/write", False, False),
    ],
)
async def test_role_allows_what_azure_says(
    azure: Azure, principal: str, role: str, action: str, data: bool, expected: bool
) -> None:
    azure.grant(principal, role, GROUP)
    below = f"{GROUP}/providers/Microsoft.X/things/one"
    assert azure.rbac.allows(principal, action, below, data=data) is expected
    assert not azure.rbac.allows(principal, action, GROUP + "2", data=data)


CONDITION = f"""
((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR
 (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{roles.ACR_PULL}}}
  AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType]
      ForAnyOfAnyValues:StringEqualsIgnoreCase {{'ServicePrincipal'}}))
AND
((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/delete'}})) OR
 (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId]
  ForAnyOfAnyValues:GuidEquals {{{roles.ACR_PULL}}}))
"""


async def test_delegated_administrator_may_assign_only_what_its_condition_allows(
    owner: Client, app: Client, group: str, principal: str
) -> None:
    given = body(app.app.system_assigned or "", roles.RBAC_ADMINISTRATOR, condition=CONDITION, conditionVersion="2.0")
    delegated = await assign(owner, group, given)
    assert delegated.body["properties"]["condition"] == CONDITION
    reader = await assign(owner, group, body(principal, roles.READER))

    refused = await assign(app, group, body(principal, roles.OWNER))
    assert code(refused) == (403, "AuthorizationFailed")
    assert (
        "does not have authorization or an ABAC condition not fulfilled to perform action "
        "'Microsoft.Authorization/roleAssignments/write'" in refused.body["error"]["message"]
    )
    untyped = body(principal)
    del untyped["properties"]["principalType"]
    assert code(await assign(app, group, untyped)) == (403, "AuthorizationFailed")
    assert code(await app.arm("DELETE", reader.body["id"], api_version=API)) == (403, "AuthorizationFailed")

    allowed = await assign(app, group, body(principal))
    assert allowed.status == 201
    assert (await app.arm("DELETE", allowed.body["id"], api_version=API)).status == 200
    outside = await assign(app, SUBSCRIPTION, body(principal))
    assert code(outside) == (403, "AuthorizationFailed")
    assert "ABAC" not in outside.body["error"]["message"]


async def test_condition_limits_a_data_role_to_repositories(azure: Azure, owner: Client, principal: str) -> None:
    name = "Microsoft.ContainerRegistry/registries/repositories:name"
    condition = f"@Request[{name}] StringStartsWithIgnoreCase 'baseimages/'"
    given = body(principal, roles.REPOSITORY_READER, condition=condition, conditionVersion="2.0")
    assert (await assign(owner, SUBSCRIPTION, given)).status == 201
    action = "Microsoft.ContainerRegistry/registries/repositories/content/read"
    for repository, expected in (("BaseImages/node", True), ("team/app", False)):
        request = {name.lower(): [repository]}
        assert azure.rbac.allows(principal, action, SUBSCRIPTION, data=True, request=request) is expected


async def test_registry_in_abac_mode_honours_a_condition_on_repositories(
    azure: Azure, owner: Client, group: str, app: Client
) -> None:
    url = f"{group}/providers/Microsoft.ContainerRegistry/registries/baseregistry"
    sent = {
        "location": "eastus",
        "sku": {"name": "Basic"},
        "properties": {"roleAssignmentMode": "AbacRepositoryPermissions"},
    }
    assert (await owner.arm("PUT", url, sent)).status in (200, 201)
    condition = f"@Request[{REPOSITORY_NAME}] StringStartsWith 'baseimages/'"
    me = app.app.system_assigned or ""
    given = body(me, roles.REPOSITORY_READER, condition=condition, conditionVersion="2.0")
    assert (await assign(owner, url, given)).status == 201
    registry = azure.registries.find("baseregistry.azurecr.io")
    assert registry is not None
    assert azure.registries.exchange(azure.state.principals[me], registry)
    may = [
        azure.registries.may(azure.state.principals[me], registry, name, "pull") for name in ("baseimages/node", "app")
    ]
    assert may == [True, False]


async def test_reset_fills_buckets_and_forgets_removed_grants(azure: Azure, owner: Client, app: Client) -> None:
    azure.rbac.delay = timedelta(minutes=5)
    me = app.app.system_assigned or ""
    granted = azure.grant(me, roles.READER, SUBSCRIPTION)
    assert (await owner.arm("DELETE", granted.id, api_version=API)).status == 200
    assert azure.rbac.allows(me, "Microsoft.X/things/read", SUBSCRIPTION)
    azure.graph.readers.add(me)
    azure.clock.set_scale(0)
    before: list[str] = []
    after: list[str] = []
    for seen in (before, after):
        for _ in range(2):
            reply = await owner.arm("GET", SUBSCRIPTION)
            seen.append(reply.headers["x-ms-ratelimit-remaining-subscription-global-reads"])
        await azure.reset()
    assert before == after == ["3749", "3748"]
    assert not azure.rbac.allows(me, "Microsoft.X/things/read", SUBSCRIPTION)
    assert azure.graph.readers == set()

"""What the app can do with its right to assign roles: three roles, to service principals, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from dev.localazure import roles
from dev.localazure.azure import Azure
from dev.testing.azure import SUBSCRIPTION, Client, Reply
from tests.integration.world import AUTHORIZATION, BASE, GROUP, ROLES, TEAM, World, deploy, registry_id

BASE_ID, TEAM_ID = registry_id(BASE), registry_id(TEAM)
PLATFORM = "00000000-0000-4000-8000-00000000000b"


@pytest.fixture
async def app(world: World, session: aiohttp.ClientSession) -> Client:
    """Somebody who holds the app's identity."""
    await world.create_registry(TEAM)
    return Client(world.azure, world.app, session)


@pytest.fixture
def robot(azure: Azure) -> str:
    """A service principal of somebody else."""
    return azure.identity.create_principal("robot").object_id


def path(scope: str, name: str | None = None) -> str:
    return f"{'' if scope == '/' else scope}{AUTHORIZATION}/roleAssignments/{name or uuid.uuid4()}"


def body(principal: str, role: str, **more: Any) -> dict[str, Any]:
    definition = f"{SUBSCRIPTION}{AUTHORIZATION}/roleDefinitions/{role}"
    given = {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal", **more}
    return {"properties": {name: value for name, value in given.items() if value is not None}}


async def put(client: Client, url: str, sent: dict[str, Any]) -> Reply:
    return await client.arm("PUT", url, sent, api_version=ROLES)


async def delete(client: Client, url: str) -> Reply:
    return await client.arm("DELETE", url, api_version=ROLES)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body["error"]["code"]


def held(azure: Azure) -> list[tuple[str, str, str, str | None]]:
    """Return every role assignment as (scope, role, principal, condition)."""
    found = azure.state.of_type("Microsoft.Authorization/roleAssignments")
    return [
        (a.properties["scope"], a.properties["roleDefinitionId"].rpartition("/")[2], a.properties["principalId"],
         a.properties["condition"])
        for a in found
    ]  # fmt: skip


DELEGATED = [
    (BASE_ID, roles.ACR_PULL), (BASE_ID, roles.REPOSITORY_READER),
    (TEAM_ID, roles.REPOSITORY_WRITER), (TEAM_ID, roles.ACR_PUSH),
]  # fmt: skip
PUSHING = (roles.REPOSITORY_WRITER, roles.ACR_PUSH)


@pytest.mark.parametrize(("scope", "role"), DELEGATED, ids=["pull", "reader", "writer", "push"])
async def test_delegated_role_can_be_given_to_a_service_principal_and_taken_back(
    app: Client, robot: str, scope: str, role: str
) -> None:
    made = await put(app, path(scope), body(robot, role))
    assert made.status == 201, made.text
    assert (await delete(app, made.body["id"])).status == 200


@pytest.mark.parametrize("scope", [BASE_ID, TEAM_ID, GROUP, SUBSCRIPTION, "/"],
                         ids=["base", "team", "group", "subscription", "tenant"])  # fmt: skip
async def test_no_other_role_can_be_given(azure: Azure, app: Client, robot: str, scope: str) -> None:
    before = held(azure)
    for role in roles.ROLES.values():
        # Pushing is delegated for the subscription of the teams, and so for all that is in it.
        if (scope, role.id) in DELEGATED or (role.id in PUSHING and scope != "/"):
            continue
        for principal in (robot, app.app.system_assigned or ""):
            refused = await put(app, path(scope), body(principal, role.id))
            assert code(refused) == (403, "AuthorizationFailed"), role.name
    assert held(azure) == before


@pytest.mark.parametrize("role", [*PUSHING, roles.OWNER], ids=["writer", "push", "owner"])
async def test_base_registry_in_a_subscription_of_its_own_cannot_be_opened_for_writing(
    world: World, session: aiohttp.ClientSession, robot: str, role: str
) -> None:
    """Where it shares the teams' subscription, what is delegated there reaches the base registry too."""
    world.azure.create_subscription(PLATFORM, "Platform")
    group = f"/subscriptions/{PLATFORM}/resourceGroups/platform"
    await world.arm("PUT", group, {"location": "eastus"}, api_version="2024-11-01")
    base = await world.create_registry("platformbase", group=group)
    platform = world.azure.identity.create_app("platform-groundswell")
    await deploy(world.owner, platform, base=base)
    app = Client(world.azure, platform, session)
    assert code(await put(app, path(base), body(robot, role))) == (403, "AuthorizationFailed")
    assert (await put(app, path(base), body(robot, roles.ACR_PULL))).status == 201


PRINCIPALS: dict[str, tuple[Callable[[Azure], str], str | None, tuple[int, str]]] = {
    "user": (lambda azure: azure.identity.create_user("ada@example.com").object_id, "User",
             (403, "AuthorizationFailed")),
    "user passed off as a service principal": (
        lambda azure: azure.identity.create_user("ada@example.com").object_id, "ServicePrincipal",
        (400, "UnmatchedPrincipalType"),
    ),
    "user of unsaid type": (lambda azure: azure.identity.create_user("ada@example.com").object_id, None,
                            (403, "AuthorizationFailed")),
    "group": (lambda _: str(uuid.uuid4()), "Group", (403, "AuthorizationFailed")),
    "foreign group": (lambda _: str(uuid.uuid4()), "ForeignGroup", (403, "AuthorizationFailed")),
    "device": (lambda _: str(uuid.uuid4()), "Device", (403, "AuthorizationFailed")),
}  # fmt: skip


@pytest.mark.parametrize("kind", PRINCIPALS)
@pytest.mark.parametrize(("scope", "role"), DELEGATED, ids=["pull", "reader", "writer", "push"])
async def test_only_service_principals_are_given_roles(
    azure: Azure, app: Client, scope: str, role: str, kind: str
) -> None:
    make, said, refusal = PRINCIPALS[kind]
    principal, before = make(azure), held(azure)
    assert code(await put(app, path(scope), body(principal, role, principalType=said))) == refusal
    assert held(azure) == before


@pytest.mark.parametrize(
    ("scope", "role", "kind"),
    [
        (BASE_ID, roles.ACR_DELETE, "robot"),
        (BASE_ID, roles.OWNER, "robot"),
        (BASE_ID, roles.ACR_PULL, "user"),
        (TEAM_ID, roles.REPOSITORY_WRITER, "user"),
        (TEAM_ID, roles.ACR_PULL, "robot"),
        (SUBSCRIPTION, roles.READER, "robot"),
    ],
)
async def test_assignment_of_somebody_else_cannot_be_deleted_unless_it_is_one_the_app_could_make(
    azure: Azure, owner: Client, app: Client, robot: str, scope: str, role: str, kind: str
) -> None:
    user = kind == "user"
    principal = azure.identity.create_user("ada@example.com").object_id if user else robot
    made = await put(owner, path(scope), body(principal, role, principalType="User" if user else "ServicePrincipal"))
    assert made.status == 201, made.text
    assert code(await delete(app, made.body["id"])) == (403, "AuthorizationFailed")
    assert (await owner.arm("GET", made.body["id"], api_version=ROLES)).status == 200


@pytest.mark.parametrize("own", ["grantPull", "grantPush", "tasks"])
async def test_app_can_neither_loosen_nor_delete_its_own_roles(
    world: World, azure: Azure, app: Client, own: str
) -> None:
    before = held(azure)
    stored = (await world.arm("GET", world.roles[own], api_version=ROLES)).body["properties"]
    me, role = stored["principalId"], stored["roleDefinitionId"].rpartition("/")[2]
    allowed = roles.REPOSITORY_WRITER if own == "grantPush" else roles.ACR_PULL
    attempts = {
        "without its condition": body(me, role),
        "with a condition that always holds": body(
            me, role, condition="!(ActionMatches{'x'})", conditionVersion="2.0"
        ),
        "another condition version": body(me, role, condition=stored["condition"], conditionVersion="1.0"),
    }  # fmt: skip
    for attempt, sent in attempts.items():
        assert code(await put(app, world.roles[own], sent)) == (403, "AuthorizationFailed"), attempt
    # A role that may be given passes the condition, but an assignment never becomes one of another role.
    refused = await put(app, world.roles[own], body(me, allowed))
    assert refused.status in (400, 403), refused.text
    assert code(await delete(app, world.roles[own])) == (403, "AuthorizationFailed")
    assert held(azure) == before


@pytest.mark.parametrize(
    "disguise",
    [
        lambda role: f"{SUBSCRIPTION}{AUTHORIZATION}/roleDefinitions/{role.upper()}",
        lambda role: f"{AUTHORIZATION}/roleDefinitions/{role}",
        lambda role: f"{AUTHORIZATION}/roleDefinitions/{roles.ACR_PULL}{AUTHORIZATION}/roleDefinitions/{role}",
        lambda role: f"{AUTHORIZATION}/roleDefinitions/{role}/{roles.ACR_PULL}",
        lambda role: f"{AUTHORIZATION}/roleDefinitions/{role}?{roles.ACR_PULL}",
        lambda role: [f"{AUTHORIZATION}/roleDefinitions/{role}", f"{AUTHORIZATION}/roleDefinitions/{roles.ACR_PULL}"],
    ],
)
async def test_role_in_disguise_is_not_given(
    azure: Azure, app: Client, robot: str, disguise: Callable[[str], Any]
) -> None:
    before = held(azure)
    sent = body(robot, roles.OWNER, roleDefinitionId=disguise(roles.OWNER))
    refused = await put(app, path(BASE_ID), sent)
    assert refused.status in (400, 403), refused.text
    sent["roleDefinitionId"] = f"{AUTHORIZATION}/roleDefinitions/{roles.ACR_PULL}"
    refused = await put(app, path(BASE_ID), sent)
    assert refused.status in (400, 403), refused.text
    assert held(azure) == before


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "true",
        "@Request[Microsoft.Authorization/roleAssignments:Scope] StringEquals '/'",
        "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] GuidEqual {x}",
        "@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:A_B] StringEquals 'c'",
        "@Environment[UtcNow] DateTimeGreaterThan '2026-01-01T00:00:00Z'",
        "@Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringMatches '.*'",
        "((ActionMatches{'Microsoft.Authorization/roleAssignments/write'})",
        "ActionMatches{'a'} AND ActionMatches{'b'} OR ActionMatches{'c'}",
        "ActionMatches{'a'} XOR ActionMatches{'b'}",
        "ActionMatches{'a'} -- AND ActionMatches{'b'}",
    ],
)
async def test_condition_that_is_not_understood_is_refused_and_assigns_nothing(
    azure: Azure, world: World, robot: str, condition: str
) -> None:
    before = held(azure)
    sent = body(robot, roles.RBAC_ADMINISTRATOR, condition=condition, conditionVersion="2.0")
    refused = await put(world.owner, path(BASE_ID), sent)
    assert code(refused) == (400, "InvalidRoleAssignmentCondition")
    assert held(azure) == before

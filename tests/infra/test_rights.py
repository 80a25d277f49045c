"""The app gets the rights of infra/app-roles.json, and no others."""

from __future__ import annotations

import pytest

from dev.localazure import conditions
from dev.localazure.roles import ROLES
from dev.sandbox.infra import Place, role_assignments
from tests.infra.predicted import ALL, BASE_REGISTRY, FLEET, GUID, MAIN, OTHER, PRINCIPAL, TEAM, listed, made


def expected_rights(teams: list[str], *, push: bool = False, identity: str = FLEET) -> set[tuple[str, str]]:
    """Return scope and role of each assignment that app-roles.json gives outside the app's own group."""
    scopes = {
        "teamSubscriptions": [f"/subscriptions/{team}" for team in teams],
        "baseRegistry": [BASE_REGISTRY],
        "identityResourceGroup": [identity] if identity else [],
    }
    return {
        (scope, role["roleDefinitionId"])
        for role in listed("app-roles.json", "assignments")
        for scope in scopes.get(role["scope"], [])
        if push or role["name"] != "grantPush"
    }


def given_rights(case: str) -> set[tuple[str, str]]:
    found = set()
    for one in made(case, "Microsoft.Authorization/roleAssignments"):
        assert one["properties"]["principalId"] == PRINCIPAL
        scope = one["id"].partition("/providers/Microsoft.Authorization/")[0]
        found.add((scope, one["properties"]["roleDefinitionId"].rpartition("/")[2]))
    return found


@pytest.mark.parametrize(("case", "expected"), [
    ("default", expected_rights([TEAM])),
    ("grant-push", expected_rights([TEAM], push=True)),
    ("several", expected_rights([TEAM, OTHER])),
    ("trailing-comma", expected_rights([TEAM], push=True)),
    ("repeated", expected_rights([TEAM])),
    ("system-assigned", expected_rights([TEAM], identity="")),
    ("identity-elsewhere", expected_rights([TEAM], identity=f"/subscriptions/{OTHER}/resourceGroups/fleet")),
])  # fmt: skip
def test_app_gets_the_rights_of_the_table_and_no_others(case: str, expected: set[tuple[str, str]]) -> None:
    assert given_rights(f"access-{case}") == expected


@pytest.mark.parametrize("case", MAIN)
def test_app_gets_its_rights_on_storage_and_telemetry(case: str) -> None:
    types = {"storageAccounts/st": "storageAccount", "components/appi-": "applicationInsights"}
    wanted = {(role["scope"], role["roleDefinitionId"]) for role in listed("app-roles.json", "assignments")}
    given = {
        (scope, one["properties"]["roleDefinitionId"].rpartition("/")[2])
        for one in made(case, "Microsoft.Authorization/roleAssignments")
        for part, scope in types.items()
        if part in one["id"].partition("Microsoft.Authorization")[0]
    }
    assert given == {(scope, role) for scope, role in wanted if scope in types.values()}


@pytest.mark.parametrize("case", ALL)
def test_every_assignment_is_one_of_the_table_with_its_condition(case: str) -> None:
    table = [*listed("app-roles.json", "assignments"), *listed("app-roles.json", "topicAssignments")]
    for one in made(case, "Microsoft.Authorization/roleAssignments"):
        properties = one["properties"]
        (entry,) = [role for role in table if properties["description"] == f"Groundswell: {role['why']}"]
        assert properties["roleDefinitionId"].endswith(f"/{entry['roleDefinitionId']}")
        assert properties.get("condition") == entry.get("condition")
        assert properties.get("conditionVersion") == entry.get("conditionVersion")
        assert properties["principalType"] == "ServicePrincipal"


def test_roles_are_what_they_are_called_and_their_conditions_can_be_read() -> None:
    for role in (*listed("app-roles.json", "assignments"), *listed("app-roles.json", "topicAssignments")):
        assert ROLES[role["roleDefinitionId"]].name == role["role"]
        if "condition" in role:
            assert role["conditionVersion"] == "2.0"
            conditions.parse(role["condition"])
            assert {guid.lower() for guid in GUID.findall(role["condition"])} <= ROLES.keys()


def test_local_deployment_gives_the_same_rights() -> None:
    place = Place("/subscriptions/s/resourceGroups/g", BASE_REGISTRY)
    local = {put.body["properties"]["roleDefinitionId"].rpartition("/")[2]
             for put in role_assignments(place, PRINCIPAL).values()}  # fmt: skip
    assert local == {role["roleDefinitionId"] for role in listed("app-roles.json", "assignments")}

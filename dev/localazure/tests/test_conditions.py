"""Conditions on role assignments: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from dev.localazure.conditions import ConditionError, Facts, parse

WRITE = "Microsoft.Authorization/roleAssignments/write"
DELETE = "Microsoft.Authorization/roleAssignments/delete"
PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
ROLE = "microsoft.authorization/roleassignments:roledefinitionid"
KIND = "microsoft.authorization/roleassignments:principaltype"
REPOSITORY = "microsoft.containerregistry/registries/repositories:name"

DELEGATION = f"""
((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR
 (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{PULL}, {READER}}}
  AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType]
      ForAnyOfAnyValues:StringEqualsIgnoreCase {{'ServicePrincipal'}}))
AND
((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/delete'}})) OR
 (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId]
  ForAnyOfAnyValues:GuidEquals {{{PULL}, {READER}}}))
"""


def attributes(role: str | None = None, kind: str | None = None) -> dict[str, list[str]]:
    return {name: [value] for name, value in ((ROLE, role), (KIND, kind)) if value}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(WRITE, attributes(PULL, "ServicePrincipal")), True),
        (Facts(WRITE, attributes(READER.upper(), "serviceprincipal")), True),
        (Facts(WRITE, attributes(OWNER, "ServicePrincipal")), False),
        (Facts(WRITE, attributes(PULL, "User")), False),
        (Facts(WRITE, attributes(PULL)), False),  # principalType was not sent
        (Facts(DELETE, resource=attributes(PULL)), True),
        (Facts(DELETE, resource=attributes(OWNER)), False),
        (Facts(DELETE, request=attributes(PULL)), False),
        (Facts("Microsoft.Authorization/roleAssignments/read"), True),
    ],
)
def test_delegation_condition_limits_roles_and_principals(facts: Facts, expected: bool) -> None:
    assert parse(DELEGATION)(facts) is expected


KIND_IS = "@Request[Microsoft.Authorization/roleAssignments:PrincipalType]"
NAME_IS = "@Request[Microsoft.ContainerRegistry/registries/repositories:name]"


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        (f"{NAME_IS} StringEquals 'node'", {REPOSITORY: ["node"]}, True),
        (f"{NAME_IS} stringequals 'node'", {REPOSITORY: ["Node"]}, False),
        (f"{NAME_IS} StringEqualsIgnoreCase 'node'", {REPOSITORY: ["Node"]}, True),
        (f"{NAME_IS} StringNotEquals 'node'", {REPOSITORY: ["node"]}, False),
        (f"{NAME_IS} StringNotEquals 'node'", {}, True),
        (f"{NAME_IS} StringStartsWith 'base/'", {REPOSITORY: ["base/node"]}, True),
        (f"{NAME_IS} StringStartsWith 'base/'", {REPOSITORY: ["team/base/node"]}, False),
        (f"{NAME_IS} StringLike 'base/*-??'", {REPOSITORY: ["base/node-15"]}, True),
        (f"{NAME_IS} StringLike 'base/*-??'", {REPOSITORY: ["base/node-1"]}, False),
        (f"{NAME_IS} StringLike 'a\\*'", {REPOSITORY: ["ab"]}, False),
        (f"{NAME_IS} StringLike 'a\\*'", {REPOSITORY: ["a*"]}, True),
        (f"{NAME_IS} StringNotLike 'a.c'", {REPOSITORY: ["abc"]}, True),
        (f"{NAME_IS} ForAnyOfAnyValues:StringEquals {{'a', 'b'}}", {REPOSITORY: ["x", "b"]}, True),
        (f"{NAME_IS} ForAllOfAnyValues:StringEquals {{'a', 'b'}}", {REPOSITORY: ["x", "b"]}, False),
        (f"{NAME_IS} ForAnyOfAllValues:StringNotEquals {{'a', 'b'}}", {REPOSITORY: ["a", "c"]}, True),
        (f"{NAME_IS} ForAllOfAllValues:StringNotEquals {{'a', 'b'}}", {REPOSITORY: ["a", "c"]}, False),
        (f"Exists {KIND_IS}", {KIND: ["User"]}, True),
        (f"Exists {KIND_IS}", {}, False),
        (f"NOT Exists {KIND_IS}", {}, True),
        (f"!(Exists {KIND_IS}) && !(Exists {NAME_IS})", {}, True),
        (f"Exists {KIND_IS} || Exists {NAME_IS}", {REPOSITORY: ["a"]}, True),
        (f"(Exists {KIND_IS} OR Exists {NAME_IS}) AND ActionMatches{{'*/write'}}", {REPOSITORY: ["a"]}, True),
    ],
)
def test_operator_means_what_is_documented(condition: str, values: dict[str, list[str]], expected: bool) -> None:
    assert parse(condition)(Facts(WRITE, values)) is expected


@pytest.mark.parametrize(
    ("condition", "message", "position"),
    [
        ("", "expected an attribute, found 'the end'", 0),
        ("ActionMatches{'a'", "expected '}', found 'the end'", 17),
        ("ActionMatches{a}", "expected a value, found 'a'", 14),
        ("(ActionMatches{'a'}", "expected ')', found 'the end'", 19),
        ("ActionMatches{'a'} ActionMatches{'b'}", "expected AND, OR or the end", 19),
        ("ActionMatches{'a'} AND ActionMatches{'b'} OR ActionMatches{'c'}", "expected parentheses", 42),
        (f"{KIND_IS} NumericEquals 1", "unexpected character '1'", 78),
        (f"{KIND_IS} BoolEquals 'true'", "expected an operator", 64),
        (f"{KIND_IS} StringEquals {{'a', 'b'}}", "expected one value", 64),
        ("@Request[Microsoft.Authorization/roleAssignments:Colour] StringEquals 'red'", "unknown attribute", 0),
        ("@Principal[Microsoft.Directory/x] StringEquals 'y'", "unexpected character '@'", 0),
        ("SubOperationMatches{'a'}", "expected an attribute, found 'SubOperationMatches'", 0),
    ],
)
def test_condition_that_is_not_understood_is_refused_with_its_place(
    condition: str, message: str, position: int
) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(condition)
    assert message in str(caught.value)
    assert caught.value.position == position

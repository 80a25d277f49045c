"""The conditions of a registry, and whose a credential is that Azure hides."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain import conditions
from shared.domain.conditions import Condition, Kind, Observed
from shared.domain.desired import UserIdentity, task_body
from shared.domain.grants import ACR_PULL, REPOSITORY_WRITER, Grant, grants
from shared.domain.registries import Network
from tests.builders import (
    IDENTITY,
    VALUES,
    base_registry,
    registry,
    registry_id,
    replaced,
    task,
    task_answer,
)

HOST = "mybaseregistry.azurecr.io"
PULL = Grant(registry_id("mybaseregistry"), ACR_PULL)
PUSH = Grant(registry_id("myregistry"), REPOSITORY_WRITER)


def desired(identity: UserIdentity | None = IDENTITY, *, abac: bool = False) -> dict[str, Any]:
    return task_body(task(), registry(abac=abac), base_registry(), VALUES, identity)


@pytest.mark.parametrize("identity", [IDENTITY, None])
def test_credential_that_azure_hides_is_unknown_until_it_is_looked_up(identity: UserIdentity | None) -> None:
    body = desired(identity)
    seen = Observed(identity, task_answer(body))
    looked_up = Observed(identity, task_answer(body), task_answer(body, details=True))

    assert conditions.credential_problem(body, seen, verified=False) is None
    assert conditions.credential_problem(body, seen, verified=True) == ""
    assert conditions.credential_problem(body, looked_up, verified=False) == ""


@pytest.mark.parametrize(
    "credentials",
    [
        ...,
        None,
        {},
        {"customRegistries": None},
        {"customRegistries": {}},
        {"customRegistries": {"other.azurecr.io": None}},
    ],
)
@pytest.mark.parametrize("verified", [True, False])
def test_missing_credential_is_seen_without_looking_it_up(credentials: Any, verified: bool) -> None:
    body = desired()
    seen = Observed(IDENTITY, replaced(task_answer(body), "properties.credentials", credentials))

    assert conditions.credential_problem(body, seen, verified=verified) == f"no credential for {HOST}"


@pytest.mark.parametrize(
    "credential",
    [
        None,
        {},
        {"identity": None},
        {"identity": "[system]"},
        {"identity": IDENTITY.principal_id},
        {"identity": IDENTITY.id},
        {"userName": {"type": "Opaque", "value": "token"}, "password": {"type": "Opaque", "value": "x"}},
    ],
)
def test_credential_of_somebody_else_is_seen_when_it_is_looked_up(credential: Any) -> None:
    body = desired()
    # A host name holds dots, so the whole member is replaced.
    details = replaced(
        task_answer(body, details=True), "properties.credentials", {"customRegistries": {HOST: credential, "o.io": {}}}
    )
    seen = Observed(IDENTITY, task_answer(body), details)

    assert (
        conditions.credential_problem(body, seen, verified=True)
        == f"the credential for {HOST} belongs to somebody else"
    )


def test_credential_is_compared_in_any_casing() -> None:
    body = desired()
    mine = {"customRegistries": {HOST.upper(): {"identity": IDENTITY.client_id.upper()}, "other.io": None}}
    seen = Observed(
        IDENTITY,
        replaced(
            task_answer(body), "properties.credentials", {"customRegistries": {HOST.upper(): None, "other.io": None}}
        ),
        replaced(task_answer(body, details=True), "properties.credentials", mine),
    )

    assert conditions.credential_problem(body, seen, verified=False) == ""


@pytest.mark.parametrize(
    "source", [..., None, {}, {"loginMode": "Default"}, {"identity": None}, {"identity": "[system]"}]
)
def test_abac_registry_needs_the_tasks_identity_for_its_own_registry_too(source: Any) -> None:
    body = desired(abac=True)
    there = replaced(task_answer(body), "properties.credentials.sourceRegistry", source)

    problem = conditions.credential_problem(body, Observed(IDENTITY, there), verified=True)

    assert problem == "the task does not log in to its own registry with its identity"
    assert conditions.credential_problem(body, Observed(IDENTITY, task_answer(body)), verified=True) == ""


FENCED = registry(network=Network(disabled=True))
HOME = "myregistry.azurecr.io"


def at_home(*, details: bool, **changes: Any) -> dict[str, Any]:
    """The task of a registry behind a firewall as Azure answers it, with changes to its credentials."""
    shown = task_answer(task_body(task(), FENCED, base_registry(), VALUES, None), details=details)
    credentials = shown["properties"]["credentials"]
    changed: dict[str, Any] = replaced(shown, "properties.credentials", {**credentials, **changes})
    return changed


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"customRegistries": {HOST: None}}, f"no credential for {HOME}"),
        ({"sourceRegistry": {}}, "the login mode of its own registry is Default"),
        ({"sourceRegistry": {"loginMode": "Default"}}, "the login mode of its own registry is Default"),
    ],
    ids=["as-desired", "missing", "no-mode", "default"],
)
def test_registry_behind_a_firewall_needs_a_credential_of_its_own_server(changes: Any, problem: str) -> None:
    body = task_body(task(), FENCED, base_registry(), VALUES, None)
    seen = Observed(None, at_home(details=False, **changes))
    assert conditions.credential_problem(body, seen, verified=True) == problem


def test_credential_of_somebody_else_for_the_own_registry_is_seen_when_it_is_looked_up() -> None:
    body = task_body(task(), FENCED, base_registry(), VALUES, None)
    theirs = {HOST: {"identity": "[system]"}, HOME: {"identity": IDENTITY.client_id}}
    seen = Observed(None, at_home(details=False), at_home(details=True, customRegistries=theirs))
    assert (
        conditions.credential_problem(body, seen, verified=False)
        == f"the credential for {HOME} belongs to somebody else"
    )


def test_task_that_is_told_not_to_log_in_to_its_own_registry_is_put_right() -> None:
    """It could not push there."""
    body = desired(None)
    there = replaced(task_answer(body), "properties.credentials.sourceRegistry", {"loginMode": "None"})
    problem = conditions.credential_problem(body, Observed(None, there), verified=True)
    assert problem == "the login mode of its own registry is None"


def observe(body: dict[str, Any], *held: Grant, **special: Any) -> Observed:
    plain: dict[str, Any] = {"identity": IDENTITY, "task": task_answer(body), "principal_id": IDENTITY.principal_id}
    return Observed(**{**plain, "held": frozenset(held), **special})


def found(body: dict[str, Any] | None, observed: Observed, **special: Any) -> dict[Kind, Condition]:
    options = {"system_assigned": False, "verified": True, **special}
    needed = grants(registry(), base_registry())
    return {condition.kind: condition for condition in conditions.of(body, observed, needed, **options)}


def test_registry_as_it_should_be_is_ready_in_all_four() -> None:
    body = desired()

    said = found(body, observe(body, PULL))

    assert [(c.kind, c.ready, c.reason) for c in said.values()] == [
        (Kind.IDENTITY, True, "Exists"),
        (Kind.TASK, True, "AsDesired"),
        (Kind.GRANT, True, "Assigned"),
        (Kind.CREDENTIAL, True, "Present"),
    ]
    assert f"user-assigned identity has principal {IDENTITY.principal_id}" in said[Kind.IDENTITY].message
    assert "AcrPull on mybaseregistry" in said[Kind.GRANT].message
    assert f"{HOST} with client id {IDENTITY.client_id}" in said[Kind.CREDENTIAL].message


def test_system_assigned_identity_is_called_so() -> None:
    body = desired(None)

    said = found(body, observe(body, PULL, identity=None), system_assigned=True)

    assert "system-assigned" in said[Kind.IDENTITY].message
    assert f"{HOST} with its system-assigned identity" in said[Kind.CREDENTIAL].message


@pytest.mark.parametrize(("system_assigned", "who"), [(True, "no system-assigned"), (False, "user-assigned")])
def test_registry_with_nothing_is_ready_in_none(system_assigned: bool, who: str) -> None:
    body = desired(None) if system_assigned else None

    said = found(body, Observed(None, None), system_assigned=system_assigned, verified=False)

    assert [(c.ready, c.reason) for c in said.values()] == [
        (False, "Missing"),
        (False, "Missing"),
        (False, "IdentityMissing"),
        (False, "TaskMissing"),
    ]
    assert who in said[Kind.IDENTITY].message


def test_task_without_its_identity_cannot_be_judged() -> None:
    said = found(None, observe(desired(), identity=None, principal_id=""))

    assert (said[Kind.TASK].ready, said[Kind.TASK].reason) == (False, "IdentityMissing")


def test_what_differs_or_is_missing_is_said() -> None:
    body = desired()
    there = replaced(replaced(task_answer(body), "properties.timeout", 600), "properties.credentials", ...)

    said = found(body, observe(body, PUSH, task=there))

    assert said[Kind.TASK] == Condition(Kind.TASK, False, "Differs", "The task differs in timeout.")
    assert said[Kind.GRANT].message == "The identity lacks AcrPull on mybaseregistry."
    assert said[Kind.CREDENTIAL].message == f"The task cannot log in: no credential for {HOST}."


def test_credential_that_nobody_looked_up_is_unknown() -> None:
    body = desired()

    credential = found(body, observe(body, PULL), verified=False)[Kind.CREDENTIAL]

    assert (credential.ready, credential.reason) == (None, "NotChecked")


def test_every_missing_role_is_named() -> None:
    body = desired(abac=True)
    needed = grants(registry(abac=True), base_registry(abac=True))

    (_, _, grant, _) = conditions.of(body, observe(body), needed, system_assigned=False, verified=True)

    assert grant.message == (
        "The identity lacks Container Registry Repository Reader on mybaseregistry "
        "and Container Registry Repository Writer on myregistry."
    )


def test_refused_values_are_a_condition_and_leave_open_what_the_task_should_be() -> None:
    body = desired()

    said = found(body, observe(body, PULL), told=False)
    values = conditions.of_values(("tag x is wrong", "tag y is wrong"))

    assert (said[Kind.TASK].ready, said[Kind.TASK].reason) == (None, "ValuesRefused")
    assert [said[kind].ready for kind in (Kind.IDENTITY, Kind.GRANT, Kind.CREDENTIAL)] == [True] * 3
    assert (values.kind, values.ready, values.reason) == (Kind.VALUES, False, "Refused")
    assert "tag x is wrong; tag y is wrong" in values.message


def test_values_that_nobody_refuses_are_accepted() -> None:
    values = conditions.of_values(())

    assert (values.kind, values.ready, values.reason) == (Kind.VALUES, True, "Accepted")

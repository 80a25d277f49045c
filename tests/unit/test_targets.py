"""Targets: a task that a registry must have, and what is remembered of its credential."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.conditions import Observed
from shared.domain.targets import State, Target, Verified, system_principal
from tests.builders import IDENTITY, base_registry, policy, registry, replaced, task_answer

CHANGED = "2026-11-20T08:15:42.6549610Z"
SYSTEM_ASSIGNED = policy(identity={"type": "SystemAssigned"})


def target(**special: Any) -> Target:
    plain = {"policy": policy(), "task": policy().tasks[0], "team": registry(), "base": base_registry()}
    return Target(**{**plain, **special})


def answer(body: dict[str, Any], changed: str = CHANGED) -> dict[str, Any]:
    return {**task_answer(body), "systemData": {"lastModifiedAt": changed}}


BODY = target().body_with(IDENTITY)


def test_what_the_task_must_be_is_unknown_while_the_identity_that_it_names_is_missing() -> None:
    assert target().body(None) is None
    assert target(policy=SYSTEM_ASSIGNED).body(None) is not None


def test_credential_stays_verified_until_the_task_changes() -> None:
    verified = Verified.of(BODY, answer(BODY))

    assert verified.covers(BODY, answer(BODY))
    assert not verified.covers(BODY, answer(BODY, "2026-11-20T08:15:43Z"))


def test_same_moment_may_be_written_in_two_ways() -> None:
    assert Verified.of(BODY, answer(BODY)).covers(BODY, answer(BODY, CHANGED.replace("Z", "+00:00")))


def test_credential_is_verified_anew_when_another_task_is_wanted() -> None:
    other = target(policy=SYSTEM_ASSIGNED).body_with(None)

    assert not Verified.of(BODY, answer(BODY)).covers(other, answer(BODY))


def test_credential_of_a_task_that_does_not_tell_its_last_change_is_never_verified() -> None:
    silent = replaced(task_answer(BODY), "systemData", ...)

    assert not Verified.of(BODY, silent).covers(BODY, silent)


@pytest.mark.parametrize(
    ("task", "verified", "needed"),
    [
        (None, False, True),
        (answer(BODY), True, False),
        (answer(BODY), False, True),
        (replaced(answer(BODY), "properties.timeout", 1), True, True),
    ],
    ids=["missing", "right", "credential-unknown", "different"],
)
def test_task_is_written_unless_it_and_its_credential_are_known_to_be_right(
    task: dict[str, Any] | None, verified: bool, needed: bool
) -> None:
    observed = Observed(IDENTITY, task, principal_id=IDENTITY.principal_id)

    assert State(target(), observed, verified).needs_write(BODY) is needed


@pytest.mark.parametrize(
    ("task", "principal"), [(None, ""), ({}, ""), ({"identity": None}, ""), ({"identity": {"principalId": "p"}}, "p")]
)
def test_principal_of_a_system_assigned_identity_is_the_tasks(task: dict[str, Any] | None, principal: str) -> None:
    assert system_principal(task) == principal

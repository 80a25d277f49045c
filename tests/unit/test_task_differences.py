"""The task that is there compared with the one that should be, on answers shaped as Resource Manager gives them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared.domain import conditions
from shared.domain.desired import UserIdentity, task_body
from shared.domain.policy import SPEC_TAG
from tests.builders import (
    IDENTITY,
    TASK_FILE,
    VALUES,
    base_registry,
    registry,
    replaced,
    task,
    task_answer,
)


def desired(
    identity: UserIdentity | None = IDENTITY, *, abac: bool = False, tags: dict[str, str] | None = None
) -> dict[str, Any]:
    return task_body(task(), registry(abac=abac), base_registry(), VALUES, identity, tags or {})


@pytest.mark.parametrize("identity", [IDENTITY, None])
def test_task_as_azure_shows_it_after_our_write_does_not_differ(identity: UserIdentity | None) -> None:
    body = desired(identity)

    assert conditions.task_differences(body, task_answer(body)) == ()
    assert conditions.task_differences(body, task_answer(body, details=True)) == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("location", "West Europe"),
        ("properties.platform", {"os": "linux", "architecture": "amd64"}),
        ("properties.platform", {"os": "linux", "architecture": "amd64", "variant": None}),
        ("properties.status", ...),
        ("properties.agentConfiguration", ...),
        ("properties.step.encodedTaskContent", base64.b64encode(TASK_FILE.replace("\n", "\r\n").encode()).decode()),
        ("properties.step.encodedTaskContent", base64.b64encode(TASK_FILE.strip().encode()).decode()),
        ("properties.step.contextPath", None),
        ("properties.isSystemTask", False),
        ("properties.trigger", None),
        ("properties.trigger", {"baseImageTrigger": None}),
        ("properties.trigger", {"baseImageTrigger": {"baseImageTriggerType": "Runtime", "status": "Disabled"}}),
        ("tags", {"team": "web"}),
    ],
)
def test_same_task_made_with_the_cli_or_the_portal_does_not_differ(path: str, value: Any) -> None:
    body = desired()

    assert conditions.task_differences(body, replaced(task_answer(body), path, value)) == ()


def test_values_in_another_order_do_not_differ() -> None:
    body = desired()
    there = task_answer(body)
    there["properties"]["step"]["values"].reverse()

    assert conditions.task_differences(body, there) == ()


@pytest.mark.parametrize("identity", [IDENTITY, None])
def test_identity_that_the_team_added_is_tolerated(identity: UserIdentity | None) -> None:
    body = desired(identity)
    there = task_answer(body)
    there["identity"]["type"] = "SystemAssigned, UserAssigned"
    there["identity"].setdefault("userAssignedIdentities", {})["/subscriptions/x/another"] = {}

    assert conditions.task_differences(body, there) == ()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("location", "eastus", "location"),
        ("location", ..., "location"),
        ("properties.status", "Disabled", "status"),
        ("properties.platform", {"os": "linux", "architecture": "arm64"}, "platform"),
        ("properties.platform", {"os": "linux", "architecture": "arm", "variant": "v7"}, "platform"),
        ("properties.platform", ..., "platform"),
        ("properties.agentConfiguration", {"cpu": 4}, "agentConfiguration"),
        ("properties.timeout", 600, "timeout"),
        ("properties.timeout", ..., "timeout"),
        ("properties.step.type", "Docker", "step.type"),
        ("properties.step", ..., "step.type"),
        (
            "properties.step.encodedTaskContent",
            base64.b64encode(b"steps: [cmd: bash]").decode(),
            "step.encodedTaskContent",
        ),
        ("properties.step.encodedTaskContent", "not base64", "step.encodedTaskContent"),
        ("properties.step.encodedTaskContent", "//8=", "step.encodedTaskContent"),
        ("properties.step.encodedTaskContent", None, "step.encodedTaskContent"),
        ("properties.step.values", [], "step.values"),
        ("properties.step.values", ..., "step.values"),
        ("properties.step.values.0.value", "sha256:1", "step.values"),
        ("properties.step.values.0", {"name": "image", "isSecret": True}, "step.values"),
        ("properties.step.contextPath", "https://github.com/contoso/x.git", "step.contextPath"),
        ("identity", ..., "identity"),
        ("identity", None, "identity"),
        ("identity.type", "SystemAssigned", "identity"),
        ("identity.userAssignedIdentities", {"/subscriptions/x/another": {}}, "identity"),
        (
            "properties.trigger",
            {"baseImageTrigger": {"baseImageTriggerType": "Runtime", "status": "Enabled"}},
            "trigger",
        ),
        ("properties.trigger", {"baseImageTrigger": {"name": "defaultBaseimageTriggerName"}}, "trigger"),
    ],
)
def test_difference_is_named(path: str, value: Any, named: str) -> None:
    body = desired()

    assert conditions.task_differences(body, replaced(task_answer(body), path, value)) == (named,)


def test_every_difference_is_named() -> None:
    empty = {"id": "x", "location": "westeurope", "properties": {}}

    assert conditions.task_differences(desired(), empty) == ("platform", "timeout", "step.type", "identity")


TAGS = {"costCenter": "CC-1", "owner": "platform"}


@pytest.mark.parametrize(
    "there", [TAGS, {"COSTCENTER": "CC-1", "Owner": "platform", "team": "web"}], ids=["same", "other-case-and-more"]
)
def test_task_that_has_the_policys_tags_does_not_differ(there: dict[str, str]) -> None:
    body = desired(tags=TAGS)
    own = {SPEC_TAG: body["tags"][SPEC_TAG]}

    assert conditions.task_differences(body, replaced(task_answer(body), "tags", {**there, **own})) == ()


@pytest.mark.parametrize(
    "there", [{}, {"costCenter": "CC-1"}, {**TAGS, "owner": "Platform"}, {**TAGS, "costCenter": ""}, None]
)
def test_task_without_the_policys_tags_differs(there: dict[str, str] | None) -> None:
    body = desired(tags=TAGS)

    assert conditions.task_differences(body, replaced(task_answer(body), "tags", there)) == ("tags",)


def test_task_that_was_written_for_other_tags_is_written_once_more() -> None:
    body = desired()

    assert conditions.task_differences(body, task_answer(desired(tags=TAGS))) == ("tags",)

"""A policy says what it says by its fields, and each that is wrong is named."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from shared.domain.policy import SystemAssigned, UserAssigned
from tests.builders import TASK_FILE, VALUES, policy_document, replaced, task_document
from tests.unit.policies import parse, refusal


def test_policy_is_read_with_its_task_file_and_defaults(folder: Path) -> None:
    policy = parse(policy_document(), folder)

    (task,) = policy.tasks
    assert policy.base_registry == "mybaseregistry"
    assert policy.identity == UserAssigned(type="UserAssigned", name="myACRTasksId", resourceGroup="myResourceGroup")
    assert base64.b64decode(task.encoded).decode() == TASK_FILE
    assert task.values == VALUES
    assert (task.timeout, task.platform.os, task.platform.architecture) == (3600, "Linux", "amd64")


def test_system_assigned_identity_needs_nothing_more(folder: Path) -> None:
    document = policy_document(identity={"type": "SystemAssigned"})

    assert parse(document, folder).identity == SystemAssigned(type="SystemAssigned")


def test_everything_about_a_task_can_be_said(folder: Path) -> None:
    special = task_document(
        rebuildOn=["node:15-*", "base/python:3.1[123]"],
        timeout=28800,
        platform={"os": "Linux", "architecture": "arm64"},
        values=None,
    )

    (task,) = parse(policy_document(special), folder).tasks

    assert (task.timeout, task.platform.architecture, task.values) == (28800, "arm64", {})


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("baseRegistry", ..., "baseRegistry"),
        ("baseRegistry", "base", "baseRegistry"),
        ("baseRegistry", "my-base-registry", "baseRegistry"),
        ("baseRegistry", "mybaseregistry.azurecr.io", "baseRegistry"),
        ("baseRegistry", 12345, "baseRegistry"),
        ("identity", ..., "identity"),
        ("identity", {}, "identity"),
        ("identity", "SystemAssigned", "identity"),
        ("identity.type", "None", "identity"),
        ("identity.name", ..., "identity.name"),
        ("identity.name", "id", "identity.name"),
        ("identity.name", "-id-", "identity.name"),
        ("identity.resourceGroup", ..., "identity.resourceGroup"),
        ("identity.resourceGroup", "", "identity.resourceGroup"),
        ("identity.resourceGroup", "x" * 91, "identity.resourceGroup"),
        ("identity.subscription", "my-subscription", "identity.subscription"),
        ("identity", {"type": "SystemAssigned", "name": "x"}, "identity.name"),
        ("tasks", ..., "tasks"),
        ("tasks", [], "tasks"),
        ("tasks", {}, "tasks"),
        ("tasks", ["helloworldtask"], "tasks.0"),
        ("tasks.0.name", ..., "tasks.0.name"),
        ("tasks.0.name", "task", "tasks.0.name"),
        ("tasks.0.name", "x" * 51, "tasks.0.name"),
        ("tasks.0.name", "hello world", "tasks.0.name"),
        ("tasks.0.file", ..., "tasks.0.file"),
        ("tasks.0.file", 7, "tasks.0.file"),
        ("tasks.0.rebuildOn", ..., "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", [], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", "node:15", "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", [15], "tasks.0.rebuildOn.0"),
        ("tasks.0.rebuildOn", ["node"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["node:"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["base*/node:15"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["Node:15"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["node:15 alpine"], "tasks.0.rebuildOn"),
        ("tasks.0.exclude", "*-amd64", "tasks.0.exclude"),
        ("tasks.0.exclude", [15], "tasks.0.exclude.0"),
        ("tasks.0.exclude", ["*:*"], "tasks.0.exclude"),
        ("tasks.0.exclude", ["baseimages/node"], "tasks.0.exclude"),
        ("tasks.0.registries", ..., "tasks.0.registries"),
        ("tasks.0.registries", {}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": True}, "tasks.0.registries.tags.base-image-rebuilds"),
        ("tasks.0.registries", {"names": ["myregistry"]}, "tasks.0.registries.names"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": "Disabled"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": " paused"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": ""}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"team": "web", "Team": "web"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"team/web": "yes"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"": "yes"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"team": "x" * 257}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"x" * 513: "yes"}, "tasks.0.registries.tags"),
        ("tasks.0.values", {"port": 8080}, "tasks.0.values.port"),
        ("tasks.0.values", {"my-value": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"1st": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"registryName": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"baseDigest": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"image": "$(reboot)"}, "tasks.0.values"),
        ("tasks.0.values", {"contextUrl": "ssh://git@github.com/contoso/shop.git"}, "tasks.0.values"),
        ("tasks.0.timeout", 299, "tasks.0.timeout"),
        ("tasks.0.timeout", 28801, "tasks.0.timeout"),
        ("tasks.0.timeout", "an hour", "tasks.0.timeout"),
        ("tasks.0.platform", {"os": "linux"}, "tasks.0.platform.os"),
        ("tasks.0.platform", {"architecture": "s390x"}, "tasks.0.platform.architecture"),
        ("tasks.0.trigger", {}, "tasks.0.trigger"),
        ("base_registries", "x", "base_registries"),
    ],
)
def test_wrong_member_is_named(path: str, value: Any, field: str, folder: Path) -> None:
    said = refusal(replaced(policy_document(), path, value), folder)

    assert said.startswith("rebuilds.yaml is wrong. ")
    assert re.search(rf" {re.escape(field)}(\.0)?: ", said), said


def test_everything_that_is_wrong_is_named_at_once(folder: Path) -> None:
    said = refusal({"baseRegistry": "x", "tasks": [task_document(timeout=1, values={"image": "a b"})]}, folder)

    for field in ("baseRegistry: ", "identity: ", "tasks.0.timeout: ", "tasks.0.values: "):
        assert field in said


@pytest.mark.parametrize("second", ["helloworldtask", "HelloWorldTask"])
def test_two_tasks_of_one_name_are_refused(second: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(), task_document(name=second)), folder)

    assert "tasks: two tasks are called 'helloworldtask'" in said

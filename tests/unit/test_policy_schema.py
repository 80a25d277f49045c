"""The policy's schema is the model's, and says of a policy what the app says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.checks import policy_schema
from shared.adapters import policy_file
from shared.domain.errors import ConfigurationError
from tests.builders import SUBSCRIPTION, policy_document, registry_id, replaced, task_document

POLICY = policy_schema.TARGET.with_name("rebuilds.yaml")
EXAMPLES = sorted((POLICY.parents[1] / "docs" / "examples").glob("*.yaml"))

Rows = list[tuple[str, Any]]

TAKEN: Rows = [
    ("baseRegistry", "MyBaseRegistry"),
    ("baseRegistry", registry_id("mybaseregistry")),
    ("baseRegistry", registry_id("mybaseregistry").upper()),
    ("identity", {"type": "SystemAssigned"}),
    ("identity.name", "a-1"),
    ("identity.resourceGroup", "x" * 90),
    ("identity.subscription", SUBSCRIPTION),
    ("identity.subscription", None),
    ("tags", {}),
    ("tags", {"costCenter": "CC-4711"}),
    ("tags", {f"tag{number}": "x" for number in range(49)}),
    ("tasks", [task_document(), task_document(name="other")]),
    ("tasks.0.rebuildOn", ["baseimages/node:15-*", "baseimages/python:3.*"]),
    ("tasks.0.exclude", []),
    ("tasks.0.exclude", ["15-alpine3.1*"]),
    ("tasks.0.registries.tags", {"team": "web"}),
    ("tasks.0.values", ...),
    ("tasks.0.values", {"image_1": "x"}),
    ("tasks.0.timeout", 300),
    ("tasks.0.timeout", 28800),
    ("tasks.0.timeout", 600.0),
    ("tasks.0.platform", {}),
    ("tasks.0.platform", {"os": "Windows"}),
    ("tasks.0.platform", {"architecture": "386"}),
]

REFUSED: Rows = [
    ("base_registry", "mybaseregistry"),
    ("baseRegistry", ...),
    ("baseRegistry", "my-base-registry"),
    ("baseRegistry", "https://example.com/mybaseregistry"),
    ("baseRegistry", registry_id("mybaseregistry").removeprefix("/")),
    ("identity", "SystemAssigned"),
    ("identity", {"type": "SystemAssigned", "name": "x"}),
    ("identity.type", ...),
    ("identity.type", "Any"),
    ("identity.name", "id"),
    ("identity.resource_group", "myResourceGroup"),
    ("identity.resourceGroup", ""),
    ("identity.subscription", "my-subscription"),
    ("tags", ["costCenter"]),
    ("tags", {"costCenter": 4711}),
    ("tags", {f"tag{number}": "x" for number in range(50)}),
    ("tasks", {}),
    ("tasks", []),
    ("tasks.0", "helloworldtask"),
    ("tasks.0.name", "task"),
    ("tasks.0.file", ...),
    ("tasks.0.file", 7),
    ("tasks.0.file", {"name": "task.yaml", "content": "steps: []"}),
    ("tasks.0.content", "steps: []"),
    ("tasks.0.problem", "none"),
    ("tasks.0.rebuild_on", ["baseimages/node:15-alpine"]),
    ("tasks.0", {**task_document(rebuildOn=None), "rebuild_on": ["baseimages/node:15-alpine"]}),
    ("tasks.0.rebuildOn", "baseimages/node:15-alpine"),
    ("tasks.0.rebuildOn", [15]),
    ("tasks.0.rebuildOn", []),
    ("tasks.0.rebuildOn", ["baseimages/node:15", "baseimages/node:15"]),
    ("tasks.0.exclude", None),
    ("tasks.0.exclude", ["15-a*", "15-a*"]),
    ("tasks.0.registries", {"names": ["myregistry"]}),
    ("tasks.0.registries.tags", {}),
    ("tasks.0.registries.tags", {"base-image-rebuilds": True}),
    ("tasks.0.values", {"port": 8080}),
    ("tasks.0.values", {"my-value": "x"}),
    ("tasks.0.values", {"baseDigest": "x"}),
    ("tasks.0.timeout", 60),
    ("tasks.0.timeout", 28801),
    ("tasks.0.timeout", 600.5),
    ("tasks.0.timeout", "600"),
    ("tasks.0.timeout", True),
    ("tasks.0.timeout", None),
    ("tasks.0.platform", {"os": "linux"}),
    ("tasks.0.platform", {"architecture": 386}),
    ("tasks.0.platform", None),
]

REFUSED_BY_THE_APP_ALONE: Rows = [
    ("tags", {"a<b": "x"}),
    ("tasks", [task_document(), task_document(name="HelloWorldTask")]),
    ("tasks.0.file", "missing.yaml"),
    ("tasks.0.rebuildOn", ["baseimages/node"]),
    ("tasks.0.rebuildOn", ["docker.io/library/node:15"]),
    ("tasks.0.rebuildOn", ["baseimages/node:15", "mybaseregistry.azurecr.io/baseimages/node:15"]),
    ("tasks.0.exclude", ["*"]),
    ("tasks.0.registries.tags", {"base-image-rebuilds": "disabled"}),
    ("tasks.0.values", {"image": "$(reboot)"}),
]
"""What takes more than a schema to tell: what names mean, and how fields stand to each other."""


def complaints(*arguments: str | Path) -> str:
    """Return what check-jsonschema complains of, or ""."""
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def taken_by_the_schema(rows: Rows, folder: Path) -> Rows:
    files = [folder / f"row-{number}.json" for number in range(len(rows))]
    for file, (path, value) in zip(files, rows, strict=True):
        file.write_text(json.dumps(replaced(policy_document(), path, value)), encoding="utf-8")
    said = complaints("--output-format", "json", "--schemafile", policy_schema.TARGET, *files)
    refused = {Path(error["filename"]) for error in json.loads(said)["errors"]} if said else set()
    return [row for file, row in zip(files, rows, strict=True) if file not in refused]


def taken_by_the_app(rows: Rows, folder: Path) -> Iterator[tuple[str, Any]]:
    for path, value in rows:
        try:
            policy_file.parse(json.dumps(replaced(policy_document(), path, value)), folder)
        except ConfigurationError:
            continue
        yield path, value


@pytest.mark.parametrize(
    ("rows", "by_the_app", "by_the_schema"),
    [(TAKEN, TAKEN, TAKEN), (REFUSED, [], []), (REFUSED_BY_THE_APP_ALONE, [], REFUSED_BY_THE_APP_ALONE)],
    ids=["taken", "refused", "refused by the app alone"],
)
def test_app_and_schema_agree_on_what_is_a_policy(
    rows: Rows, by_the_app: Rows, by_the_schema: Rows, folder: Path
) -> None:
    assert list(taken_by_the_app(rows, folder)) == by_the_app
    assert taken_by_the_schema(rows, folder) == by_the_schema


def test_schema_is_the_models() -> None:
    assert policy_schema.TARGET.read_text(encoding="utf-8") == policy_schema.text(), "run: make policy-schema"


def test_schema_is_one() -> None:
    assert complaints("--check-metaschema", policy_schema.TARGET) == ""


def test_every_field_is_described() -> None:
    schema = json.loads(policy_schema.text())
    parts = {"Policy": schema, **schema["$defs"]}
    fields = {f"{part}.{name}": field for part in parts for name, field in parts[part]["properties"].items()}

    assert "UserAssigned.resourceGroup" in fields
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_policy_that_ships_keeps_the_schema_and_names_it_to_editors() -> None:
    assert complaints("--schemafile", policy_schema.TARGET, POLICY) == ""
    first, _ = POLICY.read_text(encoding="utf-8").split("\n", 1)
    assert first == f"# yaml-language-server: $schema=./{policy_schema.TARGET.name}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_a_policy_as_the_app_and_its_schema_have_it(example: Path) -> None:
    policy_file.parse(example.read_text(encoding="utf-8"), example.parent, example.name)
    assert complaints("--schemafile", policy_schema.TARGET, example) == ""


def test_examples_are_of_both_kinds_of_identity() -> None:
    assert {example.stem for example in EXAMPLES} == {"one-identity", "own-identities"}

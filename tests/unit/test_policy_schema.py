"""The policy's schema is the model's, and says of a policy what the app says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.checks import policy_schema
from shared.adapters import policy_file
from tests.builders import SUBSCRIPTION, policy_document, registry_id, replaced

POLICY = policy_schema.TARGET.with_name("rebuilds.yaml")
EXAMPLES = sorted((POLICY.parents[1] / "docs" / "examples").glob("*.yaml"))


def complaints(*arguments: str | Path) -> str:
    """Return what check-jsonschema complains of, or ""."""
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def judged(document: Any, folder: Path) -> str:
    (folder / "rebuilds.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return complaints("--schemafile", policy_schema.TARGET, folder / "rebuilds.yaml")


def test_schema_is_the_models() -> None:
    assert policy_schema.TARGET.read_text(encoding="utf-8") == policy_schema.text(), "run: make policy-schema"


def test_schema_is_one() -> None:
    assert complaints("--check-metaschema", policy_schema.TARGET) == ""


def test_policy_that_ships_keeps_the_schema_and_names_it_to_editors() -> None:
    assert complaints("--schemafile", policy_schema.TARGET, POLICY) == ""
    first, _ = POLICY.read_text(encoding="utf-8").split("\n", 1)
    assert first == f"# yaml-language-server: $schema=./{policy_schema.TARGET.name}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("baseRegistry", registry_id("mybaseregistry")),
        ("identity", {"type": "SystemAssigned"}),
        ("identity.subscription", SUBSCRIPTION),
        ("tags", {"costCenter": "CC-4711"}),
        ("tasks.0.exclude", ["15-alpine3.1*"]),
        ("tasks.0.platform", {"os": "Windows"}),
    ],
)
def test_what_the_app_takes_keeps_the_schema(path: str, value: Any, tmp_path: Path) -> None:
    assert judged(replaced(policy_document(), path, value), tmp_path) == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("baseRegistry", "my-base-registry"),
        ("baseRegistry", ...),
        ("identity.type", "Any"),
        ("tags", {"costCenter": 4711}),
        ("tasks", []),
        ("tasks.0.rebuildOn", "baseimages/node:15-alpine"),
        ("tasks.0.rebuild_on", ["baseimages/node:15-alpine"]),
        ("tasks.0.content", "steps: []"),
        ("tasks.0.problem", "none"),
        ("tasks.0.timeout", 60),
    ],
)
def test_what_the_app_refuses_breaks_the_schema(path: str, value: Any, tmp_path: Path) -> None:
    assert "rebuilds.yaml" in judged(replaced(policy_document(), path, value), tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_a_policy_as_the_app_and_its_schema_have_it(example: Path) -> None:
    policy_file.parse(example.read_text(encoding="utf-8"), example.parent, example.name)
    assert complaints("--schemafile", policy_schema.TARGET, example) == ""


def test_there_are_examples() -> None:
    assert {example.stem for example in EXAMPLES} == {"one-identity", "own-identities"}

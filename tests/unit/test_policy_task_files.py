"""The files of a policy's tasks: where they may lie, and what must be in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import TASK_FILE, policy_document, task_document
from tests.unit.policies import parse, refusal


@pytest.mark.parametrize("name", ["../outside.yaml", "sub/../../outside.yaml", "/etc/hostname", ".."])
def test_task_file_outside_the_policys_folder_is_refused(name: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(file=name)), folder)

    assert f"tasks.0.file: {name!r} lies outside the policy's folder" in said


def test_link_to_a_task_file_outside_the_policys_folder_is_refused(folder: Path) -> None:
    (folder / "link.yaml").symlink_to(folder.parent / "outside.yaml")

    assert "lies outside the policy's folder" in refusal(policy_document(task_document(file="link.yaml")), folder)


@pytest.mark.parametrize("name", ["missing.yaml", "", ".", "nul\0.yaml", "x" * 300])
def test_task_file_that_cannot_be_read_is_named(name: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(name="second"), task_document(file=name)), folder)

    assert f"tasks.1.file: {name!r} cannot be read" in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"steps: [", "is not YAML"),
        (b"- {{.Values.image}}: 1", "has no steps"),
        (b"steps: [{{.Values.image}}", "is not YAML"),
        (b"steps: [{cmd: {{.Values.image}]", "not closed"),
        (b"\xff\xfe\xfd", "cannot be read"),
        (b"", "has no steps"),
        (b"FROM node:15", "has no steps"),
        (b"- build: .", "has no steps"),
        (b"version: v1.1.0", "has no steps"),
        (b"steps: []", "has no steps"),
        (b"steps: build", "has no steps"),
    ],
)
def test_task_file_that_is_no_task_is_refused(content: bytes, problem: str, folder: Path) -> None:
    (folder / "task.yaml").write_bytes(content)

    said = refusal(policy_document(), folder)

    assert "tasks.0.file: 'task.yaml'" in said
    assert problem in said


def test_every_task_file_that_is_broken_is_named(folder: Path) -> None:
    tasks = [task_document(name=name, file=f"{name}.yaml") for name in ("first", "other")]

    said = refusal(policy_document(*tasks), folder)

    assert "tasks.0.file: 'first.yaml' cannot be read" in said
    assert "tasks.1.file: 'other.yaml' cannot be read" in said


def test_task_file_is_read_with_the_values_of_its_own_task(folder: Path) -> None:
    (folder / "task.yaml").write_text("steps: [{cmd: bash}]\n{{.Values.more}}\n")
    sound, broken = task_document(), task_document(name="other", values={"more": "bash"})

    assert parse(policy_document(sound), folder).broken == ()
    assert "tasks.1.file: 'task.yaml' is not YAML" in refusal(policy_document(sound, broken), folder)


def test_task_file_is_read_with_the_values_that_every_run_gives(folder: Path) -> None:
    (folder / "task.yaml").write_text("steps: [{cmd: bash}]\n{{.Values.baseTag}}\n")

    assert "is not YAML" in refusal(policy_document(), folder)


@pytest.mark.parametrize("name", [7, ["task.yaml"], {"name": "task.yaml", "content": TASK_FILE}])
def test_task_file_is_named_and_not_written_into_the_policy(name: object, folder: Path) -> None:
    said = refusal(policy_document(task_document(file=name)), folder)

    assert "tasks.0.file: must be text: the name of a task file" in said


@pytest.mark.parametrize("values", ["x", ["x"], {"image": 7}, {7: "x"}, {"image": {"x": "y"}}])
def test_values_that_are_none_are_refused_as_such_whatever_the_task_file_makes_of_them(
    values: object, folder: Path
) -> None:
    assert " tasks.0.values" in refusal(policy_document(task_document(values=values)), folder)

"""The policy's file: text that is no policy is refused, and changes are noticed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters import policy_file
from shared.adapters.policy_file import PolicyFile
from shared.domain.errors import ConfigurationError
from tests.builders import TASK_FILE, policy_document, task_document
from tests.unit.policies import refusal

FOLDER = Path(__file__).resolve().parents[2] / "policy"


@pytest.mark.parametrize("text", ["tasks: [", "a: b: c", "\x00", "a: 2026-13-45", "a: 0b_", "[" * 3000, "!!python/x 1"])
def test_text_that_is_no_yaml_is_refused(text: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^rebuilds\.yaml is not YAML"):
        policy_file.parse(text, folder, "rebuilds.yaml")


@pytest.mark.parametrize("document", [None, [], ["tasks"], "tasks", 7])
def test_policy_that_is_no_mapping_is_refused(document: Any, folder: Path) -> None:
    assert "must be a mapping with baseRegistry, identity and tasks" in refusal(document, folder)


@given(st.text())
def test_any_other_text_is_refused_in_our_words(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^policy"):
        policy_file.parse(text, FOLDER)


def write(path: Path, text: str, at: float) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


def test_policy_is_read_again_when_it_or_a_task_file_changes(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(path, yaml.safe_dump(policy_document()), at=1000)
    first = file.load()
    assert file.load() is first

    write(path, yaml.safe_dump(policy_document(task_document(timeout=600))), at=2000)
    assert file.load().tasks[0].timeout == 600

    write(folder / "task.yaml", TASK_FILE.replace("-t ", "--no-cache -t "), at=3000)
    assert "--no-cache" in file.load().tasks[0].file.content


def test_policy_may_leave_a_task_file_behind(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(path, yaml.safe_dump(policy_document()), at=1000)
    file.load()

    (folder / "task.yaml").rename(folder / "renamed.yaml")
    write(path, yaml.safe_dump(policy_document(task_document(file="renamed.yaml"))), at=2000)

    assert file.load().tasks[0].file.name == "renamed.yaml"


def test_policy_that_breaks_is_loud_until_it_is_mended(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(path, yaml.safe_dump(policy_document()), at=1000)
    file.load()

    write(path, "tasks: []", at=2000)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"rebuilds\.yaml is wrong"):
            file.load()

    write(path, yaml.safe_dump(policy_document()), at=3000)
    assert file.load().base_registry == "mybaseregistry"


def test_task_file_that_breaks_is_a_problem_of_its_task_until_it_is_mended(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(
        path, yaml.safe_dump(policy_document(task_document(), task_document(name="other", file="other.yaml"))), at=1000
    )
    for _ in range(2):
        sound, broken = file.load().tasks
        assert sound.problem == ""
        assert "tasks.1.file: 'other.yaml' cannot be read" in broken.problem

    write(folder / "other.yaml", TASK_FILE, at=2000)
    assert [task.problem for task in file.load().tasks] == ["", ""]

    write(folder / "other.yaml", "steps: []", at=3000)
    assert [task.name for task in file.load().broken] == ["other"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_policy_that_cannot_be_read_names_the_setting(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "rebuilds.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"rebuilds\.yaml cannot be read.*GROUNDSWELL_POLICY"):
        PolicyFile(path).load()

"""A development container and pre-commit are told versions that the project runs on and targets that `make` has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def container() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    return found


def hooks() -> list[dict[str, Any]]:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    # Hooks of elsewhere would bring other versions of the tools than `make check` runs.
    assert repository["repo"] == "local"
    found: list[dict[str, Any]] = repository["hooks"]
    return found


def test_container_has_the_newest_python_and_the_oldest_node_that_do() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    *_, newest = re.findall(
        r"3\.\d+", re.findall(r"^# Needed on the machine: Python (.*) with venv", makefile, re.M)[0]
    )
    (oldest,) = re.findall(r"^\d+", json.loads((ROOT / "package.json").read_text())["engines"]["node"].lstrip(">="))
    assert container()["image"] == f"mcr.microsoft.com/devcontainers/python:{newest}"
    assert container()["features"] == {"ghcr.io/devcontainers/features/node:1": {"version": oldest}}


def test_hooks_are_the_fast_checks_of_the_whole_tree() -> None:
    assert [hook["entry"] for hook in hooks()] == ["make check-format", "make check-lint", "make check-types"]
    for hook in hooks():
        # Names of files would be taken for targets of make.
        assert (hook["language"], hook["pass_filenames"]) == ("system", False)


@pytest.mark.parametrize("command", [container()["postCreateCommand"], *(hook["entry"] for hook in hooks())])
def test_make_targets_that_they_name_exist(command: str) -> None:
    assert re.fullmatch(r"make [a-z-]+", command)
    dry = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr

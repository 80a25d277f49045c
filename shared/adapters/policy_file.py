"""The policy's file: reads it and the task files that it names, and says by the field what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.adapters import task_file
from shared.domain.errors import ConfigurationError
from shared.domain.policy import RESERVED_VALUES, Policy


class PolicyFile:
    """A policy's file, which is read again only when it, or a task file that it names, has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[Policy, list[float]] | None = None

    def load(self) -> Policy:
        """Return the policy as the files are now. A task whose file is broken has a `problem`.

        Raises:
            ConfigurationError: The file is missing or wrong.
        """
        if self._read:
            policy, stamps = self._read
            # What is broken may be mended in ways that leave no stamp: a right to read the file, say.
            if not policy.broken and stamps == self._stamps(policy):
                return policy
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The policy {self._path} cannot be read ({error}); see GROUNDSWELL_POLICY."
            ) from error
        policy = parse(text, self._path.parent, str(self._path), strict=False)
        self._read = policy, self._stamps(policy)
        return policy

    def _stamps(self, policy: Policy) -> list[float]:
        return [_stamp(self._path), *(_stamp(self._path.parent / task.file.name) for task in policy.tasks)]


def _stamp(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return 0.0


def parse(text: str, folder: Path, source: str = "policy", *, strict: bool = True) -> Policy:
    """Parse a policy, read the task files that it names, and validate it as a whole.

    Args:
        strict: Refuse the policy if a task file is broken. Otherwise that task has a `problem`, and the others go on.

    Raises:
        ConfigurationError: The text names every field that is wrong.
    """
    document = _yaml(text, source)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{source} must be a mapping with baseRegistry, identity and tasks.")
    try:
        policy = Policy.of(_with_task_files(document, folder, source))
    except ValidationError as error:
        problems = "; ".join(f"{_path(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise ConfigurationError(f"{source} is wrong. {problems}") from error
    if strict and policy.broken:
        raise ConfigurationError(" ".join(task.problem for task in policy.broken))
    return policy


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part not in ("UserAssigned", "SystemAssigned")) or "policy"


def _with_task_files(document: dict[str, Any], folder: Path, source: str) -> dict[str, Any]:
    """Put the files themselves where a document names them; what is malformed stays as it is, to be refused."""
    tasks = document.get("tasks")
    if not isinstance(tasks, list):
        return document
    found = [_with_task_file(task, folder, f"{source}: tasks.{index}.file") for index, task in enumerate(tasks)]
    return {**document, "tasks": found}


def _with_task_file(task: Any, folder: Path, field: str) -> Any:
    if not isinstance(task, dict) or not isinstance(task.get("file"), str):
        return task
    given = task.get("values")
    values = {name: value for name, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}
    values |= dict.fromkeys(RESERVED_VALUES, "x")
    return {**task, "file": task_file.read(folder, task["file"], values, field)}


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{source} is not YAML: {error.problem}{line}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-45
        raise ConfigurationError(f"{source} is not YAML: {type(error).__name__}.") from None

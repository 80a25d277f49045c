"""The policy's file: reads it and the task files that it names, and says by the field what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.domain import task_files
from shared.domain.echo import quoted
from shared.domain.errors import ConfigurationError
from shared.domain.policy import RESERVED_VALUES, Policy, TaskPolicy


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
        return [_stamp(self._path), *(_stamp(self._path.parent / task.file) for task in policy.tasks)]


def _stamp(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return 0.0


def parse(text: str, folder: Path, source: str = "policy", *, strict: bool = True) -> Policy:
    """Parse and validate a policy and read the task files it names.

    Args:
        strict: Refuse the policy if a task file is broken. Otherwise that task has a `problem`, and the others go on.

    Raises:
        ConfigurationError: The text names every field that is wrong.
    """
    document = _yaml(text, source)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{source} must be a mapping with baseRegistry, identity and tasks.")
    tasks = document.get("tasks")
    for index, task in enumerate(tasks if isinstance(tasks, list) else []):
        for field in ("content", "problem"):
            if isinstance(task, dict) and field in task:
                raise ConfigurationError(f"{source} is wrong. tasks.{index}.{field}: is read from the file, not given.")
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(f"{_path(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise ConfigurationError(f"{source} is wrong. {problems}") from error
    complete = []
    for index, task in enumerate(policy.tasks):
        try:
            found = {"content": _task_file(folder, task, f"{source}: tasks.{index}.file")}
        except ConfigurationError as error:
            if strict:
                raise
            found = {"problem": str(error)}
        complete.append(task.model_copy(update=found))
    return policy.model_copy(update={"tasks": tuple(complete)})


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part not in ("UserAssigned", "SystemAssigned")) or "policy"


def _task_file(folder: Path, task: TaskPolicy, field: str) -> str:
    name = quoted(task.file, 500)
    try:
        path = (folder / task.file).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{field}: {name} lies outside the policy's folder.")
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name that no file can have
        raise ConfigurationError(f"{field}: {name} cannot be read ({error}).") from None
    values = {**task.values, **dict.fromkeys(RESERVED_VALUES, "x")}
    if wrong := task_files.problem(content, values):
        raise ConfigurationError(f"{field}: {name} {wrong}.")
    return content


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{source} is not YAML: {error.problem}{line}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-45
        raise ConfigurationError(f"{source} is not YAML: {type(error).__name__}.") from None

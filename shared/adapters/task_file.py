"""A task's file: reads it below the policy's folder, and says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shared.domain import task_files
from shared.domain.echo import quoted
from shared.domain.task_files import TaskFile


def read(folder: Path, name: str, values: Mapping[str, str], field: str) -> TaskFile:
    """Return a task file with its content, or with what is wrong with it.

    Args:
        folder: The policy's, which it must not lie outside of.
        values: The values that a run gives to it, by name.
        field: Where the policy names it, for people.
    """
    shown = f"{field}: {quoted(name, 500)}"
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            return TaskFile(name, problem=f"{shown} lies outside the policy's folder.")
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name that no file can have
        return TaskFile(name, problem=f"{shown} cannot be read ({error}).")
    wrong = problem(content, values)
    return TaskFile(name, problem=f"{shown} {wrong}.") if wrong else TaskFile(name, content)


def problem(text: str, values: Mapping[str, str]) -> str:
    """Say what is wrong with a task file, to follow its name, or return "".

    A template that does more than name values, with or without a default, is not evaluated, and what it is part of not
    refused.

    Args:
        values: The values that a run gives to it, by name.
    """
    try:
        aliases = _yaml(task_files.alias_section(text, values))
        task_files.check(_yaml(task_files.rendered(text, values, aliases)))
    except task_files.Untold:
        return ""
    except task_files.Wrong as error:
        return str(error)
    return ""


class _Loader(yaml.SafeLoader):
    """Reads scalars as text and ignores tags, as ACR does where it expects text."""


def _construct(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value


_Loader.yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile("<<"))]}
_Loader.add_constructor(None, _construct)


def _yaml(text: str) -> Any:
    """Return the first document of a text."""
    try:
        return next(yaml.load_all(text, _Loader), None)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1} once rendered" if error.problem_mark else ""
        raise task_files.Wrong(f"is not YAML ({error.problem}{line})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise task_files.Wrong("is not YAML") from None

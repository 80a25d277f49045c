"""Task files: steps and their settings (https://aka.ms/acr/tasks/task-schema)."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dev.localazure.agent.errors import RunFailed


class _Loader(yaml.SafeLoader):
    """Reads a date as text and knows no tag that it would refuse, as Go's yaml.v2 does."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_multi_constructor("!", lambda loader, _, node: _plain(loader, node))

VERSIONS = ("1.0-preview-1", "v1.0.0", "v1.1.0")
DEFAULT_STEP_TIMEOUT = 600


class Step(BaseModel):
    """One step. Exactly one of `build`, `push` and `cmd` is set; `timeout` is in seconds."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, populate_by_name=True)

    id: str = ""
    build: str = ""
    push: list[str] = Field(default_factory=list)
    cmd: str = ""
    env: list[str] = Field(default_factory=list)
    when: list[str] = Field(default_factory=list)
    timeout: int = 0
    working_directory: str = Field("", alias="workingDirectory")
    network: str = ""
    ignore_errors: bool = Field(False, alias="ignoreErrors")
    tags: list[str] = Field(default_factory=list, exclude=True)


class TaskFile(BaseModel):
    """A task file. Keys that ACR knows and localazure has no use for are ignored, as ACR ignores unknown ones."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, populate_by_name=True)

    version: str = ""
    steps: list[Step] = Field(default_factory=list)
    step_timeout: int = Field(0, alias="stepTimeout")
    working_directory: str = Field("", alias="workingDirectory")
    env: list[str] = Field(default_factory=list)
    secrets: list[Any] = Field(default_factory=list)
    networks: list[Any] = Field(default_factory=list)


_PREFIX = "failed to unmarshal task before running: "
NETWORK = "acb_default_network"


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value


def parse(text: str) -> TaskFile:
    """Read a rendered task file and fill in the defaults of its steps.

    Raises:
        RunFailed: It is not YAML, not a task file, or needs what localazure does not have.
    """
    try:
        # What comes behind the first document is not looked at.
        loaded = next(yaml.load_all(text, _Loader), None)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _invalid(f"yaml: {line}{error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _invalid(f"yaml: {error}") from error
    if not isinstance(loaded, dict):
        raise _invalid("yaml: unmarshal errors: a mapping with `steps` is expected")
    # `key:` with nothing behind it means "not set" in Go, whatever the type.
    steps = [_without_nulls(step) for step in loaded.get("steps") or []]
    try:
        task = TaskFile.model_validate({**_without_nulls(loaded), "steps": steps})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _invalid(f"yaml: unmarshal errors: {where}: {first['msg']}") from error
    if task.version and task.version.lower() not in VERSIONS:
        raise RunFailed(f'{_PREFIX}invalid version specified: "{task.version}", the current version is "v1.0.0"')
    if task.secrets:
        raise RunFailed("failed to resolve secrets in the task with error: localazure has no Key Vault to read from")
    for number, step in enumerate(task.steps):
        step.id = step.id or f"acb_step_{number}"
        step.timeout = step.timeout if step.timeout > 0 else task.step_timeout or DEFAULT_STEP_TIMEOUT
        step.working_directory = step.working_directory or task.working_directory
        step.network = step.network or ("" if task.networks else NETWORK)
        own = {pair.partition("=")[0] for pair in step.env}
        step.env += [pair for pair in task.env if pair.partition("=")[0] not in own]
    return task


def check(task: TaskFile) -> None:
    """Check steps and what they wait for. A step may only wait for one above it, so their order is a valid one.

    Raises:
        RunFailed: A step is malformed.
    """
    seen: set[str] = set()
    for step in task.steps:
        kinds = [bool(step.cmd), bool(step.build), bool(step.push)]
        problem = None
        if sum(kinds) > 1:
            problem = "step must only contain a single build, cmd, or push property"
        elif " " in step.id:
            problem = "step ID cannot contain spaces"
        elif not any(kinds):
            problem = "step is missing a cmd, build, or push property"
        elif step.id in step.when:
            problem = f"Step ID: {step.id} is self-referenced"
        elif "-" in step.when and len(step.when) > 1:
            problem = "step cannot contain other IDs in when if the immediate execution token is specified"
        elif step.id in seen:
            problem = f"{step.id} already exists as a vertex"
        elif missing := [name for name in step.when if name != "-" and name not in seen]:
            problem = f"{missing[0]} does not exist as a vertex [from: {missing[0]}, to: {step.id}]"
        if problem:
            raise RunFailed(_PREFIX + problem)
        seen.add(step.id)


def _without_nulls(mapping: Any) -> Any:
    return {k: v for k, v in mapping.items() if v is not None} if isinstance(mapping, dict) else mapping


def _invalid(why: str) -> RunFailed:
    return RunFailed(f"{_PREFIX}failed to deserialize task and validate: {why}")

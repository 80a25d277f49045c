"""The rebuild policy: the platform team's one file, and who is affected by it.

The file is validated as a whole on load, with messages that name the field; the decisions are pure functions.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from shared import images
from shared.errors import ConfigurationError, TemporaryError
from shared.images import BaseImage

OPT_TAG = "base-image-rebuilds"
"""ARM tag by which a team opts in (`enabled`), out (`disabled`) or pauses (`paused`); `…rebuilds.<value>` overrides."""

RESERVED_VALUES = frozenset({"registryName", "baseRepository", "baseTag", "baseDigest"})
"""Values that Groundswell itself gives to a task."""

SPEC_TAG = "groundswell-spec"
"""ARM tag of a task that holds the fingerprint of what Groundswell wrote: lists show it."""

MOST_TAGS = 50
"""How many tags a resource can have (https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources)."""

# Names and values: the same page. Prefixes: https://learn.microsoft.com/rest/api/resources/tags/create-or-update.
_TAG_NAME = re.compile(r"[^<>%&\\?/\x00-\x1f\x7f]{1,512}")
_AZURES_PREFIXES = ("microsoft", "azure", "windows")

# Values are spliced as text into a command line, so only what an image reference or a git URL can hold is let in.
# A colon at the end would turn the line that it ends into a YAML mapping.
_VALUE = re.compile(r"[A-Za-z0-9_./:@][A-Za-z0-9_./:@#+~%=-]{0,255}(?<!:)")
_TAG_GLOB = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,128}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class UserAssigned(_Part):
    """One user-assigned identity for the whole fleet; it is created if it is missing."""

    type: Literal["UserAssigned"]
    # https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftmanagedidentity
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$")
    resource_group: str = Field(alias="resourceGroup", min_length=1, max_length=90)
    subscription: str | None = None


class SystemAssigned(_Part):
    """Every task has an identity of its own."""

    type: Literal["SystemAssigned"]


class Selector(_Part):
    """Which team registries get a task: all these ARM tags must match."""

    tags: dict[str, str] = Field(min_length=1)


class Platform(_Part):
    """What the task builds for."""

    os: Literal["Linux", "Windows"] = "Linux"
    architecture: Literal["amd64", "x86", "386", "arm", "arm64"] = "amd64"


class TaskPolicy(_Part):
    """One ACR task that selected team registries must have."""

    # https://learn.microsoft.com/rest/api/containerregistry/tasks/create
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{5,50}$")
    file: str
    rebuild_on: tuple[str, ...] = Field(alias="rebuildOn", min_length=1)
    registries: Selector
    values: dict[str, str] = Field(default_factory=dict)
    timeout: int = Field(default=3600, ge=300, le=28800, description="Seconds a run may take.")
    platform: Platform = Platform()
    content: str = Field(default="", exclude=True)
    problem: str = Field(
        default="", exclude=True, description="What is wrong with its file; it waits until that is mended."
    )

    @field_validator("rebuild_on")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            repository, _, tag = pattern.rpartition(":")
            if not images.is_repository(repository) or not _TAG_GLOB.fullmatch(tag):
                raise ValueError(f"{pattern!r} is not repository:tag (the tag may be a glob such as 15-*)")
        return patterns

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} cannot be the name of a value: use letters, digits and _")
            if name in RESERVED_VALUES:
                raise ValueError(f"{name!r} is given by Groundswell itself")
            if not is_safe_value(value):
                raise ValueError(f"value {name!r} holds characters that no image reference or git URL can hold")
        return values

    @property
    def encoded(self) -> str:
        """The task file in base64, as ACR takes it."""
        return base64.b64encode(self.content.encode()).decode()

    def builds_on(self, image: BaseImage) -> bool:
        """Tell whether a push of this image makes the task run."""
        return any(
            image.repository == pattern.rpartition(":")[0] and fnmatchcase(image.tag, pattern.rpartition(":")[2])
            for pattern in self.rebuild_on
        )

    @property
    def default_image(self) -> BaseImage | None:
        """The first base image that is named without a glob: what a run builds on when no push names one."""
        for pattern in self.rebuild_on:
            repository, _, tag = pattern.rpartition(":")
            if images.is_tag(tag):
                return BaseImage(repository, tag)
        return None


Identity = Annotated[UserAssigned | SystemAssigned, Field(discriminator="type")]


class Policy(_Part):
    """The whole policy."""

    # A name, to be found in the watched subscriptions, or an ARM id, so that the app needs no rights beside it.
    # https://learn.microsoft.com/rest/api/containerregistry/registries/create
    base_registry: str = Field(
        alias="baseRegistry",
        pattern=r"^((?i:/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft\.ContainerRegistry/registries/)"
        r")?[a-zA-Z0-9]{5,50}$",
    )
    identity: Identity
    tags: dict[str, str] = Field(default_factory=dict, description="On every resource that Groundswell creates.")
    tasks: tuple[TaskPolicy, ...] = Field(min_length=1)

    @field_validator("tags", mode="before")
    @classmethod
    def _text(cls, tags: Any) -> Any:
        for name, value in tags.items() if isinstance(tags, dict) else ():
            for text in (name, value):
                if not isinstance(text, str):
                    raise ValueError(f"{text!r} of tag {name!r} is no text: put it in quotes")
        return tags

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) >= MOST_TAGS:
            raise ValueError(f"{len(tags)} are too many: a task can have {MOST_TAGS}, and one is Groundswell's own")
        seen = set[str]()
        for name, value in tags.items():
            lower = name.lower()
            if not _TAG_NAME.fullmatch(name) or name != name.strip():
                raise ValueError(f"{name[:80]!r} cannot be the name of a tag: 1 to 512 characters, none of <>%&\\?/, "
                                 "no space at either end")  # fmt: skip
            if lower == SPEC_TAG or lower.partition(".")[0] == OPT_TAG:
                raise ValueError(f"{name!r} is a tag of Groundswell's own")
            if lower.startswith(_AZURES_PREFIXES):
                raise ValueError(f"{name!r} begins with {', '.join(_AZURES_PREFIXES)}: Azure keeps such names")
            if lower in seen:
                raise ValueError(f"{name!r} is there twice: Azure does not tell upper from lower case")
            if len(value) > 256:
                raise ValueError(f"the value of {name!r} has {len(value)} characters: 256 are the most")
            seen.add(lower)
        return tags

    @field_validator("tasks")
    @classmethod
    def _unique(cls, tasks: tuple[TaskPolicy, ...], _: ValidationInfo) -> tuple[TaskPolicy, ...]:
        names = [task.name.lower() for task in tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two tasks are called {twice[0]!r}")
        return tasks

    @property
    def base_name(self) -> str:
        """The base registry's name."""
        return self.base_registry.rpartition("/")[2]

    @property
    def broken(self) -> tuple[TaskPolicy, ...]:
        """The tasks whose files are broken."""
        return tuple(task for task in self.tasks if task.problem)

    def task(self, name: str) -> TaskPolicy | None:
        """Return the task with this name, in any casing."""
        return next((task for task in self.tasks if task.name.lower() == name.lower()), None)

    def builds_on(self, image: BaseImage) -> tuple[TaskPolicy, ...]:
        """Return the tasks that a push of this image makes run."""
        return tuple(task for task in self.tasks if task.builds_on(image))


class Selection(StrEnum):
    """What the policy says of a registry and a task."""

    SELECTED = "selected"
    PAUSED = "paused"
    OPTED_OUT = "opted-out"
    NOT_SELECTED = "not-selected"
    IS_BASE = "is-the-base-registry"


@dataclass(frozen=True)
class Values:
    """A task's values for one registry, and what was wrong with the team's overrides."""

    values: Mapping[str, str]
    problems: tuple[str, ...] = ()


def broken_task(task: TaskPolicy) -> TemporaryError:
    """Say why a task waits: its file may be mended at any moment."""
    return TemporaryError(f"Task {task.name} waits until its file is mended: {task.problem}")


def is_safe_value(value: str) -> bool:
    """Tell whether a value may be spliced into a task's command line."""
    return _VALUE.fullmatch(value) is not None


def select(policy: Policy, task: TaskPolicy, name: str, tags: Mapping[str, str]) -> Selection:
    """Decide whether a registry gets a task. ARM compares tag names without regard to case."""
    if name.lower() == policy.base_name.lower():
        return Selection.IS_BASE
    have = {key.lower(): value.lower() for key, value in tags.items()}
    opted = have.get(OPT_TAG, "")
    if opted == "disabled":
        return Selection.OPTED_OUT
    wanted = {key.lower(): value.lower() for key, value in task.registries.tags.items()}
    if opted == "paused" and all(have.get(key) == value for key, value in wanted.items() if key != OPT_TAG):
        return Selection.PAUSED
    return Selection.SELECTED if wanted.items() <= have.items() else Selection.NOT_SELECTED


def values_for(task: TaskPolicy, tags: Mapping[str, str]) -> Values:
    """Return a task's values for a registry: the policy's, overridden by tags `base-image-rebuilds.<value>`.

    An override that is unknown or unsafe is left out and named in `problems`.
    """
    values, problems = dict(task.values), []
    by_name = {name.lower(): name for name in task.values}
    for tag, value in sorted(tags.items()):
        prefix, dot, wanted = tag.partition(".")
        if prefix.lower() != OPT_TAG or not dot:
            continue
        name = by_name.get(wanted.lower())
        if name is None:
            problems.append(f"tag {tag} overrides a value that task {task.name} does not have")
        elif not is_safe_value(value):
            problems.append(f"tag {tag} holds characters that no image reference or git URL can hold")
        else:
            values[name] = value
    return Values(values, tuple(problems))


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
            found = {"content": _task_file(folder, task.file, f"{source}: tasks.{index}.file")}
        except ConfigurationError as error:
            if strict:
                raise
            found = {"problem": str(error)}
        complete.append(task.model_copy(update=found))
    return policy.model_copy(update={"tasks": tuple(complete)})


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part not in ("UserAssigned", "SystemAssigned")) or "policy"


def _task_file(folder: Path, name: str, field: str) -> str:
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{field}: {name!r} lies outside the policy's folder.")
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name that no file can have
        raise ConfigurationError(f"{field}: {name!r} cannot be read ({error}).") from error
    document = _yaml(content, f"{field}: {name!r}")
    if not isinstance(document, dict) or not isinstance(document.get("steps"), list) or not document["steps"]:
        raise ConfigurationError(f"{field}: {name!r} has no steps.")
    return content


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-45
        raise ConfigurationError(f"{source} is not YAML: {error}") from error


_cache: dict[Path, tuple[list[float], Policy]] = {}


def load(path: Path) -> Policy:
    """Return the policy of a file; it is read again when the file, or a task file that it names, has changed.

    A task whose file is broken has a `problem`.

    Raises:
        ConfigurationError: The file is missing or wrong.
    """
    try:
        # What is broken may be mended in ways that leave no stamp: a right to read the file, say.
        if path not in _cache or _cache[path][1].broken or _cache[path][0] != _stamps(path, _cache[path][1]):
            policy = parse(path.read_text(encoding="utf-8"), path.parent, str(path), strict=False)
            _cache[path] = _stamps(path, policy), policy
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The policy {path} cannot be read ({error}); see GROUNDSWELL_POLICY.") from error
    return _cache[path][1]


def _stamps(path: Path, policy: Policy) -> list[float]:
    files = (path, *(path.parent / task.file for task in policy.tasks))
    return [_stamp(file) for file in files]


def _stamp(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return 0.0

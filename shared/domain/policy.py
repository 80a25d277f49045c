"""The rebuild policy: the platform team's one file, and who is affected by it.

`Policy.of` validates what the file holds as a whole; the decisions are pure functions.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, ValidationInfo, field_validator

from shared.domain import images, selectors
from shared.domain.echo import quoted, shown
from shared.domain.errors import TemporaryError
from shared.domain.images import BaseImage, Pattern
from shared.domain.selectors import OPT_TAG as OPT_TAG
from shared.domain.selectors import Selection as Selection
from shared.domain.selectors import Selector
from shared.domain.tags import LONGEST_VALUE, is_name
from shared.domain.task_files import TaskFile
from shared.domain.values import refusal

RESERVED_VALUES = frozenset({"registryName", "baseRepository", "baseTag", "baseDigest"})
"""Values that Groundswell itself gives to a task."""

_VALUE = "[A-Za-z][A-Za-z0-9_]*"

SPEC_TAG = "groundswell-spec"
"""ARM tag of a task that holds the fingerprint of what Groundswell wrote: lists show it."""

MOST_TAGS = 50
"""How many tags a resource can have (https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources)."""

# https://learn.microsoft.com/rest/api/resources/tags/create-or-update.
_AZURES_PREFIXES = ("microsoft", "azure", "windows")


class _Part(BaseModel):
    # An error would quote its input otherwise, and that may hold a credential.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UserAssigned(_Part):
    """One user-assigned identity for the whole fleet; it is created if it is missing."""

    type: Literal["UserAssigned"] = Field(description="One identity for the whole fleet.")
    # https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftmanagedidentity
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$",
        description="Its name: 3 to 128 letters, digits, - and _, beginning with a letter or digit.",
    )
    resource_group: str = Field(
        alias="resourceGroup", min_length=1, max_length=90, description="Where it is. The resource group must exist."
    )
    subscription: str | None = Field(
        default=None,
        pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        description="The subscription of its resource group, by its id. The base registry's, if it is left out.",
    )


class SystemAssigned(_Part):
    """Every task has an identity of its own."""

    type: Literal["SystemAssigned"] = Field(description="An identity for each task.")


class Platform(_Part):
    """What the task builds for."""

    os: Literal["Linux", "Windows"] = Field(default="Linux", description="The operating system.")
    architecture: Literal["amd64", "x86", "386", "arm", "arm64"] = Field(
        default="amd64", description="The processor; 386 in quotes."
    )


class Offboarding(_Part):
    """What becomes of what Groundswell made for a registry that leaves."""

    after: str = Field(
        default="7d",
        pattern=r"^[1-9][0-9]{0,3}[dh]$",
        description="How long it is left alone: days (7d) or hours (12h).",
    )
    action: Literal["delete", "keep"] = Field(
        default="keep", description="What happens then to its task, grants and identity."
    )

    @property
    def grace(self) -> timedelta:
        """How long what leaves is left alone."""
        number = int(self.after[:-1])
        return timedelta(days=number) if self.after.endswith("d") else timedelta(hours=number)


KEEP = Offboarding()


def _pattern(text: object, info: ValidationInfo[str], *, any_repository: bool = False) -> Pattern:
    if not isinstance(text, str):
        raise ValueError("must be text: repository:tag")
    return images.parse_pattern(text, registry=info.context, any_repository=any_repository)


def _tags(text: object, info: ValidationInfo[str]) -> Pattern:
    return _pattern(text, info, any_repository=True)


def _number(value: object) -> object:
    # To JSON Schema, "600" is no integer.
    if isinstance(value, str):
        raise ValueError("must be a number: write it without quotes")
    return value


def _found(file: object) -> TaskFile:
    if not isinstance(file, TaskFile):
        raise ValueError("must be text: the name of a task file")
    return file


_Images = Annotated[InstanceOf[Pattern], BeforeValidator(_pattern, json_schema_input_type=str)]
_ImagesOrTags = Annotated[InstanceOf[Pattern], BeforeValidator(_tags, json_schema_input_type=str)]
_File = Annotated[InstanceOf[TaskFile], BeforeValidator(_found, json_schema_input_type=str)]
_Seconds = Annotated[int, BeforeValidator(_number)]


class TaskPolicy(_Part):
    """One ACR task that selected team registries must have."""

    # https://learn.microsoft.com/rest/api/containerregistry/tasks/create
    name: str = Field(
        pattern=r"^[a-zA-Z0-9_-]{5,50}$",
        description="Its name in every registry: 5 to 50 letters, digits, - and _. No two differ in casing alone.",
    )
    file: _File = Field(description="An ACR task file, below the policy's folder.")
    rebuild_on: tuple[_Images, ...] = Field(
        alias="rebuildOn",
        min_length=1,
        description="Base images, as repository:tag in the base registry; the tag may be a glob such as 15-*.",
        json_schema_extra={"uniqueItems": True},
    )
    exclude: tuple[_ImagesOrTags, ...] = Field(
        default=(),
        description="What is left out of rebuildOn: repository:tag, or a tag or glob of all its repositories.",
        json_schema_extra={"uniqueItems": True},
    )
    registries: Selector = Field(description="Which team registries get the task.")
    values: dict[str, str] = Field(
        default_factory=dict,
        description="Values of the task file. A team overrides one by an ARM tag base-image-rebuilds.<value>.",
        json_schema_extra={"propertyNames": {"pattern": f"^{_VALUE}$", "not": {"enum": [*sorted(RESERVED_VALUES)]}}},
    )
    timeout: _Seconds = Field(default=3600, ge=300, le=28800, description="Seconds a run may take.")
    platform: Platform = Field(
        default=Platform(), description="What the task builds for: Linux on amd64 unless it says so."
    )

    @field_validator("rebuild_on", "exclude")
    @classmethod
    def _each_once(cls, patterns: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
        if twice := next((each for each in patterns if patterns.count(each) > 1), None):
            raise ValueError(f"{quoted(str(twice))} is written twice")
        return patterns

    @field_validator("exclude")
    @classmethod
    def _something_is_left(cls, exclude: tuple[Pattern, ...], info: ValidationInfo) -> tuple[Pattern, ...]:
        rebuild_on: tuple[Pattern, ...] = info.data.get("rebuild_on", ())
        for pattern in rebuild_on:
            if pattern.is_empty(without=exclude):
                raise ValueError(f"nothing is left of {quoted(str(pattern))} under rebuildOn")
        repositories = {"", *(pattern.repository for pattern in rebuild_on)}
        if rebuild_on and (idle := next((each for each in exclude if each.repository not in repositories), None)):
            raise ValueError(f"{quoted(str(idle))} excludes nothing: rebuildOn has no such repository")
        return exclude

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if not re.fullmatch(_VALUE, name):
                raise ValueError(f"{quoted(name)} cannot be the name of a value: use letters, digits and _")
            if name in RESERVED_VALUES:
                raise ValueError(f"{name!r} is given by Groundswell itself")
            if why := refusal(value):
                raise ValueError(f"value {name!r} {why}")
        return values

    @property
    def problem(self) -> str:
        """What is wrong with the task's file, or "": the task waits until that is mended."""
        return self.file.problem

    @property
    def encoded(self) -> str:
        """The task file in base64, as ACR takes it."""
        return base64.b64encode(self.file.content.encode()).decode()

    def builds_on(self, image: BaseImage) -> bool:
        """Tell whether a push of this image makes the task run."""
        return any(pattern.matches(image) for pattern in self.rebuild_on) and not any(
            pattern.matches(image) for pattern in self.exclude
        )

    @property
    def default_image(self) -> BaseImage | None:
        """The first base image that is named without a glob: what a run builds on when no push names one."""
        return next((pattern.image for pattern in self.rebuild_on if pattern.image), None)


@dataclass(frozen=True)
class Values:
    """A task's values for one registry, and what was wrong with the team's overrides."""

    values: Mapping[str, str]
    problems: tuple[str, ...] = ()


Identity = Annotated[UserAssigned | SystemAssigned, Field(discriminator="type")]


def _in_any_case(text: str) -> str:
    # What JSON Schema takes for a pattern (ECMA-262) has no (?i:).
    return re.sub("[A-Za-z]", lambda letter: f"[{letter[0].upper()}{letter[0].lower()}]", text)


# https://learn.microsoft.com/rest/api/containerregistry/registries/create
_REGISTRY = (
    f"({_in_any_case('/subscriptions/')}[0-9a-fA-F-]{{36}}{_in_any_case('/resourceGroups/')}[^/]+"
    f"{_in_any_case('/providers/Microsoft[.]ContainerRegistry/registries/')})?[a-zA-Z0-9]{{5,50}}"
)


class Policy(_Part):
    """The whole policy."""

    # A name, to be found in the watched subscriptions, or an ARM id, so that the app needs no rights beside it.
    base_registry: str = Field(
        alias="baseRegistry",
        description="The registry of base images, by its name or its ARM id.",
        json_schema_extra={"pattern": f"^{_REGISTRY}$"},
    )
    identity: Identity = Field(description="As whom tasks pull base images and push what they build.")
    tags: dict[str, str] = Field(
        default_factory=dict,
        description="ARM tags on every resource that Groundswell creates.",
        # One is Groundswell's own.
        json_schema_extra={"maxProperties": MOST_TAGS - 1},
    )
    offboarding: Offboarding = Field(default=KEEP, description="What becomes of the tasks of registries that leave.")
    tasks: tuple[TaskPolicy, ...] = Field(min_length=1, description="The ACR tasks that team registries get.")

    @classmethod
    def of(cls, document: Mapping[str, object]) -> Self:
        """Validate what the policy's file holds, with a `TaskFile` where it names one.

        Raises:
            ValidationError: It names every field that is wrong.
        """
        base = document.get("baseRegistry")
        # The base registry's host may stand before references, which are validated before anything knows its name.
        return cls.model_validate(document, context=_name(base) if isinstance(base, str) else "")

    @field_validator("base_registry")
    @classmethod
    def _registry(cls, text: str) -> str:
        if not re.fullmatch(_REGISTRY, text):
            raise ValueError("must be a registry's name (5 to 50 letters and digits) or its ARM id")
        return text

    @field_validator("tags", mode="before")
    @classmethod
    def _text(cls, tags: Any) -> Any:
        for name, value in tags.items() if isinstance(tags, dict) else ():
            for text in (name, value):
                if not isinstance(text, str):
                    raise ValueError(f"{quoted(text)} of tag {quoted(name)} is no text: put it in quotes")
        return tags

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) >= MOST_TAGS:
            raise ValueError(f"{len(tags)} are too many: a task can have {MOST_TAGS}, and one is Groundswell's own")
        seen = set[str]()
        for name, value in tags.items():
            lower = name.lower()
            if not is_name(name):
                raise ValueError(f"{quoted(name[:80])} cannot be the name of a tag: 1 to 512 characters, none of "
                                 "<>%&\\?/, no space at either end")  # fmt: skip
            if lower == SPEC_TAG or lower.partition(".")[0] == OPT_TAG:
                raise ValueError(f"{name!r} is a tag of Groundswell's own")
            if lower.startswith(_AZURES_PREFIXES):
                raise ValueError(f"{name!r} begins with {', '.join(_AZURES_PREFIXES)}: Azure keeps such names")
            if lower in seen:
                raise ValueError(f"{name!r} is there twice: Azure does not tell upper from lower case")
            if len(value) > LONGEST_VALUE:
                raise ValueError(f"the value of {name!r} has {len(value)} characters: {LONGEST_VALUE} are the most")
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
        return _name(self.base_registry)

    @property
    def broken(self) -> tuple[TaskPolicy, ...]:
        """The tasks whose files are broken."""
        return tuple(task for task in self.tasks if task.problem)

    def values(self, task: TaskPolicy, tags: Mapping[str, str]) -> Values:
        """Return a task's values for a registry with these tags, and what is wrong with the team's."""
        return values_for(task, tags, {name.lower() for each in self.tasks for name in each.values})

    def opt_problem(self, tags: Mapping[str, str]) -> str:
        """Say what is wrong with a team's tag `base-image-rebuilds`, or return ""."""
        asked = (task.registries.asked for task in self.tasks)
        words = (selectors.ENABLED, *(each for each in asked if each), selectors.PAUSED, selectors.DISABLED)
        return selectors.opt_problem(tuple(dict.fromkeys(words)), tags)

    def task(self, name: str) -> TaskPolicy | None:
        """Return the task with this name, in any casing."""
        return next((task for task in self.tasks if task.name.lower() == name.lower()), None)

    def builds_on(self, image: BaseImage) -> tuple[TaskPolicy, ...]:
        """Return the tasks that a push of this image makes run."""
        return tuple(task for task in self.tasks if task.builds_on(image))


def _name(registry: str) -> str:
    return registry.rpartition("/")[2]


def broken_task(task: TaskPolicy) -> TemporaryError:
    """Say why a task waits: its file may be fixed at any moment."""
    return TemporaryError(f"Task {task.name} waits until its file is fixed: {task.problem}")


def select(policy: Policy, task: TaskPolicy, name: str, tags: Mapping[str, str]) -> Selection:
    """Decide whether a registry gets a task."""
    return Selection.IS_BASE if name.lower() == policy.base_name.lower() else task.registries.select(tags)


def values_for(task: TaskPolicy, tags: Mapping[str, str], elsewhere: Collection[str] = ()) -> Values:
    """Return a task's values for a registry: the policy's, overridden by tags `base-image-rebuilds.<value>`.

    An override that is unknown or unsafe is left out and named in `problems`: while there are any, nothing may be run.

    Args:
        elsewhere: Values that other tasks have, in lower case: to override them is no mistake.
    """
    values, problems = dict(task.values), []
    by_name = {name.lower(): name for name in task.values}
    for tag, value in sorted(tags.items()):
        prefix, dot, wanted = tag.partition(".")
        if prefix.lower() != OPT_TAG or not dot:
            continue
        name = by_name.get(wanted.lower())
        if name is None and wanted.lower() in elsewhere:
            continue
        if name is None:
            problems.append(f"tag {shown(tag)} overrides a value that task {task.name} does not have")
        elif why := refusal(value):
            problems.append(f"tag {shown(tag)} {why}")
        else:
            values[name] = value
    return Values(values, tuple(problems))

"""Which registries get a task: the policy's selector, and the tag with which a team says yes or no."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.domain.echo import quoted
from shared.domain.tags import LONGEST_VALUE, is_name

OPT_TAG = "base-image-rebuilds"
"""ARM tag by which a team opts in (`enabled`), out (`disabled`) or pauses (`paused`); `…rebuilds.<value>` overrides."""

ENABLED, PAUSED, DISABLED = "enabled", "paused", "disabled"

_LONGEST_WORD = 20


class Selection(StrEnum):
    """What the policy says of a registry and a task."""

    SELECTED = "selected"
    PAUSED = "paused"
    OPTED_OUT = "opted-out"
    NOT_SELECTED = "not-selected"
    IS_BASE = "is-the-base-registry"


class Selector(BaseModel):
    """Which team registries get a task: all these ARM tags must match."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tags: dict[str, str] = Field(min_length=1, description="ARM tags by name, and what each must say.")

    @field_validator("tags")
    @classmethod
    def _can_match(cls, tags: dict[str, str]) -> dict[str, str]:
        names = [name.lower() for name in tags]
        for name, value in tags.items():
            if names.count(name.lower()) > 1:
                raise ValueError(f"{quoted(name)} is written twice, and the names of ARM tags have no casing")
            if not is_name(name) or len(value) > LONGEST_VALUE:
                raise ValueError(f"no ARM tag can have the name {quoted(name)}, or such a long value")
            if name.lower() == OPT_TAG and word(value) in ("", PAUSED, DISABLED):
                raise ValueError(f"{OPT_TAG}={word(value)} can select nothing: with it a team says no")
        return tags

    @property
    def asked(self) -> str | None:
        """What the tag `base-image-rebuilds` must say, or None if the selector does not ask for it."""
        return _by_name(self.tags).get(OPT_TAG)

    def select(self, tags: Mapping[str, str]) -> Selection:
        """Decide on a registry by its tags, whose names have no casing in ARM.

        `base-image-rebuilds` counts as yes only if it says `enabled`, or what the selector asks for.
        """
        have, wanted = _by_name(tags), _by_name(self.tags)
        opted, asked = have.pop(OPT_TAG, None), wanted.pop(OPT_TAG, None)
        if opted == DISABLED:
            return Selection.OPTED_OUT
        if not wanted.items() <= have.items():
            return Selection.NOT_SELECTED
        if opted == PAUSED:
            return Selection.PAUSED
        said_yes = opted == asked or (asked is None and opted == ENABLED)
        return Selection.SELECTED if said_yes else Selection.NOT_SELECTED


def word(value: str) -> str:
    """Return what a tag's value says: its casing and the blanks around it do not matter."""
    return value.strip().lower()


def _by_name(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): word(value) if name.lower() == OPT_TAG else value.lower() for name, value in tags.items()}


def opt_problem(words: tuple[str, ...], tags: Mapping[str, str]) -> str:
    """Say what is wrong with a team's tag `base-image-rebuilds`, or return "".

    Args:
        words: What it may say.
    """
    said = next((value for name, value in tags.items() if name.lower() == OPT_TAG), None)
    if said is None or word(said) in words:
        return ""
    *some, last = words
    # What is longer than any of them may be anything, even a secret.
    shown = quoted(said) if len(said) <= _LONGEST_WORD else "something else"
    return f"the tag {OPT_TAG} says {shown}, which counts as no: write {', '.join(some)} or {last}"

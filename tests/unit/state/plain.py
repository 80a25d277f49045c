"""Small factories: the plain case; arguments say what is special. Moments are seconds after NOON."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.images import BaseImage
from shared.domain.selectors import Selection
from shared.domain.state.bases import Base, Content
from shared.domain.state.known import Built, Failure, Known, Ran, Why
from shared.domain.state.stacks import NOTHING_KNOWN, Stack
from shared.domain.state.steps import Step, Wanted, next_step

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SPEC = "spec-1"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def digest(name: str) -> str:
    """A content with a name of one letter."""
    return f"sha256:{ord(name[0]):064x}"


def base(
    tag: str = "15", content: str = "A", *, moved: float = -86_400, seq: int = 1, was: str = "", **special: Any
) -> Base:
    """A tag that moved long ago. `was`: what it pointed to before, newest last."""
    earlier = tuple(Content(digest(letter), at(moved)) for letter in was)
    plain = Base(BaseImage("baseimages/node", tag, digest(content)), at(moved), at(moved), seq, earlier)
    return replace(plain, **special)


def ran(run: str = "cw1", *, seq: int = 1, start: float = -3_600, end: float | None = -3_300, **special: Any) -> Ran:
    """A run that was started an hour ago and ended well."""
    plain = Ran(
        run, Why.CHANGED, "event", seq, digest("A"), SPEC, at(start), started=at(start),
        ended=None if end is None else at(end), looked=None if end is None else at(end),
    )  # fmt: skip
    return replace(plain, **special)


def known(run: Ran | None = None, **special: Any) -> Known:
    return Known("id", "buildtask", "2026-11-01", **{"adopted": True, "run": run, **special})


def built(stack: Stack = NOTHING_KNOWN) -> Built:
    return Built("hello-world@sha256:1", stack, NOON)


def wanted(*bases: Base, **special: Any) -> Wanted:
    return Wanted(**{"selection": Selection.SELECTED, "bases": bases, "spec": SPEC, **special})


def step(target: Known, want: Wanted, now: float = 0) -> Step:
    return next_step(target, want, at(now))


FAILED: dict[str, Any] = {"failure": Failure.UNKNOWN, "reason": "no space left"}

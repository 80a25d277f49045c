"""Which changes of base images are in a target's image already. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.state.bases import Base
from shared.domain.state.known import Built, Ran

_APART = timedelta(seconds=3)
"""How long before a run's start a tag must have moved for the run to have pulled what it points to since."""


@dataclass(frozen=True)
class SitsOn:
    """The known content below an image.

    Attributes:
        digest: That content.
        older: No base image points to it now.
    """

    digest: str
    older: bool


def covers(run: Ran, base: Base) -> bool:
    """Tell whether a run pulled what a tag points to now, whether or not it ended well.

    It does if the change was seen before the run was asked for, if the tag moved before the run started (a run that
    waits in the queue pulls what the tag points to then), or if the tag is a new one on the content that was asked for.
    """
    return (
        base.seq <= run.seq
        or (run.started is not None and base.moved + _APART <= run.started)
        or (not base.earlier and run.content == base.image.digest)
    )


def uncovered(run: Ran | None, built: Built, bases: Iterable[Base]) -> tuple[Base, ...]:
    """Return the base images whose last change is not in the image."""
    wanted = tuple(bases)
    below = sits_on(built, wanted) if run and run.succeeded else None
    return tuple(
        base for base in wanted if not (run and covers(run, base)) and not (below and below.digest == base.image.digest)
    )


def sits_on(built: Built, bases: Iterable[Base]) -> SitsOn | None:
    """Return the content that an image is built on; None if nobody looked or no known content fits.

    The longest match counts: a patched base image often begins with the old one's layers.
    """
    bases = tuple(bases)
    below = [
        (stack.height, digest) for base in bases for digest, stack in base.contents if stack.lies_below(built.stack)
    ]
    if not below:
        return None
    _, digest = max(below)
    return SitsOn(digest, older=all(base.image.digest != digest for base in bases))


def pulled_in_doubt(run: Ran, bases: Iterable[Base]) -> bool:
    """Tell whether a tag was pushed between a run's start and the next look, so that nobody knows what it pulled.

    A push that was seen before the run was asked for leaves no doubt, however shortly before that was.
    """
    if run.started is None or run.looked is None:
        return False
    return any(
        run.started - _APART < base.touched <= run.looked and not (base.touched == base.moved and covers(run, base))
        for base in bases
    )


def to_build_on(moved: Iterable[Base], bases: Iterable[Base], default: str) -> Base | None:
    """Return the base image that a run is told about: what moved last; if nothing did, the one that is the default.

    Args:
        moved: Those whose last change is not in the image.
        default: `repository:tag` of the default, or "".
    """
    newest = max(moved, key=lambda base: (base.seq, base.moved), default=None)
    known = tuple(bases)
    named = next((base for base in known if base.image.name == default), None)
    return newest or named or max(known, key=lambda base: (base.seq, base.moved), default=None)

"""A subscription's walk: who goes through its targets, why, and who calls whom. Pure functions.

Whoever has a reason for a walk raises `wanted`. One invocation at a time walks, until nothing is wanted any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.state.budget import UNKNOWN, Budget

LEASE = timedelta(minutes=1)
"""How long nobody else walks, should the walker die. Whoever walks renews it with each page."""

_CALL = timedelta(minutes=2)
"""How long a message may be under way before another one is sent."""


@dataclass(frozen=True)
class Walk:
    """A subscription's walk.

    Attributes:
        wanted: How many reasons there were so far; those that come before somebody looks count as one.
        walked: How many of them had been there when the targets were last read.
        by: The invocation that walks, or "".
        until: When its lease runs out.
        called: When a message was sent that nobody has received yet.
        failures: How often in a row it could not be walked.
        quiet: Only the sweep wants it: nobody waits for it, so it leaves most of the budget to others, and …
        rests: … goes on then.
        wake: When somebody is to look again, and …
        message: … the message that comes then, as the queue needs it to change its time.
    """

    wanted: int = 0
    walked: int = 0
    by: str = ""
    until: datetime | None = None
    called: datetime | None = None
    wake: datetime | None = None
    message: tuple[str, str] | None = None
    failures: int = 0
    quiet: bool = False
    rests: datetime | None = None
    writes: Budget = UNKNOWN
    reads: Budget = UNKNOWN


def is_walked(walk: Walk, now: datetime) -> bool:
    """Tell whether somebody walks."""
    return bool(walk.by) and walk.until is not None and now < walk.until


def raised(walk: Walk, now: datetime, *, quiet: bool = False) -> tuple[Walk | None, bool]:
    """Return the walk with one more reason, and whether to send a message: not if somebody walks or is called.

    A call of this very moment is the caller's own: it was written, and the answer was lost.
    None: there is a reason already that nobody has looked into yet; whoever does will see this one too.

    Args:
        quiet: The reason is the sweep.
    """
    is_idle = not walk.by and walk.wanted == walk.walked
    was_quiet, walk = walk.quiet, replace(walk, quiet=quiet and (walk.quiet or is_idle))
    is_called = _is_called(walk, now) and walk.called != now
    if not is_walked(walk, now) and not is_called:
        return replace(walk, wanted=walk.wanted + 1, called=now), True
    if walk.wanted > walk.walked and walk.quiet == was_quiet:
        return None, False
    return replace(walk, wanted=walk.wanted + 1), False


def taken(walk: Walk, by: str, now: datetime, instead: datetime | None = None) -> Walk | None:
    """Return the walk as the invocation takes it, or None if somebody else walks.

    Args:
        instead: When the invocation itself had a reason, and takes the walk instead of sending a message. One that
            others have sent is still under way.
    """
    if is_walked(walk, now) and walk.by != by:
        return None
    called = None if instead is None or walk.called == instead else walk.called
    # What is due by itself, not because of the sweep, is waited for.
    is_due = walk.wake is not None and walk.wake <= now and walk.wake != walk.rests
    quiet = walk.quiet and not is_due
    return replace(walk, by=by, until=now + LEASE, called=called, walked=walk.wanted, quiet=quiet)


def renewed(walk: Walk, now: datetime) -> Walk:
    """Return the walk while its walker goes on."""
    return replace(walk, until=now + LEASE)


def given_back(walk: Walk, *, failed: bool = False) -> Walk:
    """Return the walk when nothing is due, or when it could not be walked and is wanted as before."""
    if failed:
        return replace(walk, by="", until=None, walked=min(walk.walked, walk.wanted - 1), failures=walk.failures + 1)
    return replace(walk, by="", until=None, failures=0, quiet=False, rests=None)


def is_forgotten(walk: Walk, now: datetime) -> bool:
    """Tell whether a walk is wanted and nobody will come: its walker died, or its message was lost."""
    late = walk.wake is not None and now - walk.wake > _CALL
    wanted = walk.wanted > walk.walked or bool(walk.by) or late
    return wanted and not is_walked(walk, now) and not _is_called(walk, now)


def _is_called(walk: Walk, now: datetime) -> bool:
    return walk.called is not None and now - walk.called < _CALL

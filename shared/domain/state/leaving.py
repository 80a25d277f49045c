"""What leaves the fleet: when it is sure, how long it is left alone, and what becomes of it then. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.policy import Offboarding
from shared.domain.state.known import Known

APART = timedelta(hours=1)
"""How far apart a registry must twice not exist to be gone: replicas of Resource Manager lag."""

_PART = 10
"""More than one part in so many of a subscription's targets are a crowd."""


class Act(StrEnum):
    """What is to be done about a target that seems to leave."""

    NOTHING = "nothing"
    LOOK = "look"
    NOTE = "note"
    REMOVE = "remove"


@dataclass(frozen=True)
class Decision:
    """What is to be done, why, and when; at None: now, or, if it is nothing, not until something changes."""

    act: Act
    reason: str
    at: datetime | None = None


def decide(
    known: Known, offboarding: Offboarding, now: datetime, *, why: str, gone: bool = False, crowd: bool = False
) -> Decision:
    """Decide on a target that does not belong to the fleet any more.

    Args:
        why: Why it does not.
        gone: Its registry is in no list, which alone means nothing.
        crowd: Many leave at once.
    """
    if known.leaving_since is None:
        if not gone:
            return Decision(Act.NOTE, why)
        again = max(
            (at for at in (known.look, known.missing_since and known.missing_since + APART) if at), default=None
        )
        return Decision(Act.LOOK, "No list has its registry any more; it is looked for.", again)
    why = "Its registry does not exist any more." if gone else why
    if offboarding.action == "keep":
        return Decision(Act.NOTHING, f"{why} What Groundswell made there is kept (offboarding.action of the policy).")
    due = known.leaving_since + offboarding.grace
    if now < due:
        return Decision(Act.NOTHING, f"{why} What Groundswell made there is removed on {due:%Y-%m-%d}.", due)
    if crowd:
        text = (
            "More than a tenth of its subscription leaves at once, so nothing is removed until a person has looked: "
            "bring back what left by mistake, or delete its tasks by hand."
        )
        return Decision(Act.NOTHING, f"{why} {text}")
    return Decision(Act.REMOVE, why, known.look)


def noted(known: Known, now: datetime, *, stays: bool) -> Known:
    """Record that a target leaves, or that it belongs to the fleet again."""
    return replace(known, missing_since=None, look=None if known.run is None or known.run.ended else known.look,
                   leaving_since=None if stays else known.leaving_since or now)  # fmt: skip


def missed(known: Known, now: datetime) -> Known:
    """Record that a registry does not exist where it was: the second time, an hour later, it is gone."""
    if known.missing_since is None:
        return replace(known, missing_since=now, look=now + APART)
    is_sure = now - known.missing_since >= APART
    return replace(known, leaving_since=known.missing_since if is_sure else None, look=None)


def is_crowd(leaving: int, targets: int) -> bool:
    """Tell whether so many of a subscription's targets leave at once that it may be a mistake."""
    return leaving > 1 and leaving * _PART > targets

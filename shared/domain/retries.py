"""For how long what failed is tried again, and after which delay. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.errors import GroundswellError, Patience, TemporaryError

GIVE_UP_AFTER = timedelta(hours=24)
"""How old a request must be to be set aside after a temporary failure …"""

GIVE_UP_ATTEMPTS = 20
"""… and how often it must have failed: two and a half hours of trying."""


@dataclass(frozen=True)
class History:
    """What a message has been through.

    Attributes:
        failing_since: Since when it has failed for reasons that are given a bounded time; None if it has not.
        attempts: How often it was put back because of a temporary failure.
        requested_at: When it was asked for; None if it is never too old.
    """

    failing_since: datetime | None
    attempts: int = 0
    requested_at: datetime | None = None


def after_failure(history: History, error: GroundswellError, now: datetime, settling: timedelta) -> History | None:
    """Return a message's history as it is to be tried again after a failure; None: it is to be set aside.

    Args:
        settling: How long what was just set up may take to work.
    """
    limit = error.patience.limit(settling)
    if limit is None:
        return None if _is_given_up(history, now) else replace(history, failing_since=None)
    since = history.failing_since or now
    return replace(history, failing_since=since) if now - since < limit else None


def _is_given_up(history: History, now: datetime) -> bool:
    """Tell whether a message has failed for so long and so often that it is to be set aside.

    It may have lain in the queue while the app was stopped, so its age alone is no reason.
    """
    requested = history.requested_at
    return requested is not None and history.attempts >= GIVE_UP_ATTEMPTS and now - requested > GIVE_UP_AFTER


_HOURLY = 3600.0


def come_back(attempts: int, error: GroundswellError, failing: timedelta, settling: timedelta) -> float:
    """Return the seconds after which to try again what is never given up; once its patience is over, hourly.

    Args:
        failing: For how long it has failed.
        settling: How long what was just set up may take to work.
    """
    limit = error.patience.limit(settling)
    return next_delay(attempts, error) if limit is None or failing < limit else _HOURLY


def next_delay(attempts: int, error: GroundswellError) -> float:
    """Return the seconds after which to try again: what Azure asked for, or from 15 s growing to 10 min.

    What may work any moment is tried more often: to 2 min.
    """
    asked = error.retry_after if isinstance(error, TemporaryError) else None
    longest = 120.0 if error.patience is Patience.SETTLING else 600.0
    return max(1.0, min(15.0 * 2 ** min(attempts, 6), longest) if asked is None else asked)

"""What Resource Manager still lets the app do in a subscription, and how much of it a page may spend. Pure functions.

Resource Manager throttles with token buckets for each subscription and principal, and tells in each answer how many
are left (https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling). Size and
refill differ between tenants and change, so both are learned from the answers; nothing is hard-coded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

PAGE = 49
"""Targets of a page at the most: as many fit into one transaction with their walk."""

_UNKNOWN = 10
"""What a page may spend while nothing recent is known."""

_RECENT = timedelta(minutes=1)

_MARGIN = 3
"""Tokens left alone: others may spend at the same time."""

_WORTHWHILE = 20
"""Tokens that are waited for at the most: smaller pages would cost more requests than they save time."""

_INFLOW = 2.0
"""Seconds of inflow that are waited for: a bucket holds as much, however small it is."""

_SHARE = 4
"""Of the inflow, a walk that nobody waits for uses one part in so many."""

_SHORTEST = 0.2
"""Seconds between two pages that are too few to tell anything of the refill."""

_SLOWEST = 1.0
"""Tokens in a second that are assumed until more is known, or if others leave fewer."""


@dataclass(frozen=True)
class Budget:
    """A token bucket as the last answers showed it.

    Attributes:
        level: Tokens left, `at` that moment; None: never seen.
        refill: Tokens that flow in in a second, as far as others leave them; None: not known yet.
        ceiling: The most that was ever seen.
        closed: Until when Resource Manager asked to wait.
    """

    level: int | None = None
    at: datetime | None = None
    refill: float | None = None
    ceiling: int = 0
    closed: datetime | None = None


UNKNOWN = Budget()


@dataclass(frozen=True)
class Spent:
    """What a page did.

    Attributes:
        requests: How many were answered.
        level: The lowest number of tokens left that an answer told, or None if none did.
        wait: Seconds that Resource Manager asked to wait when it refused one, or None.
    """

    requests: int = 0
    level: int | None = None
    wait: float | None = None


def left(budget: Budget, now: datetime) -> int:
    """Return how many requests may be made now."""
    if budget.closed and now < budget.closed:
        return 0
    if budget.level is None or budget.at is None or _is_old(budget, now):
        return _UNKNOWN
    tokens = budget.level + _refill(budget) * (now - budget.at).total_seconds()
    # It may never have been seen full, but it holds what is waited for.
    most = max(budget.ceiling, _INFLOW * _refill(budget) + _MARGIN)
    return max(0, math.floor(min(tokens, most)) - _MARGIN)


def opens(budget: Budget, requests: int, now: datetime) -> datetime:
    """Return when a page may begin that would like to make this many requests."""
    if _is_old(budget, now):
        return max(now, budget.closed or now)
    aim = max(1, math.floor(min(requests, _WORTHWHILE, _INFLOW * _refill(budget))))
    missing = aim - left(replace(budget, closed=None), now)
    ready = now + timedelta(seconds=max(0.0, missing / _refill(budget)))
    return max(ready, budget.closed or now)


def rests(budget: Budget, requests: int, now: datetime) -> datetime:
    """Return when a walk that nobody waits for goes on after a page of so many requests."""
    return now + timedelta(seconds=_SHARE * requests / _refill(budget))


def after(budget: Budget, spent: Spent, now: datetime) -> Budget:
    """Take the answers of a page into account."""
    if _is_old(budget, now):
        budget = Budget(closed=budget.closed)
    closed = now + timedelta(seconds=spent.wait) if spent.wait is not None else budget.closed
    if spent.level is None:
        return replace(budget, closed=closed) if spent.wait is None else replace(budget, closed=closed, level=0, at=now)
    return Budget(spent.level, now, _learned(budget, spent, now), max(budget.ceiling, spent.level + 1), closed)


def _learned(budget: Budget, spent: Spent, now: datetime) -> float | None:
    """Return the refill: what came to be between the ends of two pages, those of others taken off."""
    if budget.level is None or budget.at is None or spent.level is None:
        return budget.refill
    elapsed = (now - budget.at).total_seconds()
    if elapsed < _SHORTEST:
        return budget.refill
    seen = max(0.0, (spent.level - budget.level + spent.requests) / elapsed)
    # A bucket that was full refills at least this fast.
    if spent.level + spent.requests >= budget.ceiling:
        return max(seen, budget.refill or 0.0) or None
    return seen if budget.refill is None else 0.5 * budget.refill + 0.5 * seen


def _refill(budget: Budget) -> float:
    return max(budget.refill or 0.0, _SLOWEST)


def _is_old(budget: Budget, now: datetime) -> bool:
    return budget.at is None or now - budget.at > _RECENT

"""Pace: spend the burst that Resource Manager allows, then follow its refill, and never run into a 429.

Resource Manager throttles writes per subscription and principal with token buckets and tells in each answer how many
are left (https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling). Size and
refill of the buckets differ between tenants and change, so both are learned from the answers; nothing is hard-coded.
What other instances of the app spend shows up in the same answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.errors import TemporaryError

_MARGIN = 3.0
"""Tokens left alone: answers cross each other on the way, and other instances spend from the same bucket."""


class OutOfBudget(TemporaryError):
    """The subscription's budget is spent for the moment: nothing went wrong, it only is not this request's turn yet."""


@dataclass
class _Bucket:
    tokens: float = math.inf
    at: float = 0.0
    rate: float | None = None
    ceiling: float = 0.0
    reserved: int = 0
    next_slot: float = 0.0
    window_at: float = 0.0
    window_tokens: float = math.inf
    window_writes: int = 0
    closed_until: float = 0.0


class Pacer:
    """What is left of each subscription's writes, and whose turn it is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def _bucket(self, subscription: str) -> _Bucket:
        return self._buckets.setdefault(subscription.lower(), _Bucket())

    def answered(self, subscription: str, remaining: int) -> None:
        """Note how many writes are left after one was answered."""
        now, bucket = self._clock(), self._bucket(subscription)
        bucket.ceiling = max(bucket.ceiling, remaining + 1.0)
        bucket.window_writes += 1
        elapsed = now - bucket.window_at
        if elapsed >= 1.0:
            gained = remaining - bucket.window_tokens + bucket.window_writes
            # A bucket that was full at either end, or was left alone for long, hides its refill.
            full = max(remaining + 1.0, bucket.window_tokens) >= bucket.ceiling
            if gained > 0 and not full and elapsed < 10:
                seen = gained / elapsed
                known = bucket.rate or seen
                bucket.rate = seen if seen > known else 0.7 * known + 0.3 * seen
            bucket.window_at, bucket.window_tokens, bucket.window_writes = now, remaining, 0
        bucket.tokens, bucket.at = remaining, now

    def throttled(self, subscription: str, retry_after: float) -> None:
        """Note that Resource Manager refused a write and asked to wait."""
        now, bucket = self._clock(), self._bucket(subscription)
        bucket.tokens, bucket.at = 0.0, now
        bucket.closed_until = max(bucket.closed_until, now + retry_after)

    @contextmanager
    def permit(self, subscription: str, cost: int = 1, *, waited: bool = False) -> Iterator[None]:
        """Hold the right to do `cost` writes.

        Args:
            waited: The request had to wait before: it does not go to the end of the line again.

        Raises:
            OutOfBudget: Not now; `retry_after` says when it is this request's turn.
        """
        bucket = self._bucket(subscription)
        wait = self._wait(bucket, cost, waited=waited)
        if wait > 0:
            raise OutOfBudget(f"The writes of subscription {subscription} are spent for the moment.", wait)
        bucket.reserved += cost
        try:
            yield
        finally:
            bucket.reserved -= cost

    def _wait(self, bucket: _Bucket, cost: int, *, waited: bool) -> float:
        now = self._clock()
        if now < bucket.closed_until:
            return bucket.closed_until - now + (0 if waited else self._slot(bucket, cost, now) - now)
        refilled = bucket.tokens + (bucket.rate or 0.0) * (now - bucket.at)
        left = min(refilled, max(bucket.ceiling, bucket.tokens)) - bucket.reserved
        # An expensive request must not wait for more than the bucket ever holds.
        if left >= min(cost + _MARGIN, bucket.ceiling):
            return 0.0
        until_refilled = (cost + _MARGIN - left) / (bucket.rate or 1.0)
        if waited:
            return max(1.0, until_refilled)
        return max(self._slot(bucket, cost, now) - now, until_refilled)

    @staticmethod
    def _slot(bucket: _Bucket, cost: int, now: float) -> float:
        bucket.next_slot = max(bucket.next_slot, now) + cost / (bucket.rate or 1.0)
        return bucket.next_slot

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


_LOOKAHEAD = 30.0
"""Seconds for which turns are given out: what is further away is asked again, when more is known of the refill."""


class OutOfBudget(TemporaryError):
    """The subscription's budget is spent for the moment: nothing went wrong, it only is not this request's turn yet.

    Attributes:
        has_turn: `retry_after` is this request's turn; otherwise it is only when to ask again.
    """

    def __init__(self, message: str, retry_after: float, *, has_turn: bool) -> None:
        super().__init__(message, retry_after)
        self.has_turn = has_turn


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

    @property
    def refill(self) -> float:
        """Tokens per second: as learned, or a cautious guess that lets one write through to learn from."""
        return self.rate or 1.0


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
            if gained > 0:
                seen = gained / elapsed
                known = bucket.rate or seen
                # A bucket that was full at either end, or was left alone for long, refills at least this fast.
                full = max(remaining + 1.0, bucket.window_tokens) >= bucket.ceiling
                bucket.rate = max(seen, known) if full or elapsed > 10 or seen > known else 0.7 * known + 0.3 * seen
            bucket.window_at, bucket.window_tokens, bucket.window_writes = now, remaining, 0
        bucket.tokens, bucket.at = remaining, now

    def throttled(self, subscription: str, retry_after: float) -> None:
        """Note that Resource Manager refused a write and asked to wait."""
        now, bucket = self._clock(), self._bucket(subscription)
        bucket.tokens, bucket.at = 0.0, now
        bucket.closed_until = max(bucket.closed_until, now + retry_after)

    @contextmanager
    def permit(self, subscription: str, cost: int = 1, *, has_turn: bool = False) -> Iterator[None]:
        """Hold the right to do `cost` writes.

        Args:
            has_turn: The request comes at the turn that it was given: it does not go to the end of the line again.

        Raises:
            OutOfBudget: Not now; `retry_after` says when to come.
        """
        now, bucket = self._clock(), self._bucket(subscription)
        refilled = bucket.tokens + bucket.refill * (now - bucket.at)
        left = min(refilled, max(bucket.ceiling, bucket.tokens)) - bucket.reserved
        # An expensive request must not wait for more than the bucket ever holds.
        if now < bucket.closed_until or left < min(cost + _MARGIN, bucket.ceiling):
            opens = max(now + max(0.0, cost + _MARGIN - left) / bucket.refill, bucket.closed_until)
            raise self._not_now(subscription, bucket, cost, now, opens, has_turn=has_turn)
        bucket.reserved += cost
        try:
            yield
        finally:
            bucket.reserved -= cost

    def _not_now(
        self, subscription: str, bucket: _Bucket, cost: int, now: float, opens: float, *, has_turn: bool
    ) -> OutOfBudget:
        text = f"The writes of subscription {subscription} are spent for the moment."
        if has_turn:
            return OutOfBudget(text, max(1.0, opens - now), has_turn=True)
        if bucket.rate is None:
            # Nothing is known of the refill yet: the next answers will tell.
            return OutOfBudget(text, max(1.0, bucket.closed_until - now), has_turn=False)
        # One after another, each at the moment when the refill will have reached it.
        turn = max(bucket.next_slot + cost / bucket.refill, opens)
        if turn - now > max(_LOOKAHEAD, bucket.closed_until - now):
            return OutOfBudget(text, max(_LOOKAHEAD, bucket.closed_until - now), has_turn=False)
        bucket.next_slot = turn
        return OutOfBudget(text, turn - now, has_turn=True)

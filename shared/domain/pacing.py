"""The pacer: spend the burst that Resource Manager allows, then follow its refill, and avoid 429.

Resource Manager throttles writes per subscription and principal with token buckets, and each answer says how many
are left (https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling). Size and
refill of the buckets differ between tenants and change, so both are learned from the answers; nothing is hard-coded.
The same answers show what other instances of the app spend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.domain.errors import TemporaryError

_MARGIN = 3.0
"""Tokens left alone: answers cross each other on the way."""

_LOOKAHEAD = 30.0
"""Seconds ahead for which slots are given out; later requests ask again, when the refill is better known."""

_EARLY = 0.7
"""Part of the wait after which they ask again: the refill may turn out to be faster."""

_SLOWEST = 1.0
"""Writes a second to try even if others seem to leave fewer."""

_WINDOW = 10.0
"""Seconds after which what a window of time shows says no more than that the refill is not slower."""


class OutOfBudget(TemporaryError):
    """The subscription's budget is spent for now. Nothing failed; the request has to wait for its slot.

    Attributes:
        has_turn: `retry_after` is this request's slot; otherwise it is only when to ask again.
    """

    def __init__(self, message: str, retry_after: float, *, has_turn: bool) -> None:
        super().__init__(message, retry_after)
        self.has_turn = has_turn


@dataclass
class _Bucket:
    """What is known of one subscription's writes; times are the pacer's clock.

    Attributes:
        tokens: How many writes were left at the last answer, `at`.
        rate: Writes that flow in in a second, as far as others leave them; None until that was seen.
        share: Writes that went for each of ours of late, those of others included.
        reserved: Writes under way.
        next_turn: The last slot that was given out.
        late_turn: The last slot that was given to requests that came at theirs and had to wait again.
        far_turn: Where the line ends, including requests that will ask again.
    """

    tokens: float = math.inf
    at: float = 0.0
    rate: float | None = None
    ceiling: float = 0.0
    share: float = 1.0
    reserved: int = 0
    next_turn: float = 0.0
    late_turn: float = 0.0
    far_turn: float = 0.0
    window_at: float = 0.0
    window_tokens: float = math.inf
    window_writes: int = 0
    closed_until: float = 0.0

    @property
    def refill(self) -> float:
        """Tokens per second: as learned, or a cautious guess to learn more from."""
        return max(self.rate or 0.0, _SLOWEST)

    def learn(self, now: float, remaining: int) -> None:
        """Take an answer into account that says how many writes are left."""
        self.ceiling = max(self.ceiling, remaining + 1.0)
        if math.isfinite(self.tokens):
            self.share = 0.9 * self.share + 0.1 * max(1.0, self.tokens - remaining)
        self.tokens, self.at = remaining, now
        self.window_writes += 1
        elapsed = now - self.window_at
        if elapsed < 1.0:
            return
        gained = remaining - self.window_tokens + self.window_writes
        if gained > 0:
            seen = gained / elapsed
            known = self.rate or seen
            # A bucket that was full at either end, or was left alone for long, refills at least this fast.
            full = max(remaining + 1.0, self.window_tokens) >= self.ceiling or elapsed > _WINDOW
            self.rate = max(seen, known) if full or seen > known else 0.7 * known + 0.3 * seen
        self.window_at, self.window_tokens, self.window_writes = now, remaining, 0


class Pacer:
    """What is left of each subscription's writes, and whose turn it is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def _bucket(self, subscription: str) -> _Bucket:
        return self._buckets.setdefault(subscription.lower(), _Bucket())

    def answered(self, subscription: str, remaining: int) -> None:
        """Note how many writes are left after one was answered."""
        self._bucket(subscription).learn(self._clock(), remaining)

    def throttled(self, subscription: str, retry_after: float) -> None:
        """Note that Resource Manager refused a write and asked to wait."""
        now, bucket = self._clock(), self._bucket(subscription)
        bucket.tokens, bucket.at = 0.0, now
        bucket.closed_until = max(bucket.closed_until, now + retry_after)

    @contextmanager
    def permit(self, subscription: str, cost: int = 1, *, has_turn: bool = False) -> Iterator[None]:
        """Hold the right to do `cost` writes.

        Args:
            has_turn: The request returns at its slot, so it does not go to the end of the line again.

        Raises:
            OutOfBudget: Not now; `retry_after` says when to come.
        """
        now, bucket = self._clock(), self._bucket(subscription)
        refilled = bucket.tokens + bucket.refill * (now - bucket.at)
        # What is under way elsewhere is as much for each of ours as it was of late.
        left = min(refilled, max(bucket.ceiling, bucket.tokens)) - bucket.reserved * bucket.share
        # An expensive request must not wait for more than the bucket ever holds.
        needed = min(cost * bucket.share + _MARGIN, bucket.ceiling)
        if now < bucket.closed_until or left < needed:
            opens = max(now + max(0.0, needed - left) / bucket.refill, bucket.closed_until)
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
        if bucket.rate is None:
            # Nothing is known of the refill yet: the next answers will tell.
            return OutOfBudget(text, max(1.0, bucket.closed_until - now), has_turn=has_turn)
        # One after another, each at the moment when the refill will have reached it.
        step = cost / bucket.refill
        if has_turn:
            # It goes before those whose turns are still to come.
            bucket.late_turn = max(bucket.late_turn + step, opens)
            return OutOfBudget(text, max(1.0, bucket.late_turn - now), has_turn=True)
        turn = max(bucket.next_turn + step, opens)
        if turn - now > max(_LOOKAHEAD, bucket.closed_until - now):
            # They come back one after another, too: all at once, they would leave a gap behind them.
            bucket.far_turn = max(bucket.far_turn + step, turn)
            again = min(_EARLY * (bucket.far_turn - now), _LOOKAHEAD)
            return OutOfBudget(text, max(again, bucket.closed_until - now), has_turn=False)
        bucket.next_turn = turn
        return OutOfBudget(text, turn - now, has_turn=True)

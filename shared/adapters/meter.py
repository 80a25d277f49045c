"""What Resource Manager's answers said since somebody last asked: requests, tokens left, and how long to wait."""

from __future__ import annotations

from dataclasses import replace

from shared.domain.state.budget import Spent

WRITES, READS = "writes", "reads"


class Meter:
    """Counts answers for each subscription, writes and reads apart."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], Spent] = {}

    def answered(self, subscription: str, kind: str, *, left: int | None, wait: float | None) -> None:
        """Note an answer.

        Args:
            left: Tokens that it says are left.
            wait: Seconds that it asks to wait, if it is a refusal.
        """
        key = subscription.lower(), kind
        seen = self._spent.get(key, Spent())
        self._spent[key] = replace(
            seen,
            requests=seen.requests + (wait is None),
            level=left if seen.level is None else seen.level if left is None else min(left, seen.level),
            wait=wait if seen.wait is None else seen.wait if wait is None else max(wait, seen.wait),
        )

    def take(self, subscription: str, kind: str) -> Spent:
        """Return what was noted since the last time."""
        return self._spent.pop((subscription.lower(), kind), Spent())

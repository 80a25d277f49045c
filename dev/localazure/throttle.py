"""ARM's throttling: token buckets for each subscription and principal, announced in response headers.

Numbers and headers: https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling.
Differs from Azure: one region, so one set of buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from dev.localazure.clock import Clock
from dev.localazure.errors import ArmError

GLOBAL_FACTOR = 15  # A subscription's bucket for all principals together is this many times the one for each.


@dataclass
class Limit:
    """Size of a bucket and how many tokens flow in a second."""

    burst: float
    per_second: float


@dataclass
class _Bucket:
    limit: Limit
    factor: int
    tokens: float
    at: datetime

    def refill(self, now: datetime) -> None:
        burst, rate = self.limit.burst * self.factor, self.limit.per_second * self.factor
        self.tokens = min(burst, self.tokens + rate * max(0.0, (now - self.at).total_seconds()))
        self.at = now

    @property
    def wait(self) -> float:
        """Seconds until there is a token; for ever if none flow in."""
        missing = 1 - self.tokens
        rate = self.limit.per_second * self.factor
        return 0.0 if missing <= 0 else missing / rate if rate > 0 else math.inf


class Throttle:
    """The token buckets.

    Attributes:
        limits: The limit for each principal by class (`reads`, `writes`, `deletes`); change one to change it for all.
    """

    def __init__(self, clock: Clock) -> None:
        """Start with full buckets and the published limits."""
        self._clock = clock
        self.limits = {"reads": Limit(250, 25), "writes": Limit(200, 10), "deletes": Limit(200, 10)}
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}

    def configure(self, kind: str, *, burst: float | None = None, per_second: float | None = None) -> None:
        """Change the limit of a class (`reads`, `writes`, `deletes`) and fill its buckets again.

        Raises:
            ValueError: No such class, or a negative number.
        """
        if kind not in self.limits:
            raise ValueError(f"no such class of requests: {kind!r}")
        limit = self.limits[kind]
        limit = Limit(
            limit.burst if burst is None else burst, limit.per_second if per_second is None else per_second
        )  # fmt: skip
        if limit.burst < 0 or limit.per_second < 0:
            raise ValueError("burst and per_second cannot be negative")
        self.limits[kind] = limit
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key[2] != kind}

    def reset(self) -> None:
        """Fill all buckets."""
        self._buckets.clear()

    def take(self, bucket: str, scope: str, object_id: str) -> dict[str, str]:
        """Take one token and return the headers that announce what remains.

        Args:
            bucket: `reads`, `writes` or `deletes`.
            scope: What the request is about; its subscription counts, or else the tenant.
            object_id: Who asks.

        Raises:
            ArmError: 429 `SubscriptionRequestsThrottled` (or `TenantRequestsThrottled`) with `Retry-After` in seconds.
        """
        parts = scope.lower().split("/")
        subscription = parts[2] if len(parts) > 2 and parts[1] == "subscriptions" else ""
        mine = self._bucket(subscription, object_id, bucket, 1)
        everyone = self._bucket(subscription, "", bucket, GLOBAL_FACTOR)
        level = "subscription" if subscription else "tenant"
        wait = max(mine.wait, everyone.wait)
        if wait > 0:
            seconds = 3600 if math.isinf(wait) else max(1, math.ceil(wait))
            raise ArmError(
                429,
                f"{level.title()}RequestsThrottled",
                f"The number of {bucket} for {level} '{subscription}' by actor '{object_id}' exceeded the limit. "
                f"Please try again after '{seconds}' seconds.",
                headers={"Retry-After": str(seconds), **self._headers(level, bucket, mine, everyone)},
                gateway=True,
            )
        mine.tokens -= 1
        everyone.tokens -= 1
        return self._headers(level, bucket, mine, everyone)

    def _bucket(self, subscription: str, object_id: str, kind: str, factor: int) -> _Bucket:
        now, limit = self._clock.now(), self.limits[kind]
        key = (subscription, object_id, kind)
        if key not in self._buckets:
            self._buckets[key] = _Bucket(limit, factor, limit.burst * factor, now)
        bucket = self._buckets[key]
        bucket.refill(now)
        return bucket

    @staticmethod
    def _headers(level: str, kind: str, mine: _Bucket, everyone: _Bucket) -> dict[str, str]:
        prefix = f"x-ms-ratelimit-remaining-{level}-"
        one, everybody = str(int(max(mine.tokens, 0))), str(int(max(everyone.tokens, 0)))
        if level == "tenant":
            return {prefix + kind: one}
        if kind == "reads":  # Since 2025, reads announce the global bucket only.
            return {f"{prefix}global-reads": everybody}
        return {prefix + kind: one, f"{prefix}global-{kind}": everybody}

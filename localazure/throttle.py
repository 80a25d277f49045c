"""ARM's throttling: token buckets for each subscription and principal, announced in response headers."""

from __future__ import annotations

from localazure.clock import Clock


class Throttle:
    """The token buckets (https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling)."""

    def __init__(self, clock: Clock) -> None:
        """Start with full buckets."""
        self._clock = clock

    def take(self, bucket: str, scope: str, object_id: str) -> dict[str, str]:
        """Take one token and return the headers that announce what remains.

        Raises:
            ArmError: 429 with `Retry-After` when the bucket is empty.
        """
        return {}

"""What Resource Manager shows late of a new resource, though its event was raised.

A write is copied to other regions in its own time, and only the session that wrote is sure to read it
(https://github.com/hashicorp/terraform-provider-azurerm/issues/18268). Lists are behind even that
(https://github.com/Azure/azure-rest-api-specs/issues/28600).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dev.localazure import ids
from dev.localazure.errors import resource_not_found

if TYPE_CHECKING:
    from datetime import datetime

    from dev.localazure.clock import Clock
    from dev.localazure.state import Principal, Resource


class Replicas:
    """What each caller sees of the resources that are young."""

    def __init__(self, clock: Clock) -> None:
        """Count by this clock.

        Attributes:
            lag: How long a new resource is missing in the reads and lists of all but its maker.
            list_lag: How long it is missing in everybody's lists.
        """
        self._clock = clock
        self.lag, self.list_lag = timedelta(0), timedelta(0)
        self._young: dict[str, tuple[datetime, Principal]] = {}

    def reset(self) -> None:
        """Let everybody see everything."""
        self._young.clear()

    def made(self, resource: Resource | None, maker: Principal) -> None:
        """Note that a resource was made just now. Groups, and what has no location, are seen at once."""
        now, longest = self._clock.now(), max(self.lag, self.list_lag)
        self._young = {key: young for key, young in self._young.items() if young[0] + longest > now}
        if longest and resource and resource.location and "/providers/" in resource.id:
            self._young[resource.id.lower()] = (now, maker)

    def check(self, scope: str, reader: Principal) -> None:
        """Let a read pass, unless it is about a resource that the reader does not see yet.

        Raises:
            ArmError: 404 `ResourceNotFound`.
        """
        for resource_id in self._unseen(reader):
            if ids.covers(resource_id, scope):
                parsed = ids.parse(resource_id)
                raise resource_not_found(parsed.type, parsed.name, parsed.group)

    def thin_out(self, body: Any, reader: Principal) -> None:
        """Leave out of a list what the reader does not see yet."""
        unlisted = self._unseen(reader) | self._younger_than(self.list_lag)
        if unlisted and isinstance(body, dict) and isinstance(body.get("value"), list):
            body["value"] = [item for item in body["value"] if str(item.get("id", "")).lower() not in unlisted]

    def _unseen(self, reader: Principal) -> set[str]:
        return {key for key in self._younger_than(self.lag) if self._young[key][1].object_id != reader.object_id}

    def _younger_than(self, lag: timedelta) -> set[str]:
        now = self._clock.now()
        return {key for key, (made, _) in self._young.items() if made + lag > now}

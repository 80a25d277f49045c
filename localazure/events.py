"""Where services raise events; Event Grid delivers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localazure.arm.gateway import Answer, Call
    from localazure.azure import Azure


class Events:
    """Collects events by source and hands them to the event subscriptions of that source."""

    def __init__(self, azure: Azure) -> None:
        """Work on this Azure."""
        self._azure = azure

    def publish(self, source: str, event: dict[str, Any]) -> None:
        """Deliver an event (EventGridSchema, without `topic`) to the subscriptions on a source resource id."""

    def resource_event(self, call: Call, answer: Answer) -> None:
        """Raise the subscription's `Microsoft.Resources.Resource{Write,Delete,Action}Success` for an ARM call."""

"""Event Grid's events, read as far as all of them are alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.eventgrid import SystemEventNames

from shared.domain.events import Event, Happening
from shared.domain.moments import moment

# https://learn.microsoft.com/azure/event-grid/event-schema-container-registry
# https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions
_HAPPENINGS = {
    name.value.lower(): happening
    for name, happening in (
        (SystemEventNames.ContainerRegistryImagePushedEventName, Happening.IMAGE_PUSHED),
        (SystemEventNames.ResourceWriteSuccessEventName, Happening.RESOURCE_WRITTEN),
        (SystemEventNames.ResourceDeleteSuccessEventName, Happening.RESOURCE_DELETED),
    )
}


def read(event: Mapping[str, Any]) -> Event:
    """Read an event that has EventGridSchema's names (`id`, `topic`, `subject`, `eventType`, `eventTime`, `data`)."""
    kind, data = _text(event.get("eventType")), event.get("data")
    return Event(
        id=_text(event.get("id")),
        type=kind,
        happened=_HAPPENINGS.get(kind.lower()) if kind is not None else None,
        topic=_text(event.get("topic")),
        subject=_text(event.get("subject")),
        time=moment(event.get("eventTime")),
        data=data if isinstance(data, Mapping) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

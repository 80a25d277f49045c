"""The two forms in which Event Grid delivers an event, and the documents it writes to a dead-letter container.

EventGridSchema: https://learn.microsoft.com/azure/event-grid/event-schema; CloudEvents 1.0:
https://learn.microsoft.com/azure/event-grid/cloud-event-schema.
"""

from __future__ import annotations

import json
from typing import Any

CLOUD_EVENTS = "CloudEventSchemaV1_0"
EVENT_GRID = "EventGridSchema"

_RENAMED = {"topic": "source", "eventType": "type", "eventTime": "time"}


def cloud_event(event: dict[str, Any]) -> dict[str, Any]:
    """Turn an event of EventGridSchema into a CloudEvent."""
    kept = {_RENAMED.get(name, name): value for name, value in event.items()
            if name not in ("dataVersion", "metadataVersion")}  # fmt: skip
    return {**kept, "specversion": "1.0"}


def delivery(schema: str, events: list[dict[str, Any]], *, batched: bool) -> tuple[bytes, str]:
    """Return the body of a delivery and its content type.

    EventGridSchema is always an array, even for one event; a CloudEvent that is not batched is a bare object.
    """
    if schema != CLOUD_EVENTS:
        return json.dumps(events).encode(), "application/json; charset=utf-8"
    if batched:
        batch = [cloud_event(event) for event in events]
        return json.dumps(batch).encode(), "application/cloudevents-batch+json; charset=utf-8"
    return json.dumps(cloud_event(events[0])).encode(), "application/cloudevents+json; charset=utf-8"


def dead_letter(schema: str, event: dict[str, Any], fate: dict[str, Any]) -> dict[str, Any]:
    """Return the dead-letter document of an event (https://learn.microsoft.com/azure/event-grid/manage-event-delivery).

    Args:
        schema: The delivery schema of the event subscription.
        event: The event in EventGridSchema.
        fate: `deadLetterReason`, `deliveryAttempts`, `lastDeliveryOutcome`, `publishTime`, `lastDeliveryAttemptTime`.
    """
    if schema != CLOUD_EVENTS:
        return {**event, **fate}
    # CloudEvents attributes are lower case only.
    return {**cloud_event(event), **{name.lower(): value for name, value in fate.items()}}

"""Event Grid events as plain mappings."""

from collections.abc import Mapping
from typing import Any

import azure.functions as func


def envelope(event: func.EventGridEvent | func.CloudEvent) -> Mapping[str, Any]:
    """Return an event under EventGridSchema's names, whichever of the two schemas it was delivered in.

    The worker decides by the payload: it hands a CloudEvent to a handler that is annotated for EventGridEvent if the
    event subscription uses the CloudEvents schema.
    """
    if isinstance(event, func.CloudEvent):
        return {
            "id": event.id,
            "topic": event.source,
            "subject": event.subject,
            "eventType": event.type,
            "eventTime": event.time.isoformat() if event.time else None,
            "data": event.get_json(),
        }
    return {
        "id": event.id,
        "topic": event.topic,
        "subject": event.subject,
        "eventType": event.event_type,
        "eventTime": event.event_time.isoformat() if event.event_time else None,
        "data": event.get_json(),
    }

"""An event reads the same whichever of Event Grid's two schemas it was delivered in."""

from __future__ import annotations

from datetime import UTC, datetime

import azure.functions as func

from handlers.event_grid import envelope
from shared.adapters.event_grid import read
from shared.domain.events import ImagePushed, image_pushed
from shared.domain.images import BaseImage
from tests.builders import event


def test_event_in_the_event_grid_schema_is_understood() -> None:
    sent = event("image_pushed")
    received = func.EventGridEvent(
        id=sent["id"],
        topic=sent["topic"],
        subject=sent["subject"],
        event_type=sent["eventType"],
        event_time=datetime.now(UTC),
        data=sent["data"],
        data_version=sent["dataVersion"],
    )

    decision = image_pushed(read(envelope(received)), "mybaseregistry")

    assert isinstance(decision, ImagePushed)
    assert decision.event_id == sent["id"]


def test_event_in_the_cloud_events_schema_is_understood() -> None:
    sent = event("image_pushed_cloudevents")
    received = func.CloudEvent(
        id=sent["id"],
        source=sent["source"],
        type=sent["type"],
        specversion=sent["specversion"],
        data=sent["data"],
        subject=sent["subject"],
        time=datetime.now(UTC),
    )

    decision = image_pushed(read(envelope(received)), "mybaseregistry")

    digest = sent["data"]["target"]["digest"]
    assert isinstance(decision, ImagePushed)
    assert (decision.event_id, decision.image) == (sent["id"], BaseImage("baseimages/node", "15-alpine", digest))

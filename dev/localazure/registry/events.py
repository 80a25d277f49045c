"""A registry's events (https://learn.microsoft.com/azure/event-grid/event-schema-container-registry)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from dev.localazure.clock import iso
from dev.localazure.state import Manifest, Resource, new_guid


def image_pushed(
    repository: str,
    tag: str | None,
    manifest: Manifest,
    *,
    now: datetime,
    request: dict[str, str],
    locations: Iterable[str],
) -> list[dict[str, Any]]:
    """Return one `ImagePushed` for each location (home region and replicas), each with an id of its own.

    A push by digest has neither `target.tag` nor a tag in the subject.
    """
    size = len(manifest.body)
    target: dict[str, Any] = {
        "mediaType": manifest.media_type, "size": size, "digest": manifest.digest, "length": size,
        "repository": repository,
    }  # fmt: skip
    if tag is not None:
        target["tag"] = tag
    subject = f"{repository}:{tag}" if tag is not None else repository
    return [_event(subject, "ImagePushed", "push", location, target, now, request) for location in locations]


def image_deleted(
    registry: Resource, repository: str, manifest: Manifest, *, now: datetime, request: dict[str, str]
) -> dict[str, Any]:
    """Return the `ImageDeleted` of one manifest."""
    target = {"mediaType": manifest.media_type, "digest": manifest.digest, "repository": repository}
    return _event(repository, "ImageDeleted", "delete", registry.location, target, now, request)


def _event(
    subject: str,
    kind: str,
    action: str,
    location: str,
    target: dict[str, Any],
    now: datetime,
    request: dict[str, str],
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": new_guid(), "timestamp": iso(now, zulu=True), "action": action, "location": location, "target": target,
        "request": {"id": new_guid(), **request},
    }  # fmt: skip
    return {
        "id": new_guid(), "subject": subject, "eventType": f"Microsoft.ContainerRegistry.{kind}",
        "eventTime": iso(now, zulu=True), "data": data, "dataVersion": "2.0", "metadataVersion": "1",
    }  # fmt: skip

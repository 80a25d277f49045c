"""Is this event ours? Pure decisions on Event Grid events, each refusal with its reason.

Events arrive as a mapping in EventGridSchema's names (`id`, `topic`, `subject`, `eventType`, `eventTime`, `data`).
An event's `data.claims` holds personal data: nothing here keeps or repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeGuard

from azure.eventgrid import SystemEventNames
from azure.mgmt.core.tools import parse_resource_id

from shared.domain import images
from shared.domain.images import BaseImage
from shared.domain.moments import moment

REGISTRY_TYPE = "Microsoft.ContainerRegistry/registries"

# An event's id becomes part of messages and of the ledger's keys; Azure's are GUIDs.
_EVENT_ID = re.compile(r"[!-~]{1,100}")
# https://learn.microsoft.com/rest/api/containerregistry/registries/create
_REGISTRY_NAME = re.compile(r"[A-Za-z0-9]{5,50}")
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftresources
_GROUP_NAME = re.compile(r"[\w().-]{1,90}")

# https://learn.microsoft.com/azure/event-grid/event-schema-container-registry
_IMAGE_PUSHED = SystemEventNames.ContainerRegistryImagePushedEventName.value.lower()
_IMAGE_MEDIA_TYPES = {
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
}
# https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions
_RESOURCE_EVENTS = {
    SystemEventNames.ResourceWriteSuccessEventName.value.lower(): f"{REGISTRY_TYPE}/write".lower(),
    SystemEventNames.ResourceDeleteSuccessEventName.value.lower(): f"{REGISTRY_TYPE}/delete".lower(),
}
# Tags that the portal or `az tag` changes are written by an operation of their own, on a resource below the registry:
# https://learn.microsoft.com/rest/api/resources/tags/update-at-scope
_TAGS_WRITTEN = "Microsoft.Resources/tags/write".lower()
_TAGS = re.compile(r"(?i)/providers/Microsoft\.Resources/tags/default\Z")


class Reason(StrEnum):
    """Why an event was not acted on."""

    MALFORMED = "malformed-event"
    OTHER_TYPE = "other-event-type"
    OTHER_REGISTRY = "other-registry"
    OTHER_OPERATION = "other-operation"
    OTHER_SUBSCRIPTION = "other-subscription"
    NOT_AN_IMAGE = "not-an-image"
    UNTAGGED = "no-tag"
    ATTACHMENT = "signature-or-referrer"
    OLDER = "older-than-what-was-pushed-since"
    REPEATED = "already-asked-for"
    NOT_IN_POLICY = "not-in-policy"
    BASE_REGISTRY = "is-the-base-registry"
    GONE = "registry-gone"
    NOT_SELECTED = "not-selected"
    PAUSED = "paused"
    OPTED_OUT = "opted-out"


@dataclass(frozen=True)
class Ignored:
    """An event that is none of our business, and why."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class ImagePushed:
    """A tag of the base registry was pushed.

    Attributes:
        pushed_at: When the registry saw the push, or None if the event does not tell.
    """

    event_id: str
    image: BaseImage
    pushed_at: datetime | None = None


@dataclass(frozen=True)
class RegistryChanged:
    """A registry was created or updated, or deleted."""

    event_id: str
    registry_id: str
    deleted: bool


def image_pushed(event: Mapping[str, Any], base_registry: str) -> ImagePushed | Ignored:
    """Decide whether an event is a tagged image push to the base registry.

    The registry is known by `topic`, its ARM id: `request.host` may be a regional endpoint, or missing. `tag`,
    `digest` and `request` are optional (https://github.com/Azure/azure-rest-api-specs/pull/30778).
    """
    event_id, kind = event.get("id"), event.get("eventType")
    if not _is_event_id(event_id) or not isinstance(kind, str):
        return Ignored(Reason.MALFORMED, "id or eventType is missing or malformed")
    if kind.lower() != _IMAGE_PUSHED:
        return Ignored(Reason.OTHER_TYPE, kind)
    registry = _registry_id(event.get("topic"))
    if registry is None:
        return Ignored(Reason.MALFORMED, "topic is not the id of a registry")
    if registry["name"].lower() != base_registry.lower():
        return Ignored(Reason.OTHER_REGISTRY, registry["name"])
    data = event.get("data")
    if not isinstance(data, Mapping) or not isinstance(target := data.get("target"), Mapping):
        return Ignored(Reason.MALFORMED, "data.target is missing")
    return _pushed_image(event_id, target, moment(data.get("timestamp")) or moment(event.get("eventTime")))


def _pushed_image(event_id: str, target: Mapping[str, Any], pushed_at: datetime | None) -> ImagePushed | Ignored:
    repository, tag = target.get("repository"), target.get("tag")
    digest, media_type = target.get("digest"), target.get("mediaType")
    if not isinstance(repository, str) or not images.is_repository(repository):
        return Ignored(Reason.MALFORMED, "data.target.repository is missing or no repository")
    if isinstance(media_type, str) and media_type and media_type.lower() not in _IMAGE_MEDIA_TYPES:
        return Ignored(Reason.NOT_AN_IMAGE, media_type)
    if not tag:
        return Ignored(Reason.UNTAGGED, f"{repository}@{digest}" if digest else repository)
    if not isinstance(tag, str) or not images.is_tag(tag):
        return Ignored(Reason.MALFORMED, "data.target.tag is no tag")
    if images.is_attachment_tag(tag):
        return Ignored(Reason.ATTACHMENT, f"{repository}:{tag}")
    if digest and (not isinstance(digest, str) or not images.is_digest(digest)):
        return Ignored(Reason.MALFORMED, "data.target.digest is no SHA-256 digest")
    return ImagePushed(event_id, BaseImage(repository, tag, digest or ""), pushed_at)


def registry_changed(event: Mapping[str, Any], subscriptions: tuple[str, ...]) -> RegistryChanged | Ignored:
    """Decide whether a subscription event is the write or the deletion of a registry itself, or of its tags.

    Writes of children (tasks, webhooks), runs and role assignments raise the same event types, this app's own
    writes among them, so the operation name is compared in full.
    """
    event_id, kind, data = event.get("id"), event.get("eventType"), event.get("data")
    if not _is_event_id(event_id) or not isinstance(kind, str) or not isinstance(data, Mapping):
        return Ignored(Reason.MALFORMED, "id, eventType or data is missing or malformed")
    wanted = _RESOURCE_EVENTS.get(kind.lower())
    if wanted is None:
        return Ignored(Reason.OTHER_TYPE, kind)
    operation = data.get("operationName")
    if not isinstance(operation, str):
        return Ignored(Reason.MALFORMED, "data.operationName is missing")
    tagged = operation.lower() == _TAGS_WRITTEN and wanted.endswith("/write")
    if operation.lower() != wanted and not tagged:
        return Ignored(Reason.OTHER_OPERATION, operation)
    resource = data.get("resourceUri") or event.get("subject")
    if tagged and isinstance(resource, str):
        resource = _TAGS.sub("", resource)
    registry = _registry_id(resource)
    if registry is None and tagged:
        return Ignored(Reason.OTHER_OPERATION, f"{operation} of another resource")
    if registry is None:
        return Ignored(Reason.MALFORMED, "data.resourceUri is not the id of a registry")
    if registry["subscription"].lower() not in {s.lower() for s in subscriptions}:
        return Ignored(Reason.OTHER_SUBSCRIPTION, registry["subscription"])
    return RegistryChanged(event_id, str(resource), deleted=wanted.endswith("/delete"))


def _is_event_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _EVENT_ID.fullmatch(value) is not None


def _registry_id(text: object) -> dict[str, str] | None:
    """Return the parts of a registry's ARM id, or None if the text is something else (a child, say)."""
    if not isinstance(text, str):
        return None
    parts: Mapping[str, Any] = parse_resource_id(text)
    kind = f"{parts.get('namespace', '')}/{parts.get('type', '')}"
    if kind.lower() != REGISTRY_TYPE.lower() or "child_name_1" in parts:
        return None
    group, name = str(parts.get("resource_group", "")), str(parts["name"])
    if not _GROUP_NAME.fullmatch(group) or not _REGISTRY_NAME.fullmatch(name):
        return None
    return {key: str(value) for key, value in parts.items() if isinstance(value, str)}

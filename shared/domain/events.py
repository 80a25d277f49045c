"""Is this event ours? Pure decisions on Event Grid events, each refusal with its reason.

An event's `data.claims` holds personal data: no decision keeps or repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, TypeGuard

from shared.domain import images
from shared.domain.images import BaseImage
from shared.domain.moments import moment
from shared.domain.registries import RegistryId

# An event's id becomes part of messages and of the ledger's keys; Azure's are GUIDs.
_EVENT_ID = re.compile(r"[!-~]{1,100}")

_IMAGE_MEDIA_TYPES = {
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
}


class Happening(Enum):
    """What an event tells of, as far as its type says."""

    IMAGE_PUSHED = "an image was pushed to a registry"
    RESOURCE_WRITTEN = "a resource was created or updated"
    RESOURCE_DELETED = "a resource was deleted"


# https://learn.microsoft.com/azure/role-based-access-control/permissions/containers#microsoftcontainerregistry
_OPERATIONS = {
    Happening.RESOURCE_WRITTEN: "Microsoft.ContainerRegistry/registries/write".lower(),
    Happening.RESOURCE_DELETED: "Microsoft.ContainerRegistry/registries/delete".lower(),
}
# Tags that the portal or `az tag` changes are written by an operation of their own, on a resource below the registry:
# https://learn.microsoft.com/rest/api/resources/tags/update-at-scope
_TAGS_WRITTEN = "Microsoft.Resources/tags/write".lower()
_TAGS = re.compile(r"(?i)/providers/Microsoft\.Resources/tags/default\Z")


@dataclass(frozen=True)
class Event:
    """An event as it was delivered. What is missing, or is not what it must be, is None.

    Attributes:
        type: Event Grid's name of what happened.
        happened: What that is; None if it is nothing that can matter.
        topic: ARM id of what the event comes from.
        subject: What it is about.
        time: When it happened, as Event Grid knows it.
        data: What the service that sent it tells.
    """

    id: str | None
    type: str | None
    happened: Happening | None
    topic: str | None
    subject: str | None
    time: datetime | None
    data: Mapping[str, Any] | None = field(repr=False)


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
    registry: RegistryId
    deleted: bool


def image_pushed(event: Event, base_registry: str) -> ImagePushed | Ignored:
    """Decide whether an event is a tagged image push to the base registry.

    The registry is known by `topic`, its ARM id: `request.host` may be a regional endpoint, or missing. `tag`,
    `digest` and `request` are optional (https://github.com/Azure/azure-rest-api-specs/pull/30778).
    """
    if not _is_event_id(event.id) or event.type is None:
        return Ignored(Reason.MALFORMED, "id or eventType is missing or malformed")
    if event.happened is not Happening.IMAGE_PUSHED:
        return Ignored(Reason.OTHER_TYPE, event.type)
    registry = _registry(event.topic)
    if registry is None:
        return Ignored(Reason.MALFORMED, "topic is not the id of a registry")
    if registry.name.lower() != base_registry.lower():
        return Ignored(Reason.OTHER_REGISTRY, registry.name)
    if event.data is None or not isinstance(target := event.data.get("target"), Mapping):
        return Ignored(Reason.MALFORMED, "data.target is missing")
    return _pushed_image(event.id, target, moment(event.data.get("timestamp")) or event.time)


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


def registry_changed(event: Event, subscriptions: tuple[str, ...]) -> RegistryChanged | Ignored:
    """Decide whether a subscription event is the write or the deletion of a registry itself, or of its tags.

    Writes of children (tasks, webhooks), runs and role assignments raise the same event types, this app's own
    writes among them, so the operation name is compared in full.
    """
    if not _is_event_id(event.id) or event.type is None or event.data is None:
        return Ignored(Reason.MALFORMED, "id, eventType or data is missing or malformed")
    if event.happened is None or event.happened not in _OPERATIONS:
        return Ignored(Reason.OTHER_TYPE, event.type)
    operation = event.data.get("operationName")
    if not isinstance(operation, str):
        return Ignored(Reason.MALFORMED, "data.operationName is missing")
    tagged = operation.lower() == _TAGS_WRITTEN and event.happened is Happening.RESOURCE_WRITTEN
    if operation.lower() != _OPERATIONS[event.happened] and not tagged:
        return Ignored(Reason.OTHER_OPERATION, operation)
    resource = event.data.get("resourceUri") or event.subject
    if tagged and isinstance(resource, str):
        resource = _TAGS.sub("", resource)
    registry = _registry(resource)
    if registry is None and tagged:
        return Ignored(Reason.OTHER_OPERATION, f"{operation} of another resource")
    if registry is None:
        return Ignored(Reason.MALFORMED, "data.resourceUri is not the id of a registry")
    if registry.subscription.lower() not in {s.lower() for s in subscriptions}:
        return Ignored(Reason.OTHER_SUBSCRIPTION, registry.subscription)
    return RegistryChanged(event.id, registry, deleted=event.happened is Happening.RESOURCE_DELETED)


def _is_event_id(value: str | None) -> TypeGuard[str]:
    return value is not None and _EVENT_ID.fullmatch(value) is not None


def _registry(text: object) -> RegistryId | None:
    """Return the registry whose ARM id this is, or None if it is something else (a child, say)."""
    try:
        return RegistryId.parse(text) if isinstance(text, str) else None
    except ValueError:
        return None

"""What a manifest or index says: its references, its platform and whether a registry may take it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dev.localazure.registry.errors import RegistryError

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = (DOCKER_LIST, OCI_INDEX)

MAX_MANIFEST_BYTES = 4 * 1024 * 1024

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")


def digest_of(data: bytes) -> str:
    """Return the content address of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Tell whether this is a sha256 digest."""
    return _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether this may be a tag."""
    return _TAG.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Tell whether this may be a repository name (lower case, at most 255 characters)."""
    return len(text) <= 255 and _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class References:
    """What a manifest points to.

    Attributes:
        config: Digest of the image's configuration, "" for an index.
        blobs: Digests of the configuration and the layers that the registry must hold.
        manifests: Digests of an index's children.
        size: Bytes of the configuration and all layers (ACR's `imageSize`), 0 for an index.
        subject: Digest of the manifest that this one refers to (a signature's image), or "".
        artifact_type: OCI 1.1 artifact type, or the configuration's media type.
        annotations: The manifest's own annotations.
    """

    media_type: str
    config: str
    blobs: tuple[str, ...]
    manifests: tuple[str, ...]
    size: int
    subject: str
    artifact_type: str
    annotations: tuple[tuple[str, str], ...]


def _invalid(message: str) -> RegistryError:
    return RegistryError(400, "MANIFEST_INVALID", "manifest invalid", {"Reason": message})


@lru_cache(maxsize=1024)
def parse(body: bytes, content_type: str = "") -> References:
    """Read a manifest.

    Args:
        body: The bytes as pushed.
        content_type: Media type that the client named ("" takes the one in the body).

    Raises:
        RegistryError: 400 `MANIFEST_INVALID`.
    """
    try:
        document = json.loads(body)
    except ValueError as error:
        raise _invalid(f"not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise _invalid("schemaVersion must be 2")
    stated = document.get("mediaType") or ""
    media_type = content_type.partition(";")[0].strip() or stated
    if not media_type:
        media_type = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    if stated and stated != media_type:
        raise _invalid(f"mediaType is '{stated}' but the Content-Type is '{media_type}'")
    if media_type not in (*INDEXES, DOCKER_MANIFEST, OCI_MANIFEST):
        raise _invalid(f"media type '{media_type}' is not supported")
    try:
        return _references(document, media_type)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _invalid(f"descriptors are incomplete: {error!r}") from error


def _references(document: dict[str, Any], media_type: str) -> References:
    annotations = tuple((document.get("annotations") or {}).items())
    subject = _digest(document["subject"]) if document.get("subject") else ""
    if media_type in INDEXES:
        children = tuple(_digest(d) for d in document["manifests"])
        kind = document.get("artifactType", "")
        return References(media_type, "", (), children, 0, subject, kind, annotations)
    config, layers = document["config"], document["layers"]
    # Layers with URLs of their own (Windows base layers) need not be in the registry.
    blobs = tuple(_digest(d) for d in (config, *layers) if not d.get("urls"))
    size = sum(int(d["size"]) for d in (config, *layers))
    kind = document.get("artifactType") or config["mediaType"]
    return References(media_type, _digest(config), blobs, (), size, subject, kind, annotations)


def _digest(descriptor: dict[str, Any]) -> str:
    if not is_digest(descriptor["digest"]):
        raise ValueError(f"{descriptor['digest']!r} is not a sha256 digest")
    return str(descriptor["digest"])

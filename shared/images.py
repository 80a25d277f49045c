"""Base images: `repository:tag`, with or without the digest that the tag pointed to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import InvalidInput

# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_REPOSITORY = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(rf"(?P<repository>{_REPOSITORY}):(?P<tag>{_TAG})(?:@(?P<digest>{_DIGEST}))?")
# Signatures, attestations and SBOMs that cosign and the referrers tag schema hang beside an image.
_ATTACHMENT_TAG = re.compile(r"sha256-[0-9a-f]{64}(\..+)?")


@dataclass(frozen=True)
class BaseImage:
    """A tag in the base registry.

    Attributes:
        digest: What the tag points to (`sha256:…`), or "" if that is not known.
    """

    repository: str
    tag: str
    digest: str = ""

    @property
    def name(self) -> str:
        """`repository:tag`."""
        return f"{self.repository}:{self.tag}"

    def __str__(self) -> str:
        """Write `repository:tag@digest`."""
        return f"{self.name}@{self.digest}" if self.digest else self.name


def parse(text: str, *, login_servers: tuple[str, ...] = (), field: str = "baseImage") -> BaseImage:
    """Parse `repository:tag[@digest]`, with or without one of these login servers in front.

    Raises:
        InvalidInput: The text is no such reference.
    """
    for server in login_servers:
        text = text.removeprefix(f"{server}/")
    match = _REFERENCE.fullmatch(text)
    if not match or len(match["repository"]) > 255:
        raise InvalidInput(
            f"{text!r} is not a base image: write repository:tag, e.g. baseimages/node:15-alpine.", field
        )
    return BaseImage(match["repository"], match["tag"], match["digest"] or "")


def is_repository(text: str) -> bool:
    """Tell whether the text can name a repository."""
    return len(text) <= 255 and re.fullmatch(_REPOSITORY, text) is not None


def is_tag(text: str) -> bool:
    """Tell whether the text can be a tag."""
    return re.fullmatch(_TAG, text) is not None


def is_digest(text: str) -> bool:
    """Tell whether the text is a SHA-256 digest."""
    return re.fullmatch(_DIGEST, text) is not None


def is_attachment_tag(tag: str) -> bool:
    """Tell whether a tag marks a signature, attestation or SBOM of an image and no image itself."""
    return _ATTACHMENT_TAG.fullmatch(tag) is not None

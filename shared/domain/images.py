"""Base images and patterns of them: `repository:tag` in the base registry, read in one way wherever written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shared.domain import globs
from shared.domain.echo import quoted
from shared.domain.errors import InvalidInput

# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_REPOSITORY = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_TAG_GLOB = re.compile(r"[A-Za-z0-9_.*?\[\]!-]+")
# Signatures, attestations and SBOMs that cosign and the referrers tag schema hang beside an image; the schema cuts
# longer digests: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
_ATTACHMENT_TAG = re.compile(r"sha(256|384|512)-[0-9a-f]{64,128}(\..+)?")
# What docker takes for a host: https://github.com/distribution/reference/blob/main/normalize.go
_HOST = re.compile(r"(?P<host>[^/]*[.:][^/]*|localhost)/(?P<rest>.*)", re.DOTALL)
# A domain name label adds a hash, a regional endpoint its region; other clouds end differently:
# https://learn.microsoft.com/azure/container-registry/container-registry-get-started-azure-cli
# https://learn.microsoft.com/azure/container-registry/container-registry-geo-replication
_LOGIN_SERVER = r"{name}(-[a-z0-9]+)?(\.[a-z0-9]+\.geo)?\.azurecr\.[a-z]{{2,}}"
_WRITE = "write repository:tag, e.g. baseimages/node:15-alpine"


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


@dataclass(frozen=True)
class Pattern:
    """Some tags in the base registry.

    Attributes:
        repository: Where they are; "" for every repository.
        tag: A tag or a glob.
    """

    repository: str
    tag: str

    def __str__(self) -> str:
        """Write `repository:tag`, or the tag alone."""
        return f"{self.repository}:{self.tag}" if self.repository else self.tag

    @property
    def image(self) -> BaseImage | None:
        """The one image that the pattern stands for, or None if its tag is a glob."""
        return BaseImage(self.repository, self.tag) if is_tag(self.tag) else None

    def matches(self, image: BaseImage) -> bool:
        """Tell whether the pattern stands for an image."""
        return self.repository in ("", image.repository) and fnmatchcase(image.tag, self.tag)

    def is_empty(self, without: Iterable[Pattern] = ()) -> bool:
        """Tell whether no image fits the pattern, or none that no pattern of `without` fits."""
        others = tuple(other.tag for other in without if other.repository in ("", self.repository))
        return globs.is_empty(self.tag, others) or is_attachment_tag(self.tag)


def parse(text: str, *, registry: str = "", login_servers: tuple[str, ...] = (), field: str = "baseImage") -> BaseImage:
    """Parse `repository:tag[@digest]`.

    Args:
        registry: The base registry's name. With it, or with login servers, that registry's host may stand in front,
            and another's is refused; without, the text is a repository from its first letter.

    Raises:
        InvalidInput: The text is no such reference.
    """
    try:
        rest = _without_host(text, registry, login_servers) if registry or login_servers else text
        name, at, digest = rest.partition("@")
        pattern = _split(name)
        if not is_tag(pattern.tag):
            raise ValueError("the tag is malformed")
        if at and not is_digest(digest):
            raise ValueError("the digest is malformed")
    except ValueError as error:
        raise InvalidInput(f"{quoted(text, 500)} is not a base image ({error}): {_WRITE}.", field) from None
    return BaseImage(pattern.repository, pattern.tag, digest)


def parse_pattern(text: str, *, registry: str = "", any_repository: bool = False) -> Pattern:
    """Parse `repository:tag`, whose tag may be a glob, with or without the base registry's host in front.

    Args:
        registry: The base registry's name.
        any_repository: A tag alone will do.

    Raises:
        ValueError: The text is no such pattern, or no image can ever fit it.
    """
    try:
        rest = _without_host(text, registry, ())
        if "@" in rest:
            raise ValueError("a digest never changes, so nothing would ever be rebuilt")
        pattern = Pattern("", _tag(rest)) if any_repository and not re.search("[:/]", rest) else _split(rest)
        if pattern.is_empty():
            raise ValueError("no image can ever have such a tag")
    except ValueError as error:
        raise ValueError(
            f"{quoted(text, 500)} is not repository:tag (the tag may be a glob such as 15-*): {error}"
        ) from None
    return pattern


def _without_host(text: str, registry: str, login_servers: tuple[str, ...]) -> str:
    found = _HOST.fullmatch(text)
    # In `node:15` and `node:15/x` no host is meant.
    if not found or re.fullmatch(r"[^.:]*:(?!\d+$)[^/]*", found["host"]):
        return text
    host = found["host"].lower().removesuffix(":443")
    own = _LOGIN_SERVER.format(name=re.escape(registry.lower())) if registry else r"(?!)"
    if host in {server.lower() for server in login_servers} or re.fullmatch(own, host):
        return found["rest"]
    raise ValueError(
        f"{quoted(found['host'])} is another registry, and only pushes to the base registry are seen. If the base "
        f"registry has a repository of this name, write {registry or 'the base registry'}.azurecr.io/ in front"
    )


def _split(text: str) -> Pattern:
    repository, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        raise ValueError("it has no tag")
    if repository != repository.lower():
        raise ValueError("a repository's name is in lower case")
    if re.search(r"[*?\[]", repository):
        raise ValueError("only the tag may be a glob")
    if not is_repository(repository):
        raise ValueError("the repository is malformed")
    return Pattern(repository, _tag(tag))


def _tag(text: str) -> str:
    if not text:
        raise ValueError("its tag is empty")
    if not _TAG_GLOB.fullmatch(text):
        raise ValueError("the tag holds characters that no tag can hold")
    if len(text) > 128:
        raise ValueError("a tag has 128 characters at the most")
    return text


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

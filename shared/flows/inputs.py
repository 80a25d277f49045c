"""What callers send over HTTP, read strictly: whatever is wrong with it gets a sentence that says what to send."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain import images
from shared.domain.echo import quoted, shown
from shared.domain.errors import InvalidInput
from shared.domain.images import BaseImage
from shared.domain.policy import Policy
from shared.domain.registries import Registry

_MOST_BYTES = 64 * 1024
# A header that is sent twice arrives as one, joined by a comma.
_KEY = re.compile(r"(?!.*,)[ -~]{0,100}")


class Body(BaseModel):
    """A JSON object; what is no member of it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RunBody(Body):
    """Body of `POST /api/registries/{registry}/runs`; all of it may be left out, but nothing be empty."""

    task: str = Field(default="", min_length=1, max_length=50)
    base_image: str = Field(default="", alias="baseImage", min_length=1, max_length=500)


class FleetBody(Body):
    """Body of `POST /api/runs`: one of the two."""

    all: bool = False
    base_image: str = Field(default="", alias="baseImage", min_length=1, max_length=500)


_AnyBody = TypeVar("_AnyBody", bound=Body)


def body(kind: type[_AnyBody], sent: bytes) -> _AnyBody:
    """Read a body; an empty one stands for `{}`.

    Raises:
        InvalidInput: It is something else; the text names the member.
    """
    try:
        return kind.model_validate(_json(sent) if sent else {})
    except ValidationError as error:
        first = error.errors()[0]
        field = shown(".".join(str(part) for part in first["loc"]))
        raise InvalidInput(f"{field or 'The body'}: {first['msg']}.", field) from error


def fleet_body(sent: bytes) -> FleetBody:
    """Read the body of a request for the whole fleet.

    Raises:
        InvalidInput: It says neither or both of what it can say.
    """
    wanted = body(FleetBody, sent)
    if wanted.all == bool(wanted.base_image):
        raise InvalidInput(
            'Say what to rebuild: {"baseImage": "repository:tag"} for what builds on it, or {"all": true}.'
        )
    return wanted


def base_image(text: str, policy: Policy, base: Registry | None, suffix: str) -> BaseImage | None:
    """Read the base image that a caller names; "" names none.

    Args:
        base: The base registry, if it can be read: its login server may stand in front.
        suffix: What login servers of the cloud end in.

    Raises:
        InvalidInput: It is no base image, or one of another registry.
    """
    if not text:
        return None
    known = (base.login_server,) if base else ()
    names = (*known, f"{policy.base_name.lower()}.{suffix}")
    return images.parse(text, registry=policy.base_name, login_servers=names)


def _json(sent: bytes) -> Any:
    if len(sent) > _MOST_BYTES:
        raise InvalidInput(f"The body has {len(sent)} bytes: send at most {_MOST_BYTES}.")
    if sent.startswith(b"\xef\xbb\xbf"):
        raise InvalidInput("The body begins with a byte order mark: send UTF-8 without one.")
    try:
        return json.loads(sent.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The body is not UTF-8: byte {error.start} belongs to no character.") from error
    except RecursionError as error:
        raise InvalidInput("The body: Invalid JSON: it is nested too deeply.") from error
    except ValueError as error:  # among them numbers with thousands of digits
        raise InvalidInput(f"The body: Invalid JSON: {error}.") from error


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise InvalidInput(f"{shown(name)}: is there twice.", name)
        for text in (name, value):
            if isinstance(text, str) and not text.isprintable():
                raise InvalidInput(f"{shown(name)}: {quoted(text)} has characters that cannot be printed.", name)
        found[name] = value
    return found


def idempotency_key(sent: str) -> str:
    """Return the header `Idempotency-Key`, or "" without one.

    Raises:
        InvalidInput: It is too long or has characters that a key may not have.
    """
    if not _KEY.fullmatch(sent):
        raise InvalidInput(
            f"Idempotency-Key: {quoted(sent)} is no key: send one of at most 100 printable ASCII characters, "
            "without commas.",
            "Idempotency-Key",
        )
    return sent


def part_of_path(sent: str, name: str) -> str:
    """Return what a path has in the place of a name.

    Raises:
        InvalidInput: It is encoded wrongly: names in paths are plain ASCII.
    """
    if not sent.isascii() or not sent.isprintable() or "%" in sent:
        raise InvalidInput(f"{name}: {quoted(sent)} has characters that no name in a path has.", name)
    return sent

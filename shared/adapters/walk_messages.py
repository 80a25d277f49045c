"""What travels in the queue `walks`: a call to walk a subscription, or a reason to."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from shared import telemetry
from shared.domain import images
from shared.domain.echo import shown
from shared.domain.errors import InvalidInput
from shared.domain.registries import REGISTRY_ID
from shared.telemetry import Traced

WALKS = "walks"
"""The one queue: a subscription has at most two messages in it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)


class Heard(_Part):
    """A push that an event tells of.

    Attributes:
        image: `repository:tag@digest`.
        queued_at: When it was put into the queue: a look that began later has seen it.
        looks: How often the base registry was looked at for it.
    """

    image: str = Field(max_length=500)
    event_id: str = Field(alias="eventId", max_length=200)
    pushed_at: AwareDatetime = Field(alias="pushedAt")
    queued_at: AwareDatetime = Field(alias="queuedAt")
    looks: int = Field(default=0, ge=0, le=100)


class Changed(_Part):
    """A team registry that an event tells of.

    Attributes:
        registry: Its ARM id.
        looks: How often it was looked for and not found.
    """

    registry: str = Field(pattern=REGISTRY_ID)
    event_id: str = Field(alias="eventId", max_length=200)
    looks: int = Field(default=0, ge=0, le=100)


class Ask(_Part):
    """A run of every target, or of those that build on an image, that somebody asked for.

    Attributes:
        by: Who asked.
        image: `repository:tag`, or "" for all.
    """

    id: str = Field(min_length=1, max_length=200)
    by: str = Field(max_length=100)
    image: str = Field(default="", max_length=500)


class Call(Traced):
    """A message: exactly one of these is given.

    Attributes:
        subscription: To be walked.
        heard: A push to look into.
        changed: A registry to look at.
        ask: Runs that somebody asked for.
        failures: How often it was put back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    version: Literal[1] = 1
    subscription: str | None = Field(default=None, min_length=36, max_length=36)
    heard: Heard | None = None
    changed: Changed | None = None
    ask: Ask | None = None
    failures: int = Field(default=0, ge=0)

    def encode(self) -> bytes:
        """Return the JSON object. A message that belongs to no trace joins the current one."""
        carried = {} if self.traceparent else telemetry.current()
        return self.model_copy(update=carried).model_dump_json(by_alias=True, exclude_none=True).encode()


def decode(body: bytes) -> Call:
    """Read a message.

    Raises:
        InvalidInput: It is none; the text names the member.
    """
    try:
        call = Call.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = shown(".".join(str(part) for part in first["loc"]))
        raise InvalidInput(f"not a call: {field or 'body'}: {first['msg']}", field) from error
    if sum(part is not None for part in (call.subscription, call.heard, call.changed, call.ask)) != 1:
        raise InvalidInput("not a call: give one of subscription, heard, changed and ask")
    for image in (call.heard.image if call.heard else "", call.ask.image if call.ask else ""):
        if image:
            images.parse(image, field="image")
    return call

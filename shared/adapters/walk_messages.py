"""What travels in the queue `walks`: a call to walk a subscription, or a push to look into."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from shared import telemetry
from shared.domain import images
from shared.domain.echo import shown
from shared.domain.errors import InvalidInput
from shared.telemetry import Traced

WALKS = "walks"
"""The one queue: a subscription has at most two messages in it."""


class Heard(BaseModel):
    """A push that an event tells of.

    Attributes:
        image: `repository:tag@digest`.
        queued_at: When it was put into the queue: a look that began later has seen it.
        looks: How often the base registry was looked at for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    image: str = Field(max_length=500)
    event_id: str = Field(alias="eventId", max_length=200)
    pushed_at: AwareDatetime = Field(alias="pushedAt")
    queued_at: AwareDatetime = Field(alias="queuedAt")
    looks: int = Field(default=0, ge=0, le=100)


class Call(Traced):
    """A message: walk a subscription, or look into a push and walk all.

    Attributes:
        subscription: Its id; "" for a push.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    version: Literal[1] = 1
    subscription: str = Field(default="", max_length=36)
    heard: Heard | None = None

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
    if bool(call.subscription) == (call.heard is not None):
        raise InvalidInput("not a call: give either a subscription or what was heard")
    if call.heard:
        images.parse(call.heard.image, field="heard.image")
    return call

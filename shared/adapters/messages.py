"""What travels in the queues: JSON objects, validated on the way in, each in its trace."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from shared import telemetry
from shared.domain import images, retries
from shared.domain.echo import shown
from shared.domain.errors import GroundswellError, InvalidInput
from shared.domain.images import BaseImage
from shared.domain.registries import REGISTRY_ID
from shared.domain.retries import History
from shared.telemetry import Traced

FAN_OUTS = "fan-outs"
"""Queue of base images whose rebuild is to be asked for in every registry that builds on them."""

REBUILD_REQUESTS = "rebuild-requests"
"""Queue of registries to bring to their desired state, followed by a run."""

RUN_CHECKS = "run-checks"
"""Queue of runs to look at until they have ended."""


class Cause(StrEnum):
    """Why a rebuild was asked for."""

    BASE_IMAGE_PUSHED = "base-image-pushed"
    REGISTRY_CHANGED = "registry-changed"
    MANUAL = "manual"
    RETRY = "retry"


class Image(BaseModel):
    """A base image on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    tag: str
    digest: str = ""

    def to_domain(self) -> BaseImage:
        """Return the domain's base image.

        Raises:
            InvalidInput: Repository, tag or digest is malformed.
        """
        text = f"{self.repository}:{self.tag}" + (f"@{self.digest}" if self.digest else "")
        return images.parse(text, field="image")

    @classmethod
    def of(cls, image: BaseImage) -> Image:
        """Return the wire form."""
        return cls(repository=image.repository, tag=image.tag, digest=image.digest)


class _Message(Traced):
    """What all messages have.

    Attributes:
        failing_since: Since when it has failed for reasons that are given a bounded time; None if it has not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    failing_since: AwareDatetime | None = Field(default=None, alias="failingSince")

    @property
    def history(self) -> History:
        """What it has been through, as far as that decides whether it is tried again."""
        return History(self.failing_since)

    def after_failure(self, error: GroundswellError, now: datetime, settling: timedelta) -> Self | None:
        """Return the message as it is to be tried again after a failure; None: it is to be set aside.

        Args:
            settling: How long what was just set up may take to work.
        """
        again = retries.after_failure(self.history, error, now, settling)
        return self.model_copy(update={"failing_since": again.failing_since}) if again else None

    def encode(self) -> str:
        """Return the JSON object as text. A message that belongs to no trace joins the current one.

        So a message that comes back stays where it was in its trace, however often it does.
        """
        carried = {} if self.traceparent else telemetry.current()
        return self.model_copy(update=carried).model_dump_json(by_alias=True, exclude_none=True)


class FanOut(_Message):
    """Ask for a rebuild in every registry and task that the policy selects.

    Attributes:
        id: Id of the event, or of the HTTP request, that it comes from.
        image: The base image that was pushed, or that a person named; None means all tasks, each on its default image.
        pushed_at: When the image was pushed.
        after: Where the previous page ended; "" to begin.
        subscriptions: The subscriptions to ask in; None means all.
        tasks: The tasks to ask for; None means all that are due.
        attempts: How often it was put back because of a temporary failure.
    """

    version: Literal[1] = 1
    id: str = Field(min_length=1, max_length=200)
    cause: Cause
    image: Image | None = None
    pushed_at: AwareDatetime | None = Field(default=None, alias="pushedAt")
    requested_at: AwareDatetime = Field(alias="requestedAt")
    after: str = Field(default="", max_length=64)
    subscriptions: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    attempts: int = Field(default=0, ge=0)

    @property
    def history(self) -> History:
        """What it has been through."""
        return History(self.failing_since, self.attempts, self.requested_at)


class RebuildRequest(_Message):
    """Bring one registry to its desired state for one task, then start a run.

    Attributes:
        id: The same for repeats of the same request (redelivered events, retries).
        registry: ARM id of the team registry.
        image: The base image to build on; None means the task's default image.
        pushed_at: When the image was pushed.
        created: When the registry was created, as ARM writes it, if that is known; "" otherwise.
        newborn: The registry had been created a moment before.
        attempts: How often it was put back because of a temporary failure.
        waited: How often it was put back because the subscription's budget was spent.
        has_turn: It comes back at the turn that it was given then.
        replaces: For a retry: the failed run that it repeats.
        build: For a retry: the ledger's key of the build that it repeats.
        logins_refused: For a retry: how many runs of this build could not log in to the base registry.
        refused_since: For a retry: when the first of them was scheduled.
    """

    version: Literal[1] = 1
    id: str = Field(min_length=1, max_length=200)
    registry: str = Field(pattern=REGISTRY_ID)
    task: str = Field(min_length=1, max_length=50)
    cause: Cause
    image: Image | None = None
    event_id: str = Field(default="", alias="eventId", max_length=200)
    pushed_at: AwareDatetime | None = Field(default=None, alias="pushedAt")
    requested_at: AwareDatetime = Field(alias="requestedAt")
    created: str = ""
    newborn: bool = False
    attempts: int = Field(default=0, ge=0)
    waited: int = Field(default=0, ge=0)
    has_turn: bool = Field(default=False, alias="hasTurn")
    replaces: str = Field(default="", max_length=100)
    build: str = Field(default="", max_length=300)
    logins_refused: int = Field(default=0, ge=0, le=1000, alias="loginsRefused")
    refused_since: AwareDatetime | None = Field(default=None, alias="refusedSince")

    @property
    def history(self) -> History:
        """What it has been through."""
        return History(self.failing_since, self.attempts, self.requested_at)


class RunCheck(_Message):
    """Look whether a run has ended. It is never too old: runs are followed until they are lost.

    Attributes:
        build: The ledger's key of the build that the run belongs to.
        created: The registry's creation, as ARM writes it.
        attempts: How often the run was looked at before.
    """

    version: Literal[1] = 1
    request: RebuildRequest
    run_id: str = Field(alias="runId", min_length=1, max_length=100)
    build: str
    created: str = ""
    scheduled_at: AwareDatetime = Field(alias="scheduledAt")
    attempts: int = Field(default=0, ge=0)


_AnyMessage = TypeVar("_AnyMessage", bound=_Message)


def decode(kind: type[_AnyMessage], body: bytes) -> _AnyMessage:
    """Read a queue message.

    Raises:
        InvalidInput: It is not such a message; the text names the member.
    """
    try:
        message = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = shown(".".join(str(part) for part in first["loc"]))
        raise InvalidInput(f"not a {kind.__name__}: {field or 'body'}: {first['msg']}", field) from error
    image = message.image if isinstance(message, RebuildRequest | FanOut) else None
    if image is not None:
        image.to_domain()
    return message

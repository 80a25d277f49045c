"""The two kinds of failure, and for how long each is tried again.

GroundswellError
├── PermanentError      trying again changes nothing: says what to do, and is set aside once its patience is over
│   ├── NotFound        what was asked for does not exist
│   ├── NotSelected     the policy does not give this registry the task
│   ├── InvalidInput    the caller's input is wrong, and which field
│   │   └── BodyLost    what the caller sent did not arrive
│   └── NotPermitted    Azure refused; says which right is missing
├── TemporaryError      trying again later may work; carries the delay Azure asked for
└── ConfigurationError  settings or policy are broken: loud, and retried until somebody mends them

What an answer of Azure's means stands in `shared.adapters.answers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum

from shared.domain.echo import shown


class Patience(Enum):
    """For how long what failed so is tried again before it is set aside."""

    NONE = "not at all"
    SETTLING = "as long as what was just set up may take to work (GROUNDSWELL_GRANT_PATIENCE_SECONDS)"
    HOUR = "an hour"
    DAY = "a day"

    def limit(self, settling: timedelta) -> timedelta | None:
        """Return how long after its first failure a message is given up; None: as `retries` has it for all."""
        limits = {Patience.NONE: timedelta(), Patience.SETTLING: settling, Patience.HOUR: timedelta(hours=1)}
        return limits.get(self)


class GroundswellError(Exception):
    """Base of every error that Groundswell raises on purpose; the text is for people and says what to do.

    It may repeat what others wrote, so it is kept to a line and to a length that answers and logs can bear, and without
    what looks like a credential.

    Attributes:
        patience: For how long a queue message that failed so is tried again.
    """

    patience = Patience.DAY

    def __init__(self, message: str) -> None:
        super().__init__(shown(message, 4000))


class PermanentError(GroundswellError):
    """Trying again changes nothing, unless what was just set up does not work yet: then it has some patience."""

    patience = Patience.NONE


class NotFound(PermanentError):
    """What was asked for does not exist."""


class NotSelected(PermanentError):
    """The policy does not give this registry the task."""


class InvalidInput(PermanentError):
    """The caller's input is wrong.

    Attributes:
        field: Name of the member that is wrong ("" for the whole).
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = shown(field)


class BodyLost(InvalidInput):
    """The request's body may not have arrived."""


class NotPermitted(PermanentError):
    """Azure refused because a right is missing."""


class TemporaryError(GroundswellError):
    """Trying again later may work.

    Attributes:
        retry_after: Seconds that Azure asked to wait, or None if it named none.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigurationError(GroundswellError):
    """Settings or policy are broken; the text names the setting or the field."""


def all_of(text: str, failed: Mapping[str, GroundswellError]) -> GroundswellError:
    """Return one error for several parts that fail: a temporary one as long as one of them may recover."""
    errors = list(failed.values())
    text = f"{text} {' '.join(map(str, errors))}"
    if any(isinstance(error, TemporaryError) for error in errors):
        delays = [error.retry_after for error in errors if isinstance(error, TemporaryError) and error.retry_after]
        return TemporaryError(text, max(delays, default=None))
    refused = next((error for error in errors if isinstance(error, NotPermitted)), errors[0])
    kind = NotPermitted if isinstance(refused, NotPermitted) else PermanentError
    one = kind(text)
    one.patience = refused.patience
    return one

"""Why a run could not log in, as its log tells it, and whether another run would fare better. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain import network
from shared.domain.conditions import Condition
from shared.domain.echo import shown

# A registry answers 401 to an identity without rights, 403 to an address that its firewall does not admit
# (https://github.com/Azure/azure-cli/issues/28151). The builder writes the status alone
# (https://github.com/Azure/acr-builder/blob/main/tokenutil/token_util.go), before the first step.
_TOKEN_REFUSED = re.compile(
    r"(?:failed to get ACR refresh token\W+status|exchange API response code)\W+(40[13])\b", re.IGNORECASE
)
_FIRST_STEP = "Executing step ID:"
# What docker says then (https://github.com/Azure/azure-cli/issues/27253).
_DENIED = re.compile(
    r"(?:https://(?P<host>[^/\s\"]+)/\S* )?(?:denied: )?client with IP '[^']*' is not allowed access", re.IGNORECASE
)
_ERROR_LINE = re.compile(r"\b(failed|error|denied|unauthorized|unable|not found)\b", re.IGNORECASE)
LEFT_OUT = "[The first "
"""How a log begins whose first part is left out: it is so long that steps were executed."""

_LAST_WORDS = 7
"""Lines at the end of a log that tell why the run failed; further up, a build may have met with errors and gone on."""


class Refusal(StrEnum):
    """What kept a run out of a registry."""

    TOKEN = "token"  # noqa: S105 - a word
    FORBIDDEN = "forbidden"
    FIREWALL = "firewall"


@dataclass(frozen=True)
class Refused:
    """A refused login.

    Attributes:
        host: The registry that refused it, or "" if the log does not say.
    """

    by: Refusal
    host: str = ""


@dataclass(frozen=True)
class Judgement:
    """What is to follow.

    Attributes:
        repeat: Another run may get in.
        advice: What to do otherwise, or "".
    """

    repeat: bool
    advice: str = ""


def read(text: str) -> Refused | None:
    """Tell from a failed run's log what refused its login, or None if that is not why it failed."""
    if denied := _DENIED.search("\n".join(_end(text))):
        return Refused(Refusal.FIREWALL, (denied["host"] or "").lower())
    before = "" if text.startswith(LEFT_OUT) else text.partition(_FIRST_STEP)[0]
    refused = _TOKEN_REFUSED.search(before)
    if refused is None:
        return None
    return Refused(Refusal.TOKEN if refused[1] == "401" else Refusal.FORBIDDEN)


def failure_line(text: str) -> str:
    """Return the line of a log that says best why the run failed, or "".

    The cause stands near the end; lines further up that look like errors are often warnings of a build that went on.
    """
    return next((said for line in _end(text) if _ERROR_LINE.search(said := shown(line, 500))), "")


def _end(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-_LAST_WORDS:]


def judge(
    refusal: Refusal, reach: Condition, others: tuple[Condition, ...], granted: datetime | None, *,
    at: datetime, patience: timedelta,
) -> Judgement:  # fmt: skip
    """Tell whether to repeat a run whose login was refused.

    Args:
        reach: The condition `network`.
        others: The conditions that a repeat brings about before it runs.
        granted: When the youngest of the identity's grants was made, if that is known.
        at: When the run ended.
        patience: How long a grant may take to work.
    """
    if refusal is not Refusal.TOKEN and reach.ready is not True:
        return Judgement(False, reach.message)
    if any(condition.ready is False for condition in others):
        return Judgement(True)
    if refusal is Refusal.FIREWALL or (refusal is Refusal.FORBIDDEN and reach.reason != network.OPEN):
        return Judgement(False, f"{reach.message} A change of it takes some minutes: then ask for another run.")
    if granted is None or at - granted < patience:
        return Judgement(True)
    return Judgement(
        False,
        f"The identity has its roles since {granted:%Y-%m-%d %H:%M} UTC, so this is no late grant: see whether its "
        "registries take its tokens (`az acr config authentication-as-arm show --registry …`) and whether the "
        "identity was disabled, then ask for another run.",
    )

"""What is known of a target, an image that is kept current: one task of one team registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.state.stacks import NOTHING_KNOWN, Stack

_REMEMBERED = 10
"""Runs of a target that are remembered."""


class Why(StrEnum):
    """Why a run was started."""

    FIRST = "first-run"
    CHANGED = "base-image-changed"
    ASKED = "asked-for"
    FAILED = "run-failed"
    OUTDATED = "built-on-older-content"
    FOUND = "started-by-somebody-else"


class Failure(StrEnum):
    """How a run failed, as far as it says whether to repeat it."""

    PASSING = "passing"
    UNKNOWN = "unknown"
    FINAL = "final"
    CANCELED = "canceled"


@dataclass(frozen=True)
class Ran:
    """A run of a target; times are ACR's.

    Attributes:
        asked_by: Who asked for it: `event`, `timer`, `key` …
        seq: Changes of base images up to here had been seen when it was asked for.
        content: Digest that it was asked for, or "".
        spec: Fingerprint of the task that it ran.
        request: Id of the request that asked for it, or "".
        trace: The trace that it was asked for in (`traceparent`), or "".
        looked: When the tags of its base images were first looked at after its end.
        failure: How it failed, or None.
        reason: Why it failed, in a line, or "".
    """

    id: str
    why: Why
    asked_by: str
    seq: int
    content: str
    spec: str
    created: datetime
    request: str = ""
    trace: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    looked: datetime | None = None
    failure: Failure | None = None
    reason: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.ended is not None and self.failure is None


@dataclass(frozen=True)
class Built:
    """What a run built.

    Attributes:
        image: `repository@digest` in the team registry, or "" if that is not known.
        stack: What the image is stacked up from; empty unless somebody may and did look.
        looked: When that was tried.
    """

    image: str = ""
    stack: Stack = NOTHING_KNOWN
    looked: datetime | None = None


@dataclass(frozen=True)
class Armed:
    """What the task's identity, grants and credential were like at the last look.

    Attributes:
        spec: Fingerprint of the task whose credential is known to be right, and …
        modified: … as of which change of it.
        seen: When Azure itself was last asked, and not only lists.
        principal: Of the identity that the task has for itself, or "".
        problem: What could not be brought about, or "".
        failures: How often in a row, and …
        since: … since when.
        again: When that is tried again.
    """

    spec: str = ""
    modified: str = ""
    seen: datetime | None = None
    principal: str = ""
    problem: str = ""
    failures: int = 0
    since: datetime | None = None
    again: datetime | None = None


@dataclass(frozen=True)
class Asked:
    """A run that a person asked for.

    Attributes:
        image: `repository:tag` of the base image to build on, or "".
    """

    id: str
    by: str
    image: str = ""


@dataclass(frozen=True)
class Claim:
    """The right to start a target's run. Who holds it may have died, so it runs out.

    Attributes:
        by: The invocation that holds it.
        since: When it was taken: a run that it started is not older.
        seq, content, why, asked_by, request, trace: As the run is to have them.
    """

    by: str
    since: datetime
    until: datetime
    why: Why
    asked_by: str
    seq: int
    content: str = ""
    request: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Known:
    """One target.

    Attributes:
        registry: ARM id.
        created: The registry's creation: another date is another registry, which starts afresh.
        adopted: Whether Azure was asked for runs that are not on record, if there is none on record.
        claim: Who is starting a run, or may have started one that is not on record.
        run: The last run.
        built: What the last run that ended well has built.
        failures: Runs in a row that failed for the same changes and the same task …
        failing_since: … and when the first of them ended.
        repeats: Runs in a row that ended well on older content, for the same changes.
        look: When the run, or the list of runs, is looked at next.
        past: The runs before the last one, newest last.
        missing_since: When its registry was first looked for and did not exist.
        leaving_since: When it was first seen not to belong to the fleet any more.
    """

    registry: str
    task: str
    created: str
    adopted: bool = False
    claim: Claim | None = None
    run: Ran | None = None
    built: Built = Built()
    armed: Armed = Armed()
    asked: Asked | None = None
    failures: int = 0
    failing_since: datetime | None = None
    repeats: int = 0
    look: datetime | None = None
    past: tuple[Ran, ...] = ()
    missing_since: datetime | None = None
    leaving_since: datetime | None = None

    @property
    def runs(self) -> tuple[Ran, ...]:
        """All runs on record, newest last."""
        return (*self.past, self.run) if self.run else self.past

    @property
    def was_just_seen(self) -> bool:
        """Whether Azure itself was asked since the last run was started."""
        return self.armed.seen is not None and (self.run is None or self.armed.seen > self.run.created)

    @property
    def took(self) -> timedelta | None:
        """How long the last run took that ended well, or None."""
        ended = next((run for run in reversed(self.runs) if run.succeeded), None)
        return ended.ended - (ended.started or ended.created) if ended and ended.ended else None


def asked(known: Known, asked: Asked) -> Known:
    """Record that a person asks for a run: what could not be brought about is tried again at once."""
    return replace(known, asked=asked, armed=replace(known.armed, again=None))


def started(known: Known, run: Ran, look: datetime) -> Known:
    """Record a run that was started.

    Args:
        look: When to look at it.
    """
    last = known.run
    # What somebody asked for while this run was being started is still to be done.
    is_asked = known.asked is not None and known.asked.id != run.request
    same = last is not None and last.seq == run.seq and last.spec == run.spec
    return replace(
        known,
        adopted=True,
        claim=None,
        run=run,
        asked=known.asked if is_asked else None,
        failures=known.failures if same and run.why is Why.FAILED else 0,
        failing_since=known.failing_since if same and run.why is Why.FAILED else None,
        repeats=known.repeats + 1 if same and run.why is Why.OUTDATED else known.repeats if same else 0,
        look=look,
        past=known.runs[1 - _REMEMBERED :],
    )


def ended(known: Known, run: Ran, built: Built) -> Known:
    """Record that the last run has ended."""
    return replace(
        known,
        run=run,
        built=built if run.succeeded else known.built,
        failures=0 if run.succeeded else known.failures + 1,
        failing_since=None if run.succeeded else known.failing_since or run.ended,
        look=None,
    )

"""What is due for a target, when, and why: one pure function, which everything asks that runs or shows anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.policy import KEEP, Offboarding
from shared.domain.selectors import Selection
from shared.domain.state import coverage, leaving
from shared.domain.state.bases import Base
from shared.domain.state.known import Armed, Failure, Known, Ran, Why
from shared.domain.state.leaving import Act

_TOGETHER = timedelta(seconds=10)
"""How long tags that stood on one content may take to move together."""

_LISTS_LAG = timedelta(minutes=10)
"""How long lists may show what was there before."""

_REPEATS = 2
_UNKNOWN_AGAIN = (timedelta(minutes=10), timedelta(hours=1))
_PASSING_FIRST, _PASSING_LONGEST = timedelta(seconds=15), timedelta(minutes=5)


class State(StrEnum):
    """Where a target stands."""

    CURRENT = "current"
    BUILDING = "building"
    BEHIND = "behind"
    WAITING = "waiting"
    FAILING = "failing"
    PAUSED = "paused"
    NOT_SELECTED = "not selected"
    NOT_ARMED = "not armed"
    LEAVING = "leaving"
    UNKNOWN = "unknown"


class Do(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    LOOK_AT_RUN = "look at the run"
    LOOK_AT_TAGS = "look at the tags"
    LOOK_AT_IMAGE = "look at the image"
    LOOK_FOR_RUNS = "look for runs"
    ARM = "arm"
    RUN = "run"
    NOTE = "note that it leaves or is back"
    LOOK_FOR_REGISTRY = "look for the registry"
    OFFBOARD = "offboard"


@dataclass(frozen=True)
class Step:
    """What is due.

    Attributes:
        reason: Why, in a sentence for people.
        at: When; None: now, or, if there is nothing to do, not until something changes.
        why: Why the run, if one is to be started.
    """

    state: State
    do: Do
    reason: str
    at: datetime | None = None
    why: Why | None = None

    def due(self, now: datetime) -> bool:
        """Tell whether there is something to do now."""
        return self.do is not Do.NOTHING and (self.at is None or self.at <= now)


@dataclass(frozen=True)
class Wanted:
    """What a target should be, as policy, team and base registry have it now.

    Attributes:
        bases: The base images that the task builds on.
        spec: Fingerprint of the task as it should be.
        armed: Identity, grants, task and credential are as they should be, as far as lists tell.
        gone: No list has the registry any more.
        dropped: Why it is none of the fleet's whether or not its registry exists, or "".
        offboarding: What becomes of what leaves.
        crowd: So many leave at once that a person is to look at it first.
        shared: Another target of its registry stays.
        refusal: Why the team's values or the task's file cannot be accepted, or "".
        replicated: Regions of the base registry may lag behind one another.
        proves: The app may look at the target's images.
        patience: How long what was just set up may take to work.
    """

    selection: Selection
    bases: tuple[Base, ...]
    spec: str
    armed: bool = True
    gone: bool = False
    dropped: str = ""
    offboarding: Offboarding = KEEP
    crowd: bool = False
    shared: bool = False
    refusal: str = ""
    replicated: bool = False
    proves: bool = False
    patience: timedelta = timedelta(minutes=15)

    @property
    def lost(self) -> bool:
        """Whether nothing can be seen of it any more."""
        return self.gone or bool(self.dropped)

    @property
    def stays(self) -> bool:
        """Whether it belongs to the fleet."""
        return not self.lost and self.selection in (Selection.SELECTED, Selection.PAUSED)


def next_step(known: Known, wanted: Wanted, now: datetime) -> Step:
    """Decide what is due for a target: the first rule that has an answer decides."""
    return next(step for rule in _RULES if (step := rule(known, wanted, now)))


_Rule = Callable[[Known, Wanted, datetime], Step | None]


def _claimed(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    """Whoever holds the claim may have started a run that is not on record: it is looked for before any other."""
    if wanted.lost or known.claim is None:
        return None
    return Step(State.BUILDING, Do.LOOK_FOR_RUNS, "Its run is being started.", known.claim.until)


def _under_way(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    """A target has one run at a time. What becomes of it is recorded whatever was decided since."""
    run = known.run
    if wanted.lost or run is None or run.ended:
        return None
    return Step(State.BUILDING, Do.LOOK_AT_RUN, f"Run {run.id} is under way ({run.why}).", known.look)


def _ended(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    """Tags and image are looked at before anything is decided on them."""
    run = known.run
    if wanted.lost or run is None or run.ended is None or not run.succeeded:
        return None
    if run.looked is None:
        return Step(State.BUILDING, Do.LOOK_AT_TAGS, f"Run {run.id} has ended; what it pulled is looked at.")
    if wanted.proves and known.built.looked is None:
        return Step(State.BUILDING, Do.LOOK_AT_IMAGE, f"Run {run.id} has ended; its image is looked at.")
    return None


_LEAVING = {Act.NOTHING: Do.NOTHING, Act.NOTE: Do.NOTE, Act.LOOK: Do.LOOK_FOR_REGISTRY, Act.REMOVE: Do.OFFBOARD}


def _leaves(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    """What belongs to the fleet no more is left alone for a while, and then removed if the policy says so."""
    if wanted.stays:
        is_back = known.leaving_since or known.missing_since
        return Step(State.WAITING, Do.NOTE, "It belongs to the fleet again.") if is_back else None
    if not wanted.lost and known.armed == Armed() and known.run is None:
        return None
    found = leaving.decide(known, wanted.offboarding, now, gone=wanted.gone, crowd=wanted.crowd,
                           why=wanted.dropped or f"The policy says {wanted.selection}.")  # fmt: skip
    is_kept = wanted.offboarding.action == "keep" and not wanted.lost
    state = State.NOT_SELECTED if is_kept else State.LEAVING
    return Step(state, _LEAVING[found.act], found.reason, found.at)


def _left_alone(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    if wanted.selection is Selection.PAUSED:
        return Step(State.PAUSED, Do.NOTHING, "The team has paused its rebuilds (tag base-image-rebuilds=paused).")
    if wanted.selection is not Selection.SELECTED:
        return Step(State.NOT_SELECTED, Do.NOTHING, f"The policy says {wanted.selection}.")
    if wanted.refusal:
        return Step(State.NOT_ARMED, Do.NOTHING, f"values: {wanted.refusal}")
    return None


def _not_armed(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    """What is armed before the first push has grants that work when it comes."""
    armed = known.armed
    # Lists lag behind what was just seen or written.
    is_fresh = armed.seen is not None and now - armed.seen < _LISTS_LAG
    if (wanted.armed or is_fresh) and not armed.problem:
        return None
    return Step(State.NOT_ARMED, Do.ARM, armed.problem or "Identity, grant, task or credential are missing.",
                armed.again)  # fmt: skip


def _no_base_image(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    if wanted.bases:
        return None
    return Step(State.WAITING, Do.NOTHING, "No base image that it builds on was ever pushed; the first push starts it.")


def _asked(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    if known.asked is None:
        return None
    return Step(State.WAITING, Do.RUN, "Somebody has asked for it.", why=Why.ASKED)


def _never_ran(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    if known.run is not None:
        return None
    if not known.adopted:
        return Step(State.UNKNOWN, Do.LOOK_FOR_RUNS, "Nothing is on record; its task's last run is looked for.",
                    known.look)  # fmt: skip
    return Step(State.BEHIND, Do.RUN, "It was never built on its base image.", why=Why.FIRST)


def _changed(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    bases = coverage.uncovered(known.run, known.built, wanted.bases)
    if not bases:
        return None
    names = ", ".join(sorted(base.image.name for base in bases)[:3])
    followed = [base.moved + _TOGETHER for base in bases if _left_behind(base, wanted.bases)]
    if followed and (until := max(followed)) > now:
        return Step(State.WAITING, Do.RUN, f"{names} moved; the tags beside it may follow.", until, Why.CHANGED)
    return Step(State.BEHIND, Do.RUN, f"{names} has another content now.", why=Why.CHANGED)


def _left_behind(moved: Base, bases: tuple[Base, ...]) -> bool:
    """Tell whether other tags still stand where a tag stood before it moved.

    A new tag stood nowhere. What moves beside it is what an earlier new tag left with several others: the newest
    other content, if several tags share it.
    """
    others = [base for base in bases if base.image.repository == moved.image.repository and base is not moved]
    if moved.earlier:
        return any(base.image.digest == moved.earlier[-1].digest for base in others)
    rest = [base for base in others if base.image.digest != moved.image.digest]
    if not rest:
        return False
    newest = max(rest, key=lambda base: base.moved).image.digest
    return sum(base.image.digest == newest for base in rest) > 1


def _on_older_content(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    run = known.run
    if run is None or not run.succeeded:
        return None
    below = coverage.sits_on(known.built, wanted.bases)
    if below and not below.older:
        return None
    doubt = coverage.pulled_in_doubt(run, wanted.bases)
    if below is None and not doubt:
        return None
    # Where nothing moved and no region lags, another run would pull the same.
    confirmed = all(base.confirmed for base in wanted.bases)
    if (doubt or wanted.replicated) and known.repeats < _REPEATS and confirmed:
        return Step(State.BEHIND, Do.RUN, f"Run {run.id} may have pulled an older content.", why=Why.OUTDATED)
    if below is None:
        return Step(State.UNKNOWN, Do.NOTHING, "A base image was pushed during the last run, and nobody may look at "
                    "the image.")  # fmt: skip
    return Step(State.BEHIND, Do.NOTHING, f"The image of run {run.id} is built on {below.digest}, which no base image "
                "has any more: its Dockerfile names another tag, or pins a digest.")  # fmt: skip


def _failed(known: Known, wanted: Wanted, now: datetime) -> Step | None:
    run = known.run
    if run is None or run.failure is None:
        return None
    text = f"Run {run.id} failed: {run.reason}"
    if wanted.spec not in ("", run.spec) and run.failure is not Failure.CANCELED:
        return Step(State.BEHIND, Do.RUN, f"{text} Its task was changed since.", why=Why.FAILED)
    again = _again(run, known, wanted)
    if run.failure is Failure.CANCELED:
        return Step(State.BEHIND, Do.NOTHING, f"Run {run.id} was canceled.")
    if again is None:
        return Step(State.FAILING, Do.NOTHING, text)
    return Step(State.WAITING, Do.RUN, text, again, Why.FAILED)


def _again(run: Ran, known: Known, wanted: Wanted) -> datetime | None:
    """Return when to repeat a run that failed, or None if that would be futile."""
    ended = run.ended or run.created
    if run.failure is Failure.UNKNOWN and known.failures <= len(_UNKNOWN_AGAIN):
        return ended + _UNKNOWN_AGAIN[known.failures - 1]
    if run.failure is Failure.PASSING:
        wait = min(_PASSING_FIRST * (1 << min(known.failures - 1, 10)), _PASSING_LONGEST)
        if ended + wait - (known.failing_since or ended) < wanted.patience:
            return ended + wait
    return None


def _up_to_date(known: Known, wanted: Wanted, now: datetime) -> Step:
    below = coverage.sits_on(known.built, wanted.bases)
    if wanted.replicated and below is None:
        return Step(State.UNKNOWN, Do.NOTHING, "Regions of the base registry may lag behind, and nobody may look at "
                    "the image.")  # fmt: skip
    return Step(State.CURRENT, Do.NOTHING, "The image is built on what its base images are now.")


_RULES: tuple[_Rule, ...] = (
    _claimed, _under_way, _ended, _leaves, _left_alone, _not_armed, _no_base_image, _asked, _never_ran, _changed,
    _on_older_content, _failed, _up_to_date,
)  # fmt: skip

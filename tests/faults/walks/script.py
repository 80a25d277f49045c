"""What can happen to a fleet that is walked, as data: stories that hypothesis writes, shrinks and prints."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.faults.script import FAULTS, TARGETS, Change, Disturb, Kill, Manual, Wait

TAGS = ("15-alpine", "15.1", "15.2")
CONTENTS = ("one", "two", "three")
REGISTRIES = ("teamone", "teamtwo", "faraway")
"""The last one is in another subscription."""

STORAGE = ("before", "after", 503)
"""What can go wrong on the way to storage: the connection is cut, or it is busy."""


@dataclass(frozen=True)
class Push:
    """A pipeline pushes a content under one or several tags, one after the other."""

    tags: tuple[str, ...]
    content: str


@dataclass(frozen=True)
class Deliver:
    """Event Grid delivers an event that waits.

    Attributes:
        pick: Which of the waiting events, modulo how many there are.
        copy: "keep" delivers it again later; "replica" does so under another id, as if pushed then.
    """

    pick: int
    copy: str = ""


@dataclass(frozen=True)
class Lose:
    """An event is never delivered."""

    pick: int


@dataclass(frozen=True)
class Work:
    """Two workers handle messages at once; how each worker ends, or None."""

    picks: tuple[int, ...]
    kills: tuple[Kill | None, Kill | None] = (None, None)


@dataclass(frozen=True)
class Everybody:
    """Somebody asks for a run of every target."""


@dataclass(frozen=True)
class Storage:
    """The next requests to a storage service go wrong."""

    service: str
    fault: str | int
    skip: int
    times: int


@dataclass(frozen=True)
class LoseTable:
    """The storage table is lost with all that it holds."""


Step = Push | Change | Deliver | Lose | Work | Manual | Everybody | Disturb | Storage | LoseTable | Wait


@dataclass(frozen=True)
class Story:
    """A story.

    Attributes:
        identity: Which of the two kinds of identities the policy wants.
        grant_delay: How long grants take to work, in seconds.
        pace: How long each part of a run takes, in seconds.
    """

    identity: str
    grant_delay: int
    pace: int
    steps: tuple[Step, ...]


_kills = st.builds(Kill, st.integers(1, 40), st.booleans())
_maybe = st.one_of(st.none(), st.none(), _kills)
_work = st.builds(Work, st.lists(st.integers(0, 20), min_size=1, max_size=4).map(tuple), st.tuples(_maybe, _maybe))
_deliver = st.builds(Deliver, st.integers(0, 8), st.sampled_from(("", "", "keep", "replica")))
_states = ("enabled", "enabled", "enabled", "disabled", "paused", "deleted")
_tags = st.sampled_from((TAGS[:1], TAGS[:1], TAGS[1:2], TAGS[:2], TAGS, (TAGS[1], TAGS[0])))
_steps = st.one_of(
    _work,
    _work,
    _work,
    _work,
    _deliver,
    _deliver,
    _deliver,
    st.builds(Push, _tags, st.sampled_from(CONTENTS)),
    st.builds(Push, _tags, st.sampled_from(CONTENTS)),
    st.builds(Change, st.sampled_from(REGISTRIES), st.sampled_from(_states)),
    st.builds(Change, st.sampled_from(REGISTRIES), st.sampled_from(_states)),
    st.builds(Manual, st.sampled_from(REGISTRIES), st.sampled_from(("red", "blue")), _maybe),
    st.builds(Disturb, st.sampled_from(sorted(TARGETS)), st.sampled_from(sorted(FAULTS)), st.integers(1, 5)),
    st.builds(Storage, st.sampled_from(("table", "queue")), st.sampled_from(STORAGE), st.integers(0, 12),
              st.sampled_from((1, 1, 5))),
    st.builds(Wait, st.sampled_from((5, 20, 45, 130, 310, 700))),
    st.one_of(st.builds(Lose, st.integers(0, 8)), st.builds(Everybody), st.builds(LoseTable)),
)  # fmt: skip
stories = st.builds(
    Story,
    identity=st.sampled_from(("user", "system")),
    grant_delay=st.sampled_from((0, 0, 60, 300)),
    pace=st.sampled_from((0, 5, 20, 90)),
    steps=st.lists(_steps, min_size=10, max_size=40).map(tuple),
)

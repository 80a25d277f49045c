"""What can happen to a fleet, as data: scripts that hypothesis writes, shrinks and prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

REGISTRIES = ("teamone", "teamtwo", "teamthree")
TAGS = ("15-alpine", "15.1", "15.2")
CONTENTS = ("one", "two", "three")

LISTS = r"/subscriptions/[^/]+/(resources|providers/Microsoft\.ContainerRegistry/registries)"
TARGETS: dict[str, dict[str, Any]] = {
    "anything": {},
    "lists": {"method": "GET", "path": LISTS},
    "registry": {"method": "GET", "path": r".*/registries/[^/]+"},
    "task": {"path": r".*/tasks/[^/]+(/listDetails)?"},
    "identity": {"path": r".*/userAssignedIdentities/.*"},
    "grant": {"path": r".*/roleAssignments.*"},
    "start": {"path": r".*/scheduleRun"},
    "runs": {"path": r".*/runs(/.*)?"},
    "images": {"host": r".*\.azurecr\.io"},
}
"""Which requests of the app a fault disturbs."""

FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"status": 429, "headers": {"Retry-After": "20"}},
    "server error": {"status": 500},
    "unavailable": {"status": 503, "headers": {"Retry-After": "1"}},
    "lost request": {"reset": "before"},
    "lost answer": {"reset": "after"},
    "slow answer": {"delay": 0.1},
}


@dataclass(frozen=True)
class Kill:
    """The end of a worker at one of its requests to Azure or to storage.

    Attributes:
        request: Which one, counted from 1 (over all messages that the worker has in hand).
        after: It was answered, but the worker never saw the answer.
    """

    request: int
    after: bool


@dataclass(frozen=True)
class Push:
    """A pipeline pushes a content to the base registry."""

    tag: str
    content: str


@dataclass(frozen=True)
class Change:
    """A team does something to its registry: creates it, sets its tag, or deletes it."""

    registry: str
    state: str


@dataclass(frozen=True)
class Deliver:
    """Event Grid delivers an event that waits; what the function puts out may get lost with its worker.

    Attributes:
        pick: Which of the waiting events, modulo how many there are.
        copy: "keep" delivers it again later; "replica" does so under another id.
    """

    pick: int
    copy: str = ""
    kill: Kill | None = None


@dataclass(frozen=True)
class Work:
    """Two workers handle messages at once.

    Attributes:
        picks: Which of the waiting messages, modulo how many there are; the workers take turns.
        keep: The first message comes again although it was handled.
        kills: How each worker ends, or None.
    """

    picks: tuple[int, ...]
    keep: bool = False
    kills: tuple[Kill | None, Kill | None] = (None, None)


@dataclass(frozen=True)
class Manual:
    """A person starts a run of a registry, with an idempotency key."""

    registry: str
    key: str
    kill: Kill | None = None


@dataclass(frozen=True)
class Disturb:
    """The next requests of the app to one service fail."""

    target: str
    fault: str
    times: int


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: int


Step = Push | Change | Deliver | Work | Manual | Disturb | Wait


@dataclass(frozen=True)
class Script:
    """A story.

    Attributes:
        identity: Which of the two kinds of identities the policy wants.
        cache: How long workers may reuse the fleet's lists, in seconds.
        grant_delay: How long grants take to work, in seconds.
        pace: How long each part of a run takes, in seconds.
    """

    identity: str
    cache: int
    grant_delay: int
    pace: int
    steps: tuple[Step, ...]


_kills = st.builds(Kill, st.integers(1, 14), st.booleans())
_maybe = st.one_of(st.none(), st.none(), _kills)
_work = st.builds(
    Work, st.lists(st.integers(0, 20), min_size=1, max_size=4).map(tuple), st.booleans(), st.tuples(_maybe, _maybe)
)
_deliver = st.builds(Deliver, st.integers(0, 8), st.sampled_from(("", "", "keep", "replica")), _maybe)
_states = ("enabled", "enabled", "enabled", "disabled", "paused", "deleted")
_steps = st.one_of(
    _work,
    _work,
    _work,
    _deliver,
    _deliver,
    st.builds(Push, st.sampled_from(TAGS), st.sampled_from(CONTENTS)),
    st.builds(Change, st.sampled_from(REGISTRIES), st.sampled_from(_states)),
    st.builds(Manual, st.sampled_from(REGISTRIES), st.sampled_from(("red", "blue")), _maybe),
    st.builds(Disturb, st.sampled_from(sorted(TARGETS)), st.sampled_from(sorted(FAULTS)), st.integers(1, 2)),
    st.builds(Wait, st.sampled_from((5, 45, 310, 700))),
)
scripts = st.builds(
    Script,
    identity=st.sampled_from(("user", "system")),
    cache=st.sampled_from((0, 30)),
    grant_delay=st.sampled_from((0, 0, 60, 300)),
    pace=st.sampled_from((0, 20)),
    steps=st.lists(_steps, min_size=10, max_size=40).map(tuple),
)

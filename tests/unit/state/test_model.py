"""Whatever happens and whenever it is seen: in the end the image is built on what its base image is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.images import BaseImage
from shared.domain.state.bases import Base, Hint, Tag, changed, hinted
from shared.domain.state.known import Built, Failure, Known, Ran, ended, started
from shared.domain.state.steps import Do, State, next_step
from tests.unit.state.plain import SPEC, at, digest, known, wanted

TAG = "15"


@dataclass
class World:
    """A base registry with one tag, and a team's image that follows it."""

    pushes: list[tuple[float, str]] = field(default_factory=lambda: [(-1000.0, "A")])
    bases: dict[str, Base] = field(default_factory=dict)
    seq: int = 0
    target: Known = field(default_factory=known)
    now: float = 0.0
    pulls: dict[str, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    fails: list[bool] = field(default_factory=list)
    runs: int = 0

    def content(self, moment: float) -> tuple[str, float]:
        """What the tag points to at a moment, and when it was last pushed."""
        pushed, letter = max(push for push in self.pushes if push[0] <= moment)
        return letter, pushed

    def push(self, letter: str) -> None:
        self.now += 1
        self.pushes.append((self.now, letter))

    def look(self) -> None:
        letter, pushed = self.content(self.now)
        tag = Tag(BaseImage("baseimages/node", TAG, digest(letter)), at(pushed))
        for base in changed(self.bases, [tag], self.seq + 1):
            self.seq = max(self.seq, base.seq)
            self.bases[base.image.name] = base

    def hear(self, letter: str, pushed: float) -> None:
        """An event comes, early or late or again, while the registry cannot be asked."""
        image = BaseImage("baseimages/node", TAG, digest(letter))
        if base := hinted(self.bases.get(image.name), Hint(image, at(pushed)), self.seq + 1):
            self.seq = base.seq
            self.bases[image.name] = base

    def walk(self, start_after: float, pull_after: float) -> bool:
        """Do what is due; tell whether anything was."""
        want = wanted(*self.bases.values())
        step = next_step(self.target, want, at(self.now))
        if not step.due(at(self.now)):
            return False
        if step.do is Do.LOOK_AT_TAGS:
            self.look()
            assert self.target.run
            self.target = replace(self.target, run=replace(self.target.run, looked=at(self.now)))
        elif step.do is Do.LOOK_AT_RUN:
            run = self.target.run
            assert run
            if self.now < self.ends[run.id]:
                self.target = replace(self.target, look=at(self.ends[run.id]))
                return True
            failed = self.fails.pop() if self.fails else False
            if not failed:
                self.images.append(self.content(self.pulls[run.id])[0])
            end = replace(run, ended=at(self.ends[run.id]), failure=Failure.UNKNOWN if failed else None)
            self.target = ended(self.target, end, Built())
        else:
            assert step.do is Do.RUN
            assert step.why
            self.runs += 1
            start = self.now + start_after
            run = Ran(f"cw{self.runs}", step.why, "event", self.seq, "", SPEC, at(self.now), started=at(start))
            self.pulls[run.id] = start + pull_after
            self.ends[run.id] = start + pull_after + 20
            self.target = started(self.target, run, at(self.now + 15))
        return True


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from("ABC"), st.just(0.0)),
        st.tuples(st.just("flick"), st.sampled_from("ABC"), st.floats(1, 30)),
        st.tuples(st.just("pass"), st.just(""), st.floats(0.5, 90)),
        st.tuples(st.just("look"), st.just(""), st.just(0.0)),
        st.tuples(st.just("hear"), st.just(""), st.integers(0, 5)),
        st.tuples(st.just("walk"), st.just(""), st.just(0.0)),
    ),
    max_size=40,
)
DELAYS = st.tuples(st.floats(0, 30), st.floats(0, 20))


def live(events: list[tuple[str, str, float]], delays: tuple[float, float], fails: list[bool]) -> World:
    world = World(fails=fails)
    for what, letter, amount in events:
        match what:
            case "push":
                world.push(letter)
            case "flick":
                # Pushed and taken back before anybody looks.
                before, _ = world.content(world.now)
                world.push(letter)
                world.now += amount
                world.push(before)
            case "pass":
                world.now += amount
            case "look":
                world.look()
            case "hear":
                pushed, heard = world.pushes[int(amount) % len(world.pushes)]
                world.hear(heard, pushed)
            case _:
                world.walk(*delays)
    return world


def come_to_rest(world: World, delays: tuple[float, float]) -> State:
    """Let time pass without further pushes until nothing is due."""
    for _ in range(200):
        world.look()
        while world.walk(*delays):
            pass
        want = wanted(*world.bases.values())
        step = next_step(world.target, want, at(world.now))
        if step.do is Do.NOTHING:
            return step.state
        world.now += 60
    raise AssertionError("it never comes to rest")


@settings(max_examples=400, deadline=None)
@given(EVENTS, DELAYS, st.lists(st.booleans(), max_size=2))
def test_image_ends_on_what_its_base_image_is(
    events: list[tuple[str, str, float]], delays: tuple[float, float], fails: list[bool]
) -> None:
    world = live(events, delays, fails)
    state = come_to_rest(world, delays)
    assert state is State.CURRENT
    assert world.images[-1] == world.content(world.now)[0]


@settings(max_examples=200, deadline=None)
@given(EVENTS, DELAYS)
def test_nothing_is_built_twice(events: list[tuple[str, str, float]], delays: tuple[float, float]) -> None:
    """Each run has a change of its own, but for pushes that come while a run pulls: those may cost two more."""
    world = live(events, delays, [])
    come_to_rest(world, delays)
    meanwhile = sum(any(abs(pushed - pull) < 60 for pull in world.pulls.values()) for pushed, _ in world.pushes)
    assert world.runs <= world.seq + 2 * meanwhile
    runs = world.runs
    world.now += 86_400
    come_to_rest(world, delays)
    assert world.runs == runs

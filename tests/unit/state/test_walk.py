"""One walker at a time, one message for many reasons, and nobody is forgotten."""

from __future__ import annotations

from dataclasses import replace

from shared.domain.state.walk import LEASE, Walk, given_back, is_forgotten, is_walked, raised, taken
from tests.unit.state.plain import NOON, at


def wanted(walk: Walk, now: float = 0) -> tuple[Walk, bool]:
    """Give a walk one more reason; return it as it is then, and whether to send a message."""
    raised_walk, call = raised(walk, at(now))
    return raised_walk or walk, call


def walked(now: float = 0) -> Walk:
    walk = taken(wanted(Walk())[0], "i1", at(now))
    assert walk
    return walk


def test_many_reasons_send_one_message_and_count_as_one_until_somebody_looks() -> None:
    walk, calls = Walk(), list[bool]()
    for second in range(100):
        walk, call = wanted(walk, second)
        calls.append(call)
    assert calls == [True, *[False] * 99]
    assert walk.wanted == 1
    assert wanted(walked(), 1)[0].wanted == 2


def test_message_that_was_lost_is_sent_again_for_the_next_reason() -> None:
    walk, _ = wanted(Walk())
    assert wanted(walk, 121)[1]


def test_call_whose_answer_was_lost_is_sent_all_the_same() -> None:
    written, _ = raised(Walk(), NOON)
    assert written
    assert raised(written, NOON)[1]


def test_reason_that_comes_while_somebody_walks_is_seen_without_a_message() -> None:
    walk, call = wanted(walked(), 1)
    assert not call
    assert walk.wanted > walk.walked


def test_message_that_is_under_way_is_not_sent_twice_because_somebody_walks_before_it_comes() -> None:
    called, _ = raised(Walk(), NOON)
    assert called
    walk = taken(called, "i1", at(2), instead=at(1))
    assert walk
    left = given_back(walk)
    assert raised(left, at(3)) == (replace(left, wanted=2), False)
    mine = taken(called, "i1", at(2), instead=NOON)
    assert mine
    assert mine.called is None


def test_nobody_else_walks_until_the_lease_runs_out() -> None:
    walk = walked()
    assert taken(walk, "i2", at(1)) is None
    assert taken(walk, "i1", at(1))
    other = taken(walk, "i2", NOON + LEASE)
    assert other
    assert other.by == "i2"


def test_walk_that_is_given_back_can_be_taken() -> None:
    walk = given_back(walked())
    assert not is_walked(walk, NOON)
    assert taken(walk, "i2", NOON)


def test_walk_is_forgotten_if_its_walker_died_its_message_was_lost_or_its_wake_up_did_not_come() -> None:
    assert not is_forgotten(Walk(), NOON)
    assert not is_forgotten(given_back(walked()), NOON)
    assert not is_forgotten(walked(), at(1))
    assert is_forgotten(walked(), NOON + LEASE)
    called, _ = wanted(Walk())
    assert not is_forgotten(called, at(1))
    assert is_forgotten(called, at(121))
    assert is_forgotten(Walk(wake=NOON), at(121))
    assert not is_forgotten(Walk(wake=NOON), at(60))


def swept(walk: Walk) -> Walk:
    after, _ = raised(walk, NOON, quiet=True)
    assert after
    return after


def test_walk_is_quiet_as_long_as_only_the_sweep_wants_it() -> None:
    assert swept(Walk()).quiet
    pushed, _ = raised(swept(Walk()), at(1))
    assert pushed
    assert not pushed.quiet
    assert not swept(Walk(wanted=1)).quiet


def test_walk_that_was_due_by_itself_is_not_quiet() -> None:
    waiting = swept(Walk(wake=at(10)))
    early, due = taken(waiting, "i1", at(9)), taken(waiting, "i1", at(10))
    resting = taken(replace(waiting, rests=at(10)), "i1", at(10))
    assert early
    assert due
    assert resting
    assert (early.quiet, due.quiet, resting.quiet) == (True, False, True)

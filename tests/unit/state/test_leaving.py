"""What leaves is left alone for a while; what is missing once, or leaves in a crowd, is not removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.policy import Offboarding
from shared.domain.selectors import Selection
from shared.domain.state.known import Known
from shared.domain.state.leaving import is_crowd, missed, noted
from shared.domain.state.steps import Do, State
from tests.unit.state.plain import at, base, known, ran, step, wanted

DELETE = Offboarding(after="2h", action="delete")
HOUR = 3_600
OUT = wanted(base(), selection=Selection.OPTED_OUT, offboarding=DELETE)
GONE = wanted(selection=Selection.NOT_SELECTED, gone=True, offboarding=DELETE)
DROPPED = wanted(selection=Selection.NOT_SELECTED, dropped="The policy has no task x any more.", offboarding=DELETE)


def left(seconds: float = 0) -> Known:
    return known(ran(), leaving_since=at(seconds))


@pytest.mark.parametrize("want", [OUT, DROPPED])
def test_what_leaves_is_noted_and_removed_after_its_grace(want: object) -> None:
    assert step(known(ran()), want).do is Do.NOTE  # type: ignore[arg-type]
    noticed = noted(known(ran()), at(0), stays=False)
    found = [step(noticed, want, now).do for now in (1, 2 * HOUR - 1, 2 * HOUR)]  # type: ignore[arg-type]
    assert found == [Do.NOTHING, Do.NOTHING, Do.OFFBOARD]


def test_what_leaves_is_kept_and_reported_unless_the_policy_says_delete() -> None:
    found = step(left(), replace(OUT, offboarding=Offboarding()), 1_000 * HOUR)
    assert (found.do, found.state) == (Do.NOTHING, State.NOT_SELECTED)
    assert "kept" in found.reason


def test_what_comes_back_has_its_whole_grace_again() -> None:
    back = step(left(), wanted(base()), HOUR)
    assert back.do is Do.NOTE
    again = noted(left(), at(HOUR), stays=True)
    assert step(again, wanted(base()), HOUR).state is State.CURRENT
    assert step(again, OUT, 3 * HOUR).do is Do.NOTE


def test_pause_is_no_leave() -> None:
    assert step(known(ran()), wanted(base(), selection=Selection.PAUSED)).state is State.PAUSED


def test_registry_is_gone_once_it_was_missing_twice_an_hour_apart() -> None:
    assert step(known(ran()), GONE).do is Do.LOOK_FOR_REGISTRY
    once = missed(known(ran()), at(0))
    assert not step(once, GONE, HOUR - 1).due(at(HOUR - 1))
    assert step(once, GONE, HOUR).due(at(HOUR))
    assert missed(once, at(HOUR - 1)).leaving_since is None
    twice = missed(once, at(HOUR))
    assert [step(twice, GONE, now).do for now in (HOUR, 2 * HOUR)] == [Do.NOTHING, Do.OFFBOARD]


def test_crowd_waits_for_a_person() -> None:
    found = step(left(), replace(OUT, crowd=True), 1_000 * HOUR)
    assert (found.do, found.state) == (Do.NOTHING, State.LEAVING)
    assert "person" in found.reason
    assert [is_crowd(1, 2), is_crowd(2, 20), is_crowd(2, 19), is_crowd(100, 1_000)] == [False, False, True, False]

"""What is due for a target: each row is a case, in the order in which the rules decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from shared.domain.selectors import Selection
from shared.domain.state.known import Armed, Asked, Claim, Failure, Known, Why, ended, started
from shared.domain.state.stacks import Stack
from shared.domain.state.steps import Do, State, Wanted
from tests.unit.state.plain import FAILED, NOON, at, base, built, digest, known, ran, step, wanted

RUNNING = ran("cw2", end=None)
A, B = Stack(("a",), ("from a",)), Stack(("b",), ("from b",))


def on(stack: Stack) -> Stack:
    """What a build adds to a base image."""
    return Stack((*stack.layers, "app"), (*stack.history, "copy app"))


# -- somebody is starting a run ----------------------------------------------------------------------------------------


def test_claim_that_ran_out_has_its_run_looked_for_before_any_other_is_started() -> None:
    """An answer was lost or a worker died: the run may be there, and lists lag."""
    claim = Claim("i1", NOON, at(60), Why.CHANGED, "event", 2)
    changed = base(content="B", was="A", seq=2, moved=-600)
    found = step(known(ran(), claim=claim, asked=Asked("r1", "key")), wanted(changed))
    assert (found.do, found.at) == (Do.LOOK_FOR_RUNS, at(60))
    assert not found.due(at(59))


def test_run_that_was_started_takes_the_claim_with_it() -> None:
    claim = Claim("i1", NOON, at(60), Why.CHANGED, "event", 2)
    assert started(known(ran(), claim=claim), ran("cw2", end=None), at(15)).claim is None


def test_run_that_somebody_asks_for_while_another_one_is_started_is_not_forgotten() -> None:
    asked = known(ran(), asked=Asked("r1", "key"))
    assert started(asked, ran("cw2", end=None), at(15)).asked == asked.asked
    assert started(asked, ran("cw2", end=None, request="r1"), at(15)).asked is None


# -- a run is under way ------------------------------------------------------------------------------------------------


def test_run_under_way_is_looked_at_when_that_is_due() -> None:
    found = step(known(RUNNING, look=at(60)), wanted(base()))
    assert (found.state, found.do, found.at) == (State.BUILDING, Do.LOOK_AT_RUN, at(60))
    assert not found.due(at(59))
    assert found.due(at(60))


@pytest.mark.parametrize("selection", [each for each in Selection if each is not Selection.SELECTED])
def test_end_of_a_run_is_recorded_although_its_team_has_said_no_since(selection: Selection) -> None:
    found = step(known(RUNNING), wanted(base(), selection=selection))
    assert found.do is Do.LOOK_AT_RUN
    after = step(known(replace(RUNNING, ended=at(-1), looked=NOON)), wanted(base(), selection=selection))
    assert after.do in (Do.NOTHING, Do.NOTE)


def test_change_waits_for_the_run_that_is_under_way() -> None:
    assert step(known(RUNNING), wanted(base(content="B", was="A", seq=2, moved=-1))).do is Do.LOOK_AT_RUN


# -- it has ended, and was not looked at -------------------------------------------------------------------------------


def test_tags_are_looked_at_before_anything_is_decided_on_a_run_that_ended() -> None:
    changed = base(content="B", was="A", seq=2, moved=-1)
    found = step(known(ran(end=-10, looked=None)), wanted(changed))
    assert found.do is Do.LOOK_AT_TAGS


def test_image_is_looked_at_where_the_app_may() -> None:
    assert step(known(ran()), wanted(base(), proves=True)).do is Do.LOOK_AT_IMAGE
    assert step(known(ran(), built=built()), wanted(base(), proves=True)).do is Do.NOTHING
    assert step(known(ran()), wanted(base())).do is Do.NOTHING


# -- not selected, gone, refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("special", "state"),
    [
        ({"gone": True}, State.LEAVING),
        ({"selection": Selection.PAUSED}, State.PAUSED),
        ({"selection": Selection.OPTED_OUT}, State.NOT_SELECTED),
        ({"selection": Selection.NOT_SELECTED}, State.NOT_SELECTED),
        ({"selection": Selection.IS_BASE}, State.NOT_SELECTED),
        ({"refusal": "contextUrl holds a quote"}, State.NOT_ARMED),
    ],
)
def test_nothing_is_written_or_run_for_who_is(special: dict[str, object], state: State) -> None:
    behind = wanted(base(content="B", was="A", seq=2, moved=-60), armed=False, **special)
    found = step(known(ran(), asked=Asked("r1", "key")), behind)
    assert found.do not in (Do.ARM, Do.RUN, Do.OFFBOARD)
    assert found.state is state


def test_what_never_was_anything_does_not_leave() -> None:
    found = step(known(), wanted(base(), selection=Selection.OPTED_OUT))
    assert (found.do, found.state) == (Do.NOTHING, State.NOT_SELECTED)


def test_run_in_a_registry_that_is_gone_is_not_looked_at_for_ever() -> None:
    assert step(known(RUNNING), wanted(base(), gone=True)).state is State.LEAVING


# -- nothing to build on, not armed ------------------------------------------------------------------------------------


def test_target_is_armed_and_waits_for_the_first_push_of_its_base_image() -> None:
    assert step(known(), wanted(armed=False)).do is Do.ARM
    found = step(known(), wanted())
    assert (found.state, found.do, found.at) == (State.WAITING, Do.NOTHING, None)
    assert "was ever pushed" in found.reason


def test_grant_or_credential_is_mended_before_any_run() -> None:
    changed = base(content="B", was="A", seq=2, moved=-60)
    assert step(known(ran()), wanted(changed, armed=False)).do is Do.ARM
    assert step(known(ran()), wanted(changed)).do is Do.RUN


def test_lists_that_lag_behind_what_was_just_seen_arm_nothing_twice() -> None:
    armed = known(ran(), armed=Armed(seen=NOON))
    assert step(armed, wanted(base(), armed=False), now=599).state is State.CURRENT
    assert step(armed, wanted(base(), armed=False), now=600).do is Do.ARM


def test_what_could_not_be_armed_waits_for_its_own_delay_and_says_why() -> None:
    refused = Armed(problem="Azure does not permit …/tasks/write.", failures=2, again=at(300))
    found = step(known(ran(), armed=refused), wanted(base(), armed=False))
    assert (found.state, found.do, found.at, found.reason) == (State.NOT_ARMED, Do.ARM, at(300), refused.problem)


# -- asked for, first run ----------------------------------------------------------------------------------------------


def test_person_who_asks_gets_a_run_whatever_became_of_the_last_one() -> None:
    for run in (None, ran(), ran(**FAILED), ran(failure=Failure.CANCELED)):
        found = step(known(run, asked=Asked("r1", "key"), failures=5), wanted(base()))
        assert (found.do, found.why) == (Do.RUN, Why.ASKED)
        assert found.due(NOON)


def test_last_run_is_looked_for_before_a_target_without_any_on_record_is_built() -> None:
    assert step(known(adopted=False), wanted(base())).do is Do.LOOK_FOR_RUNS
    found = step(known(), wanted(base()))
    assert (found.do, found.why) == (Do.RUN, Why.FIRST)


# -- changes -----------------------------------------------------------------------------------------------------------


def test_change_that_was_not_seen_when_the_last_run_was_asked_for_is_built() -> None:
    found = step(known(ran()), wanted(base(content="B", was="A", seq=2, moved=-60)))
    assert (found.state, found.do, found.why) == (State.BEHIND, Do.RUN, Why.CHANGED)
    assert "baseimages/node:15 has another content" in found.reason


def test_target_without_a_change_is_current() -> None:
    assert step(known(ran()), wanted(base())).state is State.CURRENT


def test_run_covers_what_moved_three_seconds_before_it_started() -> None:
    """A run that waits in the queue pulls what the tag points to when it starts."""
    late = ran(start=-100)
    assert step(known(late), wanted(base(content="B", was="A", seq=2, moved=-103))).state is State.CURRENT
    assert step(known(late), wanted(base(content="B", was="A", seq=2, moved=-102))).do is Do.RUN


def test_policy_that_gains_a_base_image_which_moved_long_ago_builds_nothing() -> None:
    added = base("16", "X", seq=9, moved=-80_000)
    assert step(known(ran()), wanted(base(), added)).state is State.CURRENT


def test_teams_end_on_the_first_content_when_it_is_pushed_a_second_time() -> None:
    back = base(content="A", was="AB", seq=3, moved=-60)
    assert step(known(ran(seq=2, content=digest("B"))), wanted(back)).do is Do.RUN


def test_floating_tag_that_follows_a_build_id_ten_minutes_later_is_built() -> None:
    build_id = base("15-b7", "B", seq=2, moved=-700)
    after_build_id = known(ran(seq=2, content=digest("B"), start=-695, end=-500))
    floating = base("15", "B", was="A", seq=3, moved=-100)
    assert step(after_build_id, wanted(floating, build_id)).do is Do.RUN


def test_new_tag_on_the_content_that_a_run_was_asked_for_is_covered() -> None:
    run = ran(seq=2, content=digest("B"), start=-60, end=-30)
    late = base("15.2", "B", seq=3, moved=-58)
    assert step(known(run), wanted(base("15", "B", was="A", seq=2, moved=-61), late)).state is State.CURRENT


def test_other_content_stands_for_its_own_tags_alone() -> None:
    """15 moves to D while latest stays on C: that C is some tag's content makes no image on C current."""
    image = known(ran(content=digest("C")), built=built(on(A)))
    latest = base("latest", "C", stack=A)
    moved = base("15", "D", was="C", seq=2, moved=-60, stack=B)
    assert step(image, wanted(moved, latest), now=-20).do is Do.RUN


# -- tags that move together -------------------------------------------------------------------------------------------


def test_tags_that_stood_together_are_waited_for_ten_seconds_at_the_most() -> None:
    moved, left = base("15", "B", was="A", seq=2, moved=-4), base("latest", "A")
    found = step(known(ran()), wanted(moved, left))
    assert (found.state, found.at, found.why) == (State.WAITING, at(6), Why.CHANGED)
    assert step(known(ran()), wanted(moved, left), now=6).due(at(6))


def test_nobody_waits_once_all_tags_have_moved() -> None:
    moved = [base(tag, "B", was="A", seq=2, moved=-1) for tag in ("15", "15.1", "latest")]
    assert step(known(ran()), wanted(*moved)).due(NOON)


def test_push_of_a_single_tag_waits_for_nothing() -> None:
    other = base("16", "X")
    assert step(known(ran()), wanted(base(content="B", was="A", seq=2, moved=-1), other)).due(NOON)
    assert step(known(ran()), wanted(base("15-b7", "B", seq=2, moved=-1), base("15-b6", "A"))).due(NOON)


def test_new_tag_waits_for_those_that_share_the_last_content() -> None:
    new = base("15.2", "B", seq=2, moved=-1)
    shared = [base(tag, "A") for tag in ("15", "15.1")]
    assert step(known(ran()), wanted(new, *shared)).at == at(9)


# -- ended well, on older content --------------------------------------------------------------------------------------


def test_dockerfile_that_pins_a_digest_leaves_its_target_behind_after_one_run() -> None:
    """No race and no lagging region explains the older content: another run would pull the same."""
    moved = base(content="B", was="A", seq=2, moved=-600, stack=B)
    moved = replace(moved, earlier=(replace(moved.earlier[0], stack=A),))
    found = step(known(ran(seq=2, start=-500, end=-400), built=built(on(A))), wanted(moved))
    assert (found.state, found.do) == (State.BEHIND, Do.NOTHING)
    assert "pins a digest" in found.reason


def test_image_on_older_content_is_built_again_twice_where_a_region_may_lag() -> None:
    moved = base(content="B", was="A", seq=2, moved=-600, stack=B)
    moved = replace(moved, earlier=(replace(moved.earlier[0], stack=A),))
    run = ran(seq=2, start=-500, end=-400)
    for repeats, do in ((0, Do.RUN), (1, Do.RUN), (2, Do.NOTHING)):
        target = known(run, built=built(on(A)), repeats=repeats)
        found = step(target, wanted(moved, replicated=True))
        assert (found.do, found.state) == (do, State.BEHIND)


def test_push_while_a_run_pulls_is_built_again() -> None:
    """A, B, A between two looks: the tag shows A as before, and only that it was touched."""
    touched = base(touched=at(-150))
    found = step(known(ran(start=-200, end=-100)), wanted(touched))
    assert (found.do, found.why) == (Do.RUN, Why.OUTDATED)
    assert step(known(ran(start=-140, end=-100)), wanted(touched)).state is State.CURRENT
    # Taken back after the run's end: what it pulled may be gone when somebody looks.
    assert step(known(ran(start=-200, end=-160, looked=at(-140))), wanted(touched)).why is Why.OUTDATED
    assert step(known(ran(start=-200, end=-160)), wanted(touched)).state is State.CURRENT


def test_run_that_starts_right_after_its_push_is_not_repeated() -> None:
    pushed = base(content="B", was="A", seq=2, moved=-62)
    assert step(known(ran(seq=2, start=-61, end=-30)), wanted(pushed)).state is State.CURRENT


def test_image_that_sits_on_todays_content_is_current_although_a_tag_was_pushed_meanwhile() -> None:
    touched = base(touched=at(-150), stack=A)
    assert step(known(ran(start=-200, end=-100), built=built(on(A))), wanted(touched)).state is State.CURRENT


def test_build_id_tag_does_not_make_an_image_older() -> None:
    floating = base("15", "A", stack=A)
    build_id = base("15-b7", "B", seq=2, moved=-600, stack=B)
    target = known(ran(seq=2, start=-500, end=-400), built=built(on(A)))
    assert step(target, wanted(floating, build_id)).state is State.CURRENT


def test_event_alone_starts_a_run_and_never_repeats_one() -> None:
    unconfirmed = base(content="B", was="A", seq=2, moved=-60, confirmed=False)
    assert step(known(ran()), wanted(unconfirmed)).do is Do.RUN
    after = known(ran(seq=2, start=-59, end=-30))
    assert step(after, wanted(unconfirmed)).do is Do.NOTHING


def test_replicated_base_registry_leaves_it_unknown_unless_the_image_is_looked_at() -> None:
    assert step(known(ran()), wanted(base(), replicated=True)).state is State.UNKNOWN
    proven = known(ran(), built=built(on(A)))
    assert step(proven, wanted(base(stack=A), replicated=True, proves=True)).state is State.CURRENT


# -- failed ------------------------------------------------------------------------------------------------------------


def fail_until_nothing_is_due(failure: Failure, want: Wanted) -> list[float]:
    """Let every run fail as soon as it is due; return when each was started."""
    target, starts, now = known(), list[float](), 0.0
    while (found := step(target, want, now)).do is Do.RUN:
        now = max(now, (found.at - NOON).total_seconds() if found.at else now)
        starts.append(now)
        assert found.why
        run = ran(f"cw{len(starts)}", start=now, end=None, why=found.why)
        target = started(target, run, at(now))
        now += 1
        target = ended(target, replace(run, ended=at(now), failure=failure, reason="no"), built())
    assert found.state is (State.BEHIND if failure is Failure.CANCELED else State.FAILING)
    return starts


def test_run_that_failed_for_unknown_reasons_is_repeated_after_ten_minutes_and_an_hour() -> None:
    first, second, third = fail_until_nothing_is_due(Failure.UNKNOWN, wanted(base()))
    assert (second - first, third - second) == (601, 3601)


def test_run_that_failed_in_passing_is_repeated_within_its_patience() -> None:
    starts = fail_until_nothing_is_due(Failure.PASSING, wanted(base(), patience=timedelta(minutes=10)))
    waits = [after - before - 1 for before, after in pairwise(starts)]
    assert waits[:4] == [15, 30, 60, 120]
    assert max(waits) <= 300
    assert 300 < starts[-1] - starts[0] <= 610


@pytest.mark.parametrize("failure", [Failure.FINAL, Failure.CANCELED])
def test_run_is_not_repeated_that_a_person_canceled_or_that_would_fail_again(failure: Failure) -> None:
    assert len(fail_until_nothing_is_due(failure, wanted(base()))) == 1


def test_failing_target_is_built_again_when_its_task_or_its_base_image_changes() -> None:
    failing = known(ran(**FAILED), failures=3)
    assert step(failing, wanted(base())).state is State.FAILING
    assert step(failing, wanted(base(), spec="spec-2")).do is Do.RUN
    changed = step(failing, wanted(base(content="B", was="A", seq=2, moved=-60)))
    assert (changed.do, changed.why) == (Do.RUN, Why.CHANGED)


def test_change_starts_the_count_of_failures_anew() -> None:
    failing = known(ran(**FAILED), failures=3)
    again = started(failing, ran("cw2", seq=2, end=None, why=Why.CHANGED), NOON)
    assert (again.failures, again.repeats, again.asked) == (0, 0, None)


def test_every_state_can_be_reached_and_says_why() -> None:
    """A state that no rule gives would be a word without a meaning."""
    reached = {
        step(target, want).state
        for target, want in [
            (known(ran()), wanted(base())),
            (known(RUNNING), wanted(base())),
            (known(), wanted(base())),
            (known(), wanted()),
            (known(ran(**FAILED), failures=3), wanted(base())),
            (known(), wanted(base(), selection=Selection.PAUSED)),
            (known(), wanted(base(), selection=Selection.OPTED_OUT)),
            (known(), wanted(base(), armed=False)),
            (known(), wanted(base(), gone=True)),
            (Known("id", "buildtask", ""), wanted(base())),
        ]
    }
    assert reached == set(State)

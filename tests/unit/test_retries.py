"""For how long what failed is tried again, and after which delay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ConfigurationError, GroundswellError, Patience, PermanentError, TemporaryError
from shared.domain.retries import GIVE_UP_AFTER, GIVE_UP_ATTEMPTS, History, after_failure, come_back, next_delay

NOW = datetime(2026, 11, 20, 8, 15, tzinfo=UTC)
SETTLING = timedelta(minutes=15)
LIMITS = {Patience.SETTLING: SETTLING, Patience.HOUR: timedelta(hours=1)}


def failure(patience: Patience) -> GroundswellError:
    error = PermanentError("refused")
    error.patience = patience
    return error


def test_what_nothing_can_mend_is_set_aside_at_once() -> None:
    assert after_failure(History(None), PermanentError("refused"), NOW, SETTLING) is None


@pytest.mark.parametrize("patience", LIMITS)
def test_time_that_a_failure_is_given_begins_with_the_first_one(patience: Patience) -> None:
    first = after_failure(History(None, attempts=3, requested_at=NOW), failure(patience), NOW, SETTLING)

    assert first == History(NOW, attempts=3, requested_at=NOW)
    just_before, over = (NOW + LIMITS[patience] - timedelta(seconds=1), NOW + LIMITS[patience])
    assert after_failure(first, failure(patience), just_before, SETTLING) == first
    assert after_failure(first, failure(patience), over, SETTLING) is None


@pytest.mark.parametrize("error", [TemporaryError("busy"), ConfigurationError("no policy")])
def test_failure_that_passes_ends_the_time_that_another_was_given(error: GroundswellError) -> None:
    history = History(NOW - timedelta(days=2), attempts=1, requested_at=NOW)

    assert after_failure(history, error, NOW, SETTLING) == History(None, attempts=1, requested_at=NOW)


@given(attempts=st.integers(0, 2 * GIVE_UP_ATTEMPTS), age=st.timedeltas(timedelta(), 2 * GIVE_UP_AFTER))
def test_request_is_given_up_only_when_it_is_old_and_has_failed_often(attempts: int, age: timedelta) -> None:
    given_up = after_failure(History(None, attempts, NOW - age), TemporaryError("busy"), NOW, SETTLING) is None

    assert given_up == (attempts >= GIVE_UP_ATTEMPTS and age > GIVE_UP_AFTER)


def test_what_is_never_too_old_is_never_given_up() -> None:
    assert after_failure(History(None, attempts=10_000), TemporaryError("busy"), NOW, SETTLING)


def test_delay_grows_to_ten_minutes() -> None:
    delays = [next_delay(attempts, TemporaryError("busy")) for attempts in range(9)]

    assert delays == [15, 30, 60, 120, 240, 480, 600, 600, 600]


def test_what_may_work_any_moment_is_tried_every_two_minutes() -> None:
    assert [next_delay(attempts, failure(Patience.SETTLING)) for attempts in (0, 3, 9)] == [15, 120, 120]


@pytest.mark.parametrize(("asked", "delay"), [(17.5, 17.5), (3600.0, 3600.0), (0.0, 1.0)])
def test_delay_that_azure_asks_for_counts_but_is_a_second_at_least(asked: float, delay: float) -> None:
    assert next_delay(5, TemporaryError("busy", asked)) == delay


@pytest.mark.parametrize("patience", [Patience.NONE, *LIMITS])
def test_what_is_never_given_up_is_tried_hourly_once_its_time_is_over(patience: Patience) -> None:
    limit = LIMITS.get(patience, timedelta())

    assert come_back(0, failure(patience), limit, SETTLING) == 3600
    assert limit == timedelta() or come_back(0, failure(patience), limit - timedelta(seconds=1), SETTLING) == 15


def test_what_passes_is_tried_at_its_own_pace_however_long_it_takes() -> None:
    assert come_back(9, TemporaryError("busy"), timedelta(days=9), SETTLING) == 600
    assert come_back(9, TemporaryError("busy", retry_after=17), timedelta(days=9), SETTLING) == 17

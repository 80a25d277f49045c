"""Schedules of timer triggers, and timers that fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localazure.functions.schedule import ScheduleError, parse_schedule
from tests.functions_host import FunctionsHost, eventually, write_app

# A Sunday.
START = datetime(2026, 11, 22, 18, 47, 59, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * * *", "2026-11-22 18:48:00"),
        ("0 */5 * * * *", "2026-11-22 18:50:00"),
        ("0 0 * * * *", "2026-11-22 19:00:00"),
        ("0 0 */2 * * *", "2026-11-22 20:00:00"),
        ("0 30 9 * * *", "2026-11-23 09:30:00"),
        ("0 30 9 * * 1-5", "2026-11-23 09:30:00"),
        ("0 30 9 * * Sun", "2026-11-29 09:30:00"),
        ("0 30 9 * Jan Mon", "2027-01-04 09:30:00"),
        ("0 0 0 13 * Fri", "2027-08-13 00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("5,8,10 * * * * *", "2026-11-22 18:48:05"),
        ("10-20/5 47 18 * * *", "2026-11-23 18:47:10"),
        ("*/10 * * * *", "2026-11-22 18:50:00"),
        ("00:00:30", "2026-11-22 18:48:29.250000"),
        ("1.00:00:00", "2026-11-23 18:47:59.250000"),
    ],
)
def test_next_occurrence_follows_the_expression(text: str, expected: str) -> None:
    assert parse_schedule(text).next_after(START) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    schedule = parse_schedule("0 0 0 1-7 * Mon")
    moments = [START]
    for _ in range(12):
        moments.append(schedule.next_after(moments[-1]))
    assert all(moment.isoweekday() == 1 and moment.day <= 7 for moment in moments[1:])
    assert moments[-1] - moments[1] < timedelta(days=340), "once in every month"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * *",
        "60 * * * * *",
        "* * * 0 * *",
        "* * * * * 7",
        "* * * * Foo *",
        "*/0 * * * * *",
        "9-3 * * * * *",
        "00:00:00",
        "1:2:3:4",
        "soon",
        "* * * * * * *",
        "² * * * * *",
    ],
)
def test_schedule_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text)


def test_schedule_that_never_fires_is_refused() -> None:
    with pytest.raises(ScheduleError):
        parse_schedule("0 0 0 31 2 *").next_after(START)


async def test_timer_fires_on_its_schedule_and_survives_a_failure(tmp_path: Path) -> None:
    source = """
        import azure.functions as func

        app = func.FunctionApp()
        runs = 0

        @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
        def tick(timer: func.TimerRequest) -> None:
            global runs
            runs += 1
            print("run", runs, "next", timer.schedule_status["Next"])
            if runs == 1:
                raise RuntimeError("first run")
        """
    with FunctionsHost(write_app(tmp_path / "app", source), {"SCHEDULE": "* * * * * *"}) as host:
        await eventually(lambda: "run 2 next" in host.log)
        assert "Failed" in host.log
        assert "tick: timer, next at" in host.log

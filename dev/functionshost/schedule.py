"""Schedules of timer triggers: NCRONTAB expressions and time spans.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions. No library is used
because those at hand follow Unix cron, where day of month OR day of week must match; in NCRONTAB both must.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from dev.functionshost.settings import parse_time_span

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_GAP = 366 * 8
"""Days between two leap days at most, across a century that has none."""


class ScheduleError(ValueError):
    """A schedule is neither an NCRONTAB expression nor a time span, or it never fires."""


class Schedule(Protocol):
    """Knows when a timer fires next. All times are UTC."""

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time strictly after the given one.

        Raises:
            ScheduleError: there is none.
        """


@dataclass(frozen=True)
class Interval:
    """Fires again and again after a fixed time span."""

    span: timedelta

    def next_after(self, moment: datetime) -> datetime:
        """Return the moment plus the span."""
        return moment + self.span


@dataclass(frozen=True)
class Crontab:
    """Fires when all six fields match. Days of the week count from Sunday, 0."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def next_after(self, moment: datetime) -> datetime:
        """Return the first matching second after the moment. See `Schedule.next_after`."""
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        for offset in range(_LONGEST_GAP + 1):
            day = start.date() + timedelta(days=offset)
            if self._fires_on(day):
                earliest = start.time() if offset == 0 else time.min
                found = self._time_from(earliest)
                if found is not None:
                    return datetime.combine(day, found, tzinfo=UTC)
        raise ScheduleError("the schedule never fires")

    def _fires_on(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _time_from(self, earliest: time) -> time | None:
        for hour in (hour for hour in self.hours if hour >= earliest.hour):
            for minute in self.minutes:
                if (hour, minute) < (earliest.hour, earliest.minute):
                    continue
                for second in self.seconds:
                    candidate = time(hour, minute, second)
                    if candidate >= earliest:
                        return candidate
        return None


def parse_schedule(text: str) -> Schedule:
    """Read a six-field NCRONTAB expression, a five-field one (seconds are 0), or a time span.

    Raises:
        ScheduleError: the text is none of them.
    """
    fields = text.split()
    if len(fields) == 1:
        try:
            span = parse_time_span(text.strip())
        except ValueError as error:
            raise ScheduleError(f"'{text}' is neither an NCRONTAB expression nor a time span") from error
        if not span:
            raise ScheduleError("a schedule's time span must be longer than zero")
        return Interval(span)
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ScheduleError(f"'{text}' has {len(fields)} fields; an NCRONTAB expression has six")
    return Crontab(
        seconds=_parse_field(fields[0], 0, 59),
        minutes=_parse_field(fields[1], 0, 59),
        hours=_parse_field(fields[2], 0, 23),
        days=_parse_field(fields[3], 1, 31),
        months=_parse_field(fields[4], 1, 12, _MONTHS),
        weekdays=_parse_field(fields[5], 0, 6, _DAYS),
    )


def _parse_field(text: str, lowest: int, highest: int, names: tuple[str, ...] = ()) -> tuple[int, ...]:
    values: set[int] = set()
    for item in text.split(","):
        span, slash, step_text = item.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = lowest, highest
        else:
            start = _number(first, lowest, names)
            end = _number(last, lowest, names) if dash else (highest if slash else start)
        step = _number(step_text, lowest, ()) if slash else 1
        if step < 1 or not lowest <= start <= end <= highest:
            raise ScheduleError(f"'{item}' is outside {lowest} to {highest}")
        values.update(range(start, end + 1, step))
    return tuple(sorted(values))


def _number(text: str, lowest: int, names: tuple[str, ...]) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    for index, name in enumerate(names):
        if len(text) >= 3 and text.lower().startswith(name):
            return index + lowest
    raise ScheduleError(f"'{text}' is no value of an NCRONTAB field")

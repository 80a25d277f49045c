"""Schedules of timer triggers: NCRONTAB expressions and time spans.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions. In Unix cron, day
of month OR day of week must match; in NCRONTAB both must.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from dev.functionshost.settings import parse_time_span

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ITEM = re.compile(r"(?:\*|([0-9]+)(?:-([0-9]+))?)(?:/[0-9]+)?")


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

    expression: str

    def next_after(self, moment: datetime) -> datetime:
        """Return the first matching second after the moment. See `Schedule.next_after`."""
        try:
            return croniter(self.expression, moment, day_or=False, second_at_beginning=True).get_next(datetime)
        except CroniterBadDateError as error:
            raise ScheduleError("the schedule never fires") from error


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
    fields[4], fields[5] = _numbered(fields[4], _MONTHS, 1), _numbered(fields[5], _DAYS, 0)
    fields = [",".join(map(_plain, field.split(","))) for field in fields]
    if re.search(r"(?<!/)\b7\b", fields[5]):  # Sunday to the library; NCRONTAB counts to 6
        raise ScheduleError(f"'{fields[5]}' is outside 0 to 6")
    expression = " ".join(fields)
    try:
        croniter.expand(expression, second_at_beginning=True)
    except CroniterBadCronError as error:
        raise ScheduleError(str(error)) from error
    return Crontab(expression)


def _numbered(field: str, names: tuple[str, ...], lowest: int) -> str:
    """Replace names, which may be longer than three letters, by numbers."""
    for number, name in enumerate(names, start=lowest):
        field = re.sub(rf"\b{name}[a-z]*", str(number), field, flags=re.IGNORECASE)
    return field


def _plain(item: str) -> str:
    """Return an item of a field as the library reads it too.

    The library knows more: ranges that wrap (and take one that ends where it starts for a whole turn), the last day,
    random values and so on.
    """
    match = _ITEM.fullmatch(item)
    if match is None or (match[2] and int(match[1]) > int(match[2])):
        raise ScheduleError(f"'{item}' is no value of an NCRONTAB field")
    return match[1] if match[1] and match[1] == match[2] else item

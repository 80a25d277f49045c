"""Timer triggers.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer. Unlike in Azure the status of a timer is
kept in memory, so an occurrence that was missed while no host ran is not made up for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

from azure.functions.meta import Datum

from localazure.functions.invoker import Invoker
from localazure.functions.model import Function, InvocationError
from localazure.functions.schedule import Schedule


def utc_now() -> datetime:
    """Return the time by which timers fire."""
    return datetime.now(UTC)


class Timer:
    """Fires one function on its schedule; a run that is late never overlaps the next."""

    def __init__(
        self,
        function: Function,
        schedule: Schedule,
        invoker: Invoker,
        *,
        run_on_startup: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._invoker = invoker
        self._run_on_startup = run_on_startup
        self._now = now
        self._last: datetime | None = None
        self._next = schedule.next_after(now())
        self._task: asyncio.Task[None] | None = None

    @property
    def next_occurrence(self) -> datetime:
        """Return when the timer fires next."""
        return self._next

    def start(self) -> None:
        """Begin to wait for the schedule."""
        self._task = asyncio.create_task(self._run(), name=f"timer {self._function.name}")

    async def stop(self) -> None:
        """Do not fire again. A run that is under way goes on."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def payload(self) -> Datum:
        """Return what the worker gets: schedule, status and whether this run is late."""
        status = {
            "Last": (self._last or datetime.min.replace(tzinfo=UTC)).isoformat(),
            "Next": self._next.isoformat(),
            "LastUpdated": (self._last or self._now()).isoformat(),
        }
        return Datum(
            json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}), "json"
        )

    async def _run(self) -> None:
        if self._run_on_startup:
            await self._fire()
        while True:
            await asyncio.sleep(max(0.0, (self._next - self._now()).total_seconds()))
            if self._now() < self._next:
                continue  # the sleep ended a moment early
            self._last, self._next = self._next, self._schedule.next_after(max(self._next, self._now()))
            await self._fire()

    async def _fire(self) -> None:
        try:
            # Shielded: stopping the timer must not cancel a run that is under way.
            await asyncio.shield(self._invoker.invoke(self._function, self.payload(), reason="timer"))
        except InvocationError:
            return  # already logged; the next occurrence comes anyway

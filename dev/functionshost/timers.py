"""Timer triggers.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer and, for the details, TimerListener and
ScheduleMonitor in https://github.com/Azure/azure-webjobs-sdk-extensions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.functions.meta import Datum

from dev.functionshost.host_blobs import HostBlobs
from dev.functionshost.invoker import Invoker
from dev.functionshost.model import Function, InvocationError
from dev.functionshost.schedule import Schedule

logger = logging.getLogger(__name__)

NEVER = datetime.min.replace(tzinfo=UTC)
_SHORTEST_MONITORED = timedelta(minutes=1)


@dataclass(frozen=True)
class Status:
    """When a timer fired last, or `NEVER`, when it fires next, and when that was noted."""

    last: datetime
    next: datetime
    updated: datetime

    def document(self) -> dict[str, str]:
        """Return the status as the worker and the host's storage have it."""
        return {"Last": self.last.isoformat(), "Next": self.next.isoformat(), "LastUpdated": self.updated.isoformat()}

    @classmethod
    def parse(cls, text: str) -> Status:
        """Read a stored status.

        Raises:
            ValueError, KeyError: it is none.
        """
        document = json.loads(text)
        return cls(*(_utc(datetime.fromisoformat(document[name])) for name in ("Last", "Next", "LastUpdated")))

    def for_schedule(self, schedule: Schedule, now: datetime) -> Status:
        """Return the status as it is; with another next time if the schedule is not the one that it was made with."""
        since = self.updated if self.last == NEVER else self.last
        expected = schedule.next_after(since)
        if expected == self.next:
            return self
        if expected < now:
            since, expected = now, schedule.next_after(now)
        return Status(NEVER, expected, since)


class Timer:
    """Fires one function on its schedule; a run that is late never overlaps the next.

    The status is kept in the host's storage, so that an occurrence that was missed while no host ran is made up for,
    once; not for a schedule that fires more than once in a minute.
    """

    def __init__(
        self,
        function: Function,
        schedule: Schedule,
        invoker: Invoker,
        blobs: HostBlobs,
        host_id: str,
        *,
        run_on_startup: bool = False,
        use_monitor: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._invoker = invoker
        self._blobs = blobs
        self._blob = f"timers/{host_id}/Host.Functions.{function.name}/status"
        self._run_on_startup = run_on_startup
        self._now = now
        first = schedule.next_after(now())
        self._monitored = use_monitor and schedule.next_after(first) - first >= _SHORTEST_MONITORED
        self._status = Status(NEVER, first, now())
        self._task: asyncio.Task[None] | None = None

    @property
    def next_occurrence(self) -> datetime:
        """Return when the timer fires next."""
        return self._status.next

    def start(self) -> None:
        """Begin to wait for the schedule."""
        self._task = asyncio.create_task(self._run(), name=f"timer {self._function.name}")

    async def stop(self) -> None:
        """Do not fire again. A run that is under way goes on."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def payload(self, *, past_due: bool = False) -> Datum:
        """Return what the worker gets: schedule, status if there is one, and whether this run is late."""
        status = self._status.document() if self._monitored else None
        document = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        return Datum(json.dumps(document), "json")

    async def _run(self) -> None:
        if self._monitored:
            await self._load()
        if self._status.next < self._now():
            logger.info("Function '%s' is past due on startup. Executing now.", self._function.name)
            await self._fire(past_due=True)
        elif self._run_on_startup:
            await self._fire()
        while True:
            await asyncio.sleep(max(0.0, (self._status.next - self._now()).total_seconds()))
            await self._fire(scheduled=True)

    async def _load(self) -> None:
        text = await self._blobs.read(self._blob)
        if text:
            try:
                self._status = Status.parse(text).for_schedule(self._schedule, self._now())
            except (ValueError, LookupError, TypeError):
                logger.warning("The status of timer '%s' cannot be read and is written anew", self._function.name)
        if text != json.dumps(self._status.document()):
            await self._store()

    async def _store(self) -> None:
        if self._monitored:
            await self._blobs.write(self._blob, json.dumps(self._status.document()))

    async def _fire(self, *, past_due: bool = False, scheduled: bool = False) -> None:
        # Shielded: stopping the timer must not cancel a run that is under way.
        await asyncio.shield(self._invoke(past_due=past_due, scheduled=scheduled))

    async def _invoke(self, *, past_due: bool, scheduled: bool) -> None:
        now = self._now()
        with contextlib.suppress(InvocationError):  # already logged; the next occurrence comes anyway
            await self._invoker.invoke(self._function, self.payload(past_due=past_due), reason="timer")
        # A sleep that ended a moment early would otherwise make it fire twice.
        fired = max(now, self._status.next) if scheduled else now
        self._status = Status(fired, self._schedule.next_after(fired), fired)
        await self._store()


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

"""Azure's clock: wall time that a test can scale or move forward, so that nothing ever has to sleep for real."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Time as localazure sees it.

    Attributes:
        scale: How many Azure seconds pass in one real second (1.0 is real time).
    """

    def __init__(self, scale: float = 1.0) -> None:
        """Start at the present moment."""
        self.scale = scale
        self._origin_real = time.monotonic()
        self._origin = datetime.now(UTC)
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return self._origin + timedelta(seconds=(time.monotonic() - self._origin_real) * self.scale)

    def _rebase(self, now: datetime) -> None:
        self._origin, self._origin_real = now, time.monotonic()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def advance(self, seconds: float) -> None:
        """Move forward by this many seconds; sleepers whose time has come wake up."""
        self._rebase(self.now() + timedelta(seconds=seconds))

    def set_scale(self, scale: float) -> None:
        """Let time pass `scale` times as fast from now on."""
        now = self.now()
        self.scale = scale
        self._rebase(now)

    async def sleep(self, seconds: float) -> None:
        """Wait until this many Azure seconds have passed."""
        await self.sleep_until(self.now() + timedelta(seconds=seconds))

    async def sleep_until(self, moment: datetime) -> None:
        """Wait until the clock shows `moment`, however it gets there."""
        while (left := (moment - self.now()).total_seconds()) > 0:
            moved = self._moved
            try:
                async with asyncio.timeout(left / self.scale if self.scale > 0 else None):
                    await moved.wait()
            except TimeoutError:
                continue


def iso(moment: datetime, *, zulu: bool = False) -> str:
    """Write a moment as ARM does: up to seven fractional digits, trailing zeros trimmed, `+00:00` or `Z`."""
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "")
    return text + ("Z" if zulu else "+00:00")

"""Values that many need at once and that may be a few seconds old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.domain.errors import GroundswellError

T = TypeVar("T")


class Cache(Generic[T]):
    """Makes each value at most once in `seconds`, and for one caller at a time: the others wait for that one."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._made: dict[str, tuple[float, T]] = {}
        self._failed: dict[str, tuple[float, GroundswellError]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, key: str, make: Callable[[], Awaitable[T]], *, max_age: float | None = None) -> T:
        """Return the value of a key, not older than `max_age` seconds: with 0 none that was begun before this call.

        Those who waited for an attempt that failed share its error: a service that does not answer is asked once.
        """
        asked, age = self._clock(), self._seconds if max_age is None else min(max_age, self._seconds)
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key in self._made:
                made, value = self._made[key]
                if made >= asked or asked - made < age:
                    return value
            if key in self._failed and self._failed[key][0] >= asked:
                raise self._failed[key][1]
            begun = self._clock()
            try:
                value = await make()
            except GroundswellError as error:
                self._failed[key] = self._clock(), error
                raise
            self._made[key] = begun, value
            self._failed.pop(key, None)
            return value

    def put(self, key: str, value: T) -> None:
        """Keep a value that became known without being asked for."""
        self._made[key] = self._clock(), value

    def forget(self, key: str) -> None:
        """Make the value of a key anew at the next call."""
        self._made.pop(key, None)

"""Values that many ask for at once."""

from __future__ import annotations

import asyncio

import pytest

from shared.adapters.cache import Cache
from shared.domain.errors import TemporaryError


async def test_those_who_wait_for_an_attempt_that_fails_share_its_error_and_who_asks_later_tries_anew() -> None:
    attempts = 0
    goes_on = asyncio.Event()

    async def make() -> str:
        nonlocal attempts
        attempts += 1
        await goes_on.wait()
        if attempts == 1:
            raise TemporaryError("not now")
        return "value"

    cache: Cache[str] = Cache(30)
    waiting = [asyncio.create_task(cache.get("key", make)) for _ in range(5)]
    await asyncio.sleep(0)
    goes_on.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(result) for result in results] == ["not now"] * 5
    assert attempts == 1
    assert await cache.get("key", make) == "value"


async def test_error_that_nobody_planned_is_not_kept() -> None:
    async def bug() -> str:
        raise ZeroDivisionError

    async def make() -> str:
        return "value"

    cache: Cache[str] = Cache(30)
    with pytest.raises(ZeroDivisionError):
        await cache.get("key", bug)
    assert await cache.get("key", make) == "value"


async def test_value_is_kept_for_as_long_as_it_may_be_and_then_made_anew() -> None:
    now, made = 100.0, 0

    async def make() -> int:
        nonlocal made
        made += 1
        return made

    cache: Cache[int] = Cache(30, lambda: now)
    assert await cache.get("key", make) == 1
    now = 129.0
    assert await cache.get("key", make) == 1
    assert await cache.get("key", make, max_age=20) == 2
    now = 160.0
    assert await cache.get("key", make) == 3

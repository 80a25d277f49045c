"""The wire between a worker and the rest of the world, where workers can be made to die."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from azure.core.pipeline.transport import AioHttpTransport

from tests.faults.script import Kill

_life: ContextVar[Life | None] = ContextVar("life", default=None)


class Life:
    """One worker's life from one step to the next: it ends at the request that `kill` says, or not at all."""

    def __init__(self, kill: Kill | None) -> None:
        self._kill, self._requests = kill, 0
        self._task: asyncio.Task[Any] | None = None
        self.ended = False

    async def live(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Work until done or killed."""

        async def work_with_this_life() -> None:
            _life.set(self)
            await work()

        self._task = asyncio.create_task(work_with_this_life())
        try:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
        finally:
            self._task.cancel()

    async def request(self, send: Callable[[], Awaitable[Any]]) -> Any:
        """Send a request, unless this is where the worker dies."""
        self._requests += 1
        fatal = self._kill is not None and self._requests >= self._kill.request
        if fatal and not (self._kill and self._kill.after and self._requests == self._kill.request):
            await self._die()
        answer = await send()
        if fatal:
            await self._die()
        return answer

    async def _die(self) -> None:
        self.ended = True
        if self._task:
            self._task.cancel()
        await asyncio.Event().wait()


@contextmanager
def tapped() -> Iterator[None]:
    """Let every request of the SDKs pass by the life of the worker that sends it."""
    send = AioHttpTransport.send

    async def watched(self: AioHttpTransport, request: Any, **options: Any) -> Any:
        life = _life.get()
        return await (life.request(lambda: send(self, request, **options)) if life else send(self, request, **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AioHttpTransport, "send", watched)
        yield

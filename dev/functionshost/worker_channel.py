"""The host's side of the worker process: starts it, hands it invocations, and starts another when it ends.

See RpcFunctionInvocationDispatcher in https://github.com/Azure/azure-functions-host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from dev.functionshost.model import Invocation, InvocationResult
from dev.functionshost.worker import OWN_ROOT
from dev.functionshost.worker_messages import Answer, Indexed, Start

logger = logging.getLogger(__name__)

MAX_CRASHES = 3
CRASHES_COUNT_FOR = 1800.0
"""Seconds; a crash that comes later after the last is the first again."""
_FAREWELL = 5.0


class WorkerGoneError(Exception):
    """The worker process ended by itself, and with it whatever it ran."""


class WorkerChannel:
    """Runs invocations in a worker process.

    Args:
        start: what the process is told first.
        given_up: called when the worker has crashed too often: the host has to end.
    """

    def __init__(self, start: Start, given_up: Callable[[], None]) -> None:
        self._start = start
        self._given_up = given_up
        self._crashes: list[float] = []
        self._process: _Process | None = None
        self._ready = asyncio.Event()
        self._closed = False
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self) -> Indexed:
        """Start the process and let it index the app; an app that ends the process is tried again.

        Raises:
            WorkerGoneError: the process ended each time.
        """
        while True:
            self._process = _Process(self._start, self._crashed)
            try:
                indexed = await self._process.indexed
            except WorkerGoneError:
                if len(self._crashes) >= MAX_CRASHES:
                    raise
            else:
                self._ready.set()
                return indexed

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        """Run one invocation; if the process is killed because another ran too long, this one never returns.

        Raises:
            WorkerGoneError: the process ended by itself.
        """
        while self._process is None or not self._ready.is_set():
            await self._ready.wait()
        return await self._process.invoke(invocation)

    def timed_out(self, invocation_id: str) -> None:
        """Replace the process that runs an invocation, however many others it runs."""
        if self._process and invocation_id in self._process.running:
            logger.warning("A function timeout has occurred. Restarting worker process executing '%s'", invocation_id)
            self._process.kill()
            self._restart()

    async def close(self, *, gently: bool) -> None:
        """End the process: gently if it has nothing more to do."""
        self._closed = True
        for task in self._restarts:
            task.cancel()
        if self._process:
            await self._process.close(gently=gently)

    def _crashed(self, process: _Process) -> None:
        if self._closed or process is not self._process:
            return
        now = time.monotonic()
        if self._crashes and now - self._crashes[-1] > CRASHES_COUNT_FOR:
            self._crashes.clear()
        self._crashes.append(now)
        logger.error("The worker process ended by itself")
        if len(self._crashes) >= MAX_CRASHES:
            logger.error("Exceeded language worker restart retry count. Shutting down the Functions Host")
            self._ready.clear()
            self._given_up()
        elif self._ready.is_set():
            self._restart()

    def _restart(self) -> None:
        self._ready.clear()
        task = asyncio.create_task(self._start_again())
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _start_again(self) -> None:
        with contextlib.suppress(WorkerGoneError):
            await self.start()


class _Process:
    """One worker process, from its start to its end."""

    def __init__(self, start: Start, ended: Callable[[_Process], None]) -> None:
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._sending = threading.Lock()
        self._killed = False
        self.running: dict[str, asyncio.Future[InvocationResult]] = {}
        self.indexed: asyncio.Future[Indexed] = self._loop.create_future()
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=OWN_ROOT,
                env=os.environ,
            )
        self._connection.send(start)
        threading.Thread(target=self._read, args=(self._connection,), name="worker", daemon=True).start()

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        answered: asyncio.Future[InvocationResult] = self._loop.create_future()
        self.running[invocation.id] = answered
        with contextlib.suppress(OSError):  # the reader sees the end of the process too, and says so
            await asyncio.to_thread(self._send, invocation)
        return await answered

    def kill(self) -> None:
        """End the process at once. Whoever waits for an answer of it waits for ever."""
        self._killed = True
        self._process.kill()

    async def close(self, *, gently: bool) -> None:
        self._killed = True
        if gently:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._send, None)
        else:
            self._process.kill()
        try:
            await asyncio.to_thread(self._process.wait, _FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Invocation | None) -> None:
        with self._sending:
            self._connection.send(message)

    def _read(self, connection: Connection) -> None:
        try:
            while True:
                message: Indexed | Answer = connection.recv()
                self._loop.call_soon_threadsafe(self._received, message)
        except (EOFError, OSError):
            connection.close()
            self._process.wait()
            with contextlib.suppress(RuntimeError):  # the host has ended, too
                self._loop.call_soon_threadsafe(self._gone)

    def _received(self, message: Indexed | Answer) -> None:
        if self._killed:
            return
        if isinstance(message, Indexed):
            self.indexed.set_result(message)
        elif (answered := self.running.pop(message.invocation, None)) and not answered.done():
            answered.set_result(message.result)

    def _gone(self) -> None:
        if self._killed:
            return
        # Counted first: whoever waits for the process looks at the count.
        self._ended(self)
        error = WorkerGoneError("the worker process ended while it ran the function")
        waiting: list[asyncio.Future[Any]] = [*self.running.values(), self.indexed]
        self.running.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

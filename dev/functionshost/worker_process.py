"""The worker process: runs the app, and speaks with the host over an inherited connection.

As in Azure host and app are two processes: an app that blocks, crashes or is killed for running too long takes neither
the host's HTTP server nor its queue leases with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection

from dev.functionshost.logs import InvocationLog, configure_logging
from dev.functionshost.model import IndexingError, Invocation
from dev.functionshost.worker import Worker, create_worker, put_app_on_path
from dev.functionshost.worker_messages import Answer, Indexed, Start


class _Session:
    """One worker's side of the conversation."""

    def __init__(self, connection: Connection, start: Start) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._app_dir = start.app_dir
        self._worker: Worker = create_worker(start.kind)
        self._invocations = InvocationLog(self._worker.current_invocation_id)
        self._tasks: set[asyncio.Task[None]] = set()
        configure_logging(
            as_json=start.log_json, invocations=self._invocations, log_levels=start.log_levels, debug=start.debug
        )

    async def run(self) -> None:
        """Index the app, then run invocations until the host says that it is enough."""
        loop, inbox = asyncio.get_running_loop(), asyncio.Queue[Invocation | None]()

        def read() -> None:
            try:
                while True:
                    loop.call_soon_threadsafe(inbox.put_nowait, self._connection.recv())
            except (EOFError, OSError):
                # The host is gone. Nothing that the app still did could be answered for.
                os._exit(1)

        threading.Thread(target=read, name="host", daemon=True).start()
        self._send(await self._index())
        while invocation := await inbox.get():
            task = asyncio.create_task(self._answer(invocation))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _index(self) -> Indexed:
        try:
            return Indexed(self._worker.name, await self._worker.index(self._app_dir))
        except IndexingError as error:
            return Indexed(self._worker.name, [], str(error), error.details)

    async def _answer(self, invocation: Invocation) -> None:
        self._invocations.started(invocation.id, invocation.function.name)
        try:
            answer = Answer(invocation.id, await self._worker.invoke(invocation))
        finally:
            self._invocations.finished(invocation.id)
        await asyncio.to_thread(self._send, answer)

    def _send(self, message: Indexed | Answer) -> None:
        with self._sending:
            self._connection.send(message)


def main(descriptor: int) -> None:
    """Run the app for the host at the other end of the connection."""
    # A signal may reach the whole group of processes, as Ctrl-C does; the host decides when its worker ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    start: Start = connection.recv()
    # The app sees its own folder as the current directory, as in Azure.
    os.chdir(start.app_dir)
    put_app_on_path(start.app_dir)
    asyncio.run(_Session(connection, start).run())


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Runs the app's code: the interface that the host uses, and the loop that keeps the app apart from the host."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from localazure.functions.model import Function, Invocation, InvocationResult

T = TypeVar("T")

APP_MODULE = "function_app"


class Worker(Protocol):
    """Indexes one app and runs its functions. A process holds one app, because modules are global."""

    name: str

    async def index(self, app_dir: Path) -> list[Function]:
        """Import the app and return its functions.

        Raises:
            IndexingError: the app cannot be imported or breaks a rule of the worker.
        """

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        """Run one invocation; a failure of the function is a result, never an exception."""

    def current_invocation_id(self) -> str | None:
        """Return the invocation on whose behalf the calling code runs."""


def create_worker(kind: str = "auto") -> Worker:
    """Return the official worker where it is installed (kind ``runtime``), else our own (kind ``library``).

    Raises:
        ModuleNotFoundError: ``runtime`` was asked for and azure-functions-runtime is not installed.
    """
    from localazure.functions.worker_library import LibraryWorker
    from localazure.functions.worker_runtime import RuntimeWorker

    if kind == "auto":
        kind = "runtime" if importlib.util.find_spec("azure_functions_runtime") else "library"
    return RuntimeWorker() if kind == "runtime" else LibraryWorker()


def put_app_on_path(app_dir: Path) -> None:
    """Make the app's modules importable in the order that the worker uses in Azure: installed packages, then the app.

    The directory from which the host was started is taken off the path, or its modules would shadow the app's.
    """
    own_root = Path(__file__).resolve().parents[2]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in {own_root, app_dir}]
    sys.path.append(str(app_dir))


class AppExitError(Exception):
    """The app tried to end its process; in Azure the worker would end and every running invocation fail."""


class AppLoop:
    """An event loop in a thread of its own for the app's code.

    In Azure host and worker are two processes. A function that blocks the loop stalls the other functions but neither
    the renewal of queue leases nor the HTTP server; with one loop for both it would.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="app", daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the app's loop and wait for its result.

        Raises:
            AppExitError: the app raised SystemExit or KeyboardInterrupt.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_survive_exit(work), self._loop))

    def close(self) -> None:
        """Stop the loop after the functions that still run were cancelled."""

        def cancel_all() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(cancel_all)
        self._thread.join(timeout=1)
        if not self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.close()


async def _survive_exit(work: Coroutine[Any, Any, T]) -> T:
    # Either exception would leave the loop's thread, and whoever waits for the coroutine would wait for ever.
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise AppExitError(f"the app ended its process: {error!r}") from error

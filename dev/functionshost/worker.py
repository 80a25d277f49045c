"""Runs the app's code: the interface of a worker, and which worker there is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Protocol

from dev.functionshost.model import Function, Invocation, InvocationResult


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


def worker_kind(kind: str) -> str:
    """Return ``runtime``, the official worker, or ``library``, our own; ``auto`` is the official one if installed.

    Raises:
        ModuleNotFoundError: ``runtime`` was asked for and azure-functions-runtime is not installed.
    """
    installed = importlib.util.find_spec("azure_functions_runtime") is not None
    if kind == "auto":
        return "runtime" if installed else "library"
    if kind == "runtime" and not installed:
        raise ModuleNotFoundError("azure-functions-runtime is not installed; it exists for Python 3.13 and later")
    return kind


def create_worker(kind: str = "auto") -> Worker:
    """Return a worker for this process. See `worker_kind`."""
    if worker_kind(kind) == "runtime":
        from dev.functionshost.worker_runtime import RuntimeWorker

        return RuntimeWorker()
    from dev.functionshost.worker_library import LibraryWorker

    return LibraryWorker()


def put_app_on_path(app_dir: Path) -> None:
    """Make the app's modules importable in the order that the worker uses in Azure: installed packages, then the app.

    The directory from which the host was started is taken off the path, or its modules would shadow the app's.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in {OWN_ROOT, app_dir}]
    sys.path.append(str(app_dir))


OWN_ROOT = Path(__file__).resolve().parents[2]
"""The directory from which the host's own package is imported."""

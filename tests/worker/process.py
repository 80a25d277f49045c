"""The worker's process: the official worker package, driven by calls in place of the gRPC channel.

The package keeps its state in modules and an app is imported once, so each app and each environment gets a process.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from tests.worker import protos

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[2]
_loop = asyncio.new_event_loop()
_connections: list[str] = []
_lines: list[str] = []


class _Lines(logging.Handler):
    """Keeps what the app logs, as the worker sends it to its host."""

    def emit(self, record: logging.LogRecord) -> None:
        _lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


def start(app: str, environment: Mapping[str, str]) -> None:
    """Make this process a worker of one app; nothing of the app is imported yet."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(app)
    # As in Azure: installed packages first, then the app, and none of the directories of whoever started the process.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in (_ROOT, Path(app))]
    sys.path.append(app)
    logging.basicConfig(level=logging.INFO, handlers=[_Lines()])
    sys.addaudithook(_watch)
    threading.Thread(target=_loop.run_forever, daemon=True).start()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        _connections.append(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}")


def index(app: str) -> tuple[protos.WorkerInitResponse, protos.FunctionMetadataResponse]:
    """Initialise the worker, which indexes the app, and ask for its functions."""
    init = _call("worker_init_request", worker_init_request=protos.WorkerInitRequest(app))
    return init, _call("functions_metadata_request")


def load(function_id: str) -> protos.FunctionLoadResponse:
    """Load a function."""
    response: protos.FunctionLoadResponse = _call(
        "function_load_request", function_load_request=protos.FunctionLoadRequest(function_id)
    )
    return response


def invoke(request: protos.InvocationRequest) -> tuple[protos.InvocationResponse, list[str]]:
    """Run an invocation; return the worker's answer and what was logged meanwhile."""
    _lines.clear()
    return _call("invocation_request", invocation_request=request), list(_lines)


def connections() -> list[str]:
    """Return the addresses that were looked up or connected to so far."""
    return list(_connections)


def _call(name: str, **request: Any) -> Any:
    runtime = importlib.import_module("azure_functions_runtime")
    message = SimpleNamespace(
        name=name, request=SimpleNamespace(**request), properties={"host": "127.0.0.1", "protos": protos}
    )
    return _run(getattr(runtime, name)(message))


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop).result()

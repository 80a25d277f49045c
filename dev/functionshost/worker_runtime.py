"""The official worker package, ``azure-functions-runtime``, driven in this process without its gRPC channel.

The package takes the message classes of the worker protocol as an argument, so plain classes stand in for the generated
ones, and offers an invocation entry that needs no messages at all. Both are internal to the package: requirements.txt
pins its version. Messages: https://github.com/Azure/azure-functions-language-worker-protobuf.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dev.functionshost.model import Function, IndexingError, Invocation, InvocationResult


class _BindingInfo(SimpleNamespace):
    undefined, out, inout = 0, 1, 2


class _StatusResult(SimpleNamespace):
    Failure, Success = 0, 1


_MESSAGES = SimpleNamespace(
    BindingInfo=_BindingInfo,
    StatusResult=_StatusResult,
    **dict.fromkeys(
        (
            "FunctionMetadataResponse",
            "RpcException",
            "RpcFunctionMetadata",
            "RpcRetryOptions",
            "WorkerInitResponse",
            "WorkerMetadata",
        ),
        SimpleNamespace,
    ),
)


class RuntimeWorker:
    """Indexes and invokes through azure_functions_runtime."""

    def __init__(self) -> None:
        self._runtime: Any = importlib.import_module("azure_functions_runtime")
        self._native: Any = importlib.import_module("azure_functions_runtime.native_invocation")
        self.name = f"azure-functions-runtime {importlib.import_module('azure_functions_runtime.version').VERSION}"
        self._ids: dict[str, str] = {}
        # The package logs its own steps; the host says the same in one line.
        logging.getLogger("azure.functions").setLevel(logging.ERROR)
        self._runtime.start_threadpool_executor()

    async def index(self, app_dir: Path) -> list[Function]:
        """Import and index the app inside the package's init request. See `Worker.index`."""
        init = SimpleNamespace(capabilities={}, function_app_directory=str(app_dir))
        response = await self._runtime.worker_init_request(
            SimpleNamespace(
                name="worker_init_request",
                request=SimpleNamespace(worker_init_request=init),
                properties={"host": "127.0.0.1", "protos": _MESSAGES},
            )
        )
        # Only here it says that telemetry cannot be configured; the host names each failure of a function itself.
        logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
        if response.result.status != _StatusResult.Success:
            raise IndexingError(response.result.exception.message, response.result.exception.stack_trace)
        metadata = await self._runtime.functions_metadata_request(None)
        found = metadata.function_metadata_results or []
        self._ids = {item.name: item.function_id for item in found}
        return [Function.from_raw_bindings(item.name, item.raw_bindings) for item in found]

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        """Run the function through the package's message-free entry. See `Worker.invoke`."""
        ok, returned, outputs, error, trace = await self._native.invocation_request_native(
            invocation.id,
            self._ids[invocation.function.name],
            [(invocation.function.trigger.name, invocation.data)],
            dict(invocation.trigger_metadata),
            trace_parent=invocation.trace_parent,
            trace_state=invocation.trace_state,
        )
        if ok:
            return InvocationResult(return_value=returned, outputs=tuple(outputs))
        return InvocationResult(error=_last_line(trace) or error or "unknown error", traceback=trace or "")

    def current_invocation_id(self) -> str | None:
        """Return the invocation on whose behalf the calling code runs."""
        current: str | None = self._runtime.invocation_id_cv.get()
        return current


def _last_line(trace: str | None) -> str:
    """Return the exception in the form 'ValueError: text', without its module."""
    line = next((line for line in reversed((trace or "").splitlines()) if line and not line.startswith(" ")), "")
    kind, separator, text = line.partition(": ")
    return kind.rpartition(".")[2] + separator + text

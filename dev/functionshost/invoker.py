"""Runs one invocation from trigger to outputs: ids, trace context, time limit, log lines."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from azure.functions.meta import Datum

from dev.functionshost.model import Function, Invocation, InvocationError, InvocationResult
from dev.functionshost.worker_channel import WorkerChannel, WorkerGoneError

logger = logging.getLogger(__name__)

_TRACE_PARENT = re.compile(r"^[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})$")

WriteOutputs = Callable[[Function, InvocationResult], Awaitable[None]]


class Invoker:
    """Lets the worker run functions, and sends their outputs.

    Args:
        worker: runs the functions.
        write_outputs: sends the outputs of a function that succeeded; an invocation succeeds only if that does.
        timeout: ``functionTimeout`` of host.json, None for no limit.
        open_telemetry: ``telemetryMode`` of host.json. The host then begins no trace for triggers that bring none:
            https://github.com/Azure/azure-sdk-for-net/issues/49793.
    """

    def __init__(
        self, worker: WorkerChannel, write_outputs: WriteOutputs, timeout: timedelta | None, *, open_telemetry: bool
    ) -> None:
        self._worker = worker
        self._write_outputs = write_outputs
        self._timeout = timeout
        self._open_telemetry = open_telemetry
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Return how many invocations are running."""
        return self._running

    async def invoke(
        self,
        function: Function,
        data: Datum,
        *,
        reason: str,
        trigger_metadata: Mapping[str, Datum] | None = None,
        trace_parent: str | None = None,
        trace_state: str = "",
    ) -> Datum | None:
        """Run a function and send its outputs.

        Args:
            function: the function to run.
            data: what the trigger received.
            reason: a word for the log, such as "Event Grid".
            trigger_metadata: further values of the trigger.
            trace_parent: the W3C traceparent of a trigger that has one; None for queues and timers.
            trace_state: the caller's W3C tracestate.

        Returns:
            The datum of the ``$return`` binding, or None.

        Raises:
            InvocationError: the function raised or ran too long, or an output could not be sent.
        """
        if trace_parent is None:
            trace_parent = "" if self._open_telemetry else child_trace_parent(None)
        invocation = Invocation(
            id=str(uuid.uuid4()),
            function=function,
            data=data,
            trigger_metadata=trigger_metadata or {},
            trace_parent=trace_parent,
            trace_state=trace_state,
        )
        self._begin(invocation, reason)
        started = time.monotonic()
        try:
            result = await self._run(invocation)
            milliseconds = (time.monotonic() - started) * 1000
        except InvocationError as error:
            milliseconds = (time.monotonic() - started) * 1000
            self._log(logging.ERROR, invocation, f"Failed after {milliseconds:.0f} ms: {error}")
            raise
        finally:
            self._end(invocation)
        self._log(logging.INFO, invocation, f"Succeeded in {milliseconds:.0f} ms")
        return result.return_value

    async def wait_until_idle(self) -> None:
        """Wait until no invocation runs."""
        await self._idle.wait()

    async def _run(self, invocation: Invocation) -> InvocationResult:
        limit = self._timeout.total_seconds() if self._timeout else None
        try:
            result = await asyncio.wait_for(self._worker.invoke(invocation), limit)
        except TimeoutError as error:
            self._worker.timed_out(invocation.id)
            raise InvocationError(f"Timeout value of {self._timeout} exceeded by function") from error
        except WorkerGoneError as error:
            raise InvocationError(str(error)) from error
        if result.error is not None:
            if result.traceback:
                self._log(logging.ERROR, invocation, result.traceback.rstrip())
            raise InvocationError(result.error)
        try:
            await self._write_outputs(invocation.function, result)
        except Exception as error:  # any failure of any output fails the invocation
            raise InvocationError(f"Error while writing outputs after the function returned: {error}") from error
        return result

    def _begin(self, invocation: Invocation, reason: str) -> None:
        self._running += 1
        self._idle.clear()
        self._log(logging.INFO, invocation, f"Executing ({reason})")

    def _end(self, invocation: Invocation) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    @staticmethod
    def _log(level: int, invocation: Invocation, text: str) -> None:
        logger.log(level, "%s", text, extra={"function": invocation.function.name, "invocation": invocation.id})


def child_trace_parent(trace_parent: str | None) -> str:
    """Return a traceparent for a new span in the caller's trace, or in a new trace when there is no valid caller.

    See https://www.w3.org/TR/trace-context/#traceparent-header.
    """
    match = _TRACE_PARENT.match((trace_parent or "").strip().lower())
    trace = match["trace"] if match else secrets.token_hex(16)
    flags = match["flags"] if match else "01"
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"

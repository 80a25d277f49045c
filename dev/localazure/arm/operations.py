"""Asynchronous ARM operations: work that goes on after the answer, and the two ways to ask how it stands.

ARM has two polling protocols
(https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations): the URL of an
`azure-asyncoperation` header answers 200 with a status, the URL of a `location` header answers 202 until it is done.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from dev.localazure.call import Answer, Call
from dev.localazure.clock import Clock
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway

Work = Callable[[], Awaitable[Any]]

REGISTRY_STATUS = (
    "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries/{registry}"
    "/operationStatuses/{operation}"
)
REGISTRY_RESULT = (
    "/subscriptions/{sub}/providers/Microsoft.ContainerRegistry/locations/{location}/operationResults/{operation}"
)


@dataclass
class Operation:
    """Work that was accepted.

    Attributes:
        path: Path of the URL to poll.
        status: `Succeeded`, `Failed`, or what the provider calls work in progress (`Creating`, …).
        pending: Body of the 202 answers of the `location` protocol, or None.
        result: Body of its last answer, or None.
        error: Why it failed.
    """

    path: str
    status: str
    pending: Any = None
    result: Any = None
    error: ArmError | None = None
    done: bool = False


class Operations:
    """The operations in progress and those that have ended.

    Attributes:
        duration: How long the providers take over a slow operation (creating or deleting a registry, importing).
            Azure takes 7 to 13 s; 0 keeps clients that poll every 30 s from waiting for nothing.
    """

    def __init__(self, clock: Clock) -> None:
        """Start with none."""
        self._clock = clock
        self.duration = timedelta(0)
        self._operations: dict[str, Operation] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def take_time(self) -> None:
        """Wait as long as a slow operation takes."""
        await self._clock.sleep(self.duration.total_seconds())

    def start(self, path: str, work: Work, *, running: str = "InProgress", pending: Any = None) -> Operation:
        """Begin work that ends after `duration`.

        Args:
            path: Path of the URL to poll; a provider routes it to `answer_status` or `answer_result`.
            work: What happens at the end. Its result is the body of the `location` protocol's last answer; an
                `ArmError` makes the operation fail.
            running: Status until then.
            pending: Body of 202 answers.
        """
        operation = Operation(path, running, pending)
        self._operations[path.lower()] = operation
        task = asyncio.get_running_loop().create_task(self._run(operation, work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return operation

    async def _run(self, operation: Operation, work: Work) -> None:
        await self.take_time()
        try:
            operation.result = await work()
            operation.status = "Succeeded"
        except ArmError as error:
            operation.error, operation.status = error, "Failed"
        operation.done = True

    def url(self, operation: Operation, api_version: str) -> str:
        """Return a fresh URL to poll. Azure signs it (`t`, `c`, `s`, `h`); the signature here is not checked."""
        ticks = int((self._clock.now() - datetime(1, 1, 1, tzinfo=UTC)).total_seconds() * 10_000_000)
        signature = {"t": ticks, "c": secrets.token_urlsafe(48), "s": secrets.token_urlsafe(48),
                     "h": secrets.token_urlsafe(32)}  # fmt: skip
        return f"https://management.azure.com{operation.path}?{urlencode({'api-version': api_version, **signature})}"

    def _find(self, call: Call) -> Operation:
        operation = self._operations.get("/" + call.request.path.strip("/").lower())
        if operation is None:
            raise ArmError(404, "NotFound", "The requested operation was not found.")
        return operation

    async def answer_status(self, call: Call) -> Answer:
        """Answer a poll of an `azure-asyncoperation` URL: 200 with the status, also when the operation failed."""
        operation = self._find(call)
        body: dict[str, Any] = {"status": operation.status}
        if operation.error is not None:
            body.update(operation.error.body())
        return Answer(200, body, {"azure-asyncoperation": self.url(operation, call.api_version)})

    async def answer_result(self, call: Call) -> Answer:
        """Answer a poll of a `location` URL: 202 until it is done, then its result, or its error."""
        operation = self._find(call)
        if operation.error is not None:
            raise operation.error
        if operation.done:
            return Answer(200, operation.result)
        return Answer(202, operation.pending, {"location": self.url(operation, call.api_version)})

    async def stop(self) -> None:
        """End what is still going on."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def reset(self) -> None:
        """Forget all operations."""
        await self.stop()
        self._operations.clear()


def register(gateway: Gateway, operations: Operations) -> None:
    """Register the URLs to poll. Their signature is the permission, so any caller may."""
    status, result = operations.answer_status, operations.answer_result
    route = gateway.route
    registry = "Microsoft.ContainerRegistry/registries"
    route("GET", REGISTRY_STATUS, f"{registry}/operationStatuses/read", status, open_to_all=True)
    route("GET", REGISTRY_RESULT, "Microsoft.ContainerRegistry/locations/operationResults/read", result,
          open_to_all=True)  # fmt: skip

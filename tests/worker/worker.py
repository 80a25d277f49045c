"""The official worker as the Functions host sees it: a process that indexes an app and runs its functions."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import uuid
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.worker import process, protos

APP = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60.0

needs_worker = [
    pytest.mark.worker,
    pytest.mark.skipif(
        sys.version_info < (3, 13),
        reason="the official worker package needs Python 3.13: .ci/run and "
        "'make test PYTHON=python3.13 VENV=.venv-3.13' run these tests there",
    ),
]


class IndexingFailed(Exception):
    """The worker could not index the app, so the host shows no functions at all."""


@dataclass(frozen=True)
class Reply:
    """What the host learns of one invocation.

    Attributes:
        error: `Type: text` of the exception, or "" if the invocation succeeded.
        outputs: Values for the output bindings, as the host receives them.
        returned: The value of the `$return` binding.
        log: One line `LEVEL logger: text` for each record.
    """

    error: str
    outputs: Mapping[str, protos.TypedData]
    returned: protos.TypedData | None
    log: str = field(repr=False)

    @property
    def messages(self) -> list[str]:
        """The messages that the host puts into the queue of the function's output binding.

        A text is one message, and a JSON list of texts several. The host would split a text that looks like a list,
        too: https://github.com/Azure/azure-functions-python-worker/issues/1492.
        """
        if not self.outputs:
            return []
        (data,) = self.outputs.values()
        if data.string is not None:
            assert isinstance(json.loads(data.string), dict)
            return [data.string]
        messages = json.loads(data.json or "")
        assert isinstance(messages, list)
        assert all(isinstance(message, str) for message in messages)
        return messages

    @property
    def http(self) -> protos.RpcHttp:
        """The HTTP response."""
        assert not self.error, self.error
        assert self.returned is not None
        assert self.returned.http is not None
        return self.returned.http

    @property
    def text(self) -> str:
        """The body of the HTTP response."""
        assert self.http.body is not None
        return (self.http.body.bytes or b"").decode()

    @property
    def json(self) -> Any:
        """The body of the HTTP response, parsed."""
        return json.loads(self.text)


class Worker:
    """A worker process for one app and one environment; use as a context manager.

    Raises:
        IndexingFailed: With the worker's words.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, app: Path = APP) -> None:
        self._environment, self._app = dict(environment or {}), app
        self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.functions: dict[str, protos.RpcFunctionMetadata] = {}

    def __enter__(self) -> Worker:
        """Start the process and index the app."""
        try:
            self._call(process.start, str(self._app), self._environment)
            init, metadata = self._call(process.index, str(self._app))
            if init.result.status != protos.StatusResult.Success:
                raise IndexingFailed(init.result.exception.message)
            self.functions = {item.name: item for item in metadata.function_metadata_results or []}
            for item in self.functions.values():
                assert self._call(process.load, item.function_id).result.status == protos.StatusResult.Success
        except BaseException:
            self._executor.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._executor.shutdown()

    def bindings(self, name: str) -> list[dict[str, Any]]:
        """Return a function's bindings, as the host reads them."""
        return [json.loads(binding) for binding in self.functions[name].raw_bindings]

    def connections(self) -> list[str]:
        """Return the addresses that the process has looked up or connected to."""
        return list(self._call(process.connections))

    async def event_grid(self, name: str, event: Mapping[str, Any], trace_parent: str = "") -> Reply:
        """Deliver an event, which is never more than one at a time; the trace is a new one if none is given."""
        return await self._invoke(name, protos.TypedData(json=json.dumps(event)), trace_parent=trace_parent)

    async def timer(self, name: str) -> Reply:
        """Let a timer fire for the first time."""
        state = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        return await self._invoke(name, protos.TypedData(json=json.dumps(state)))

    async def queue(self, name: str, body: str | bytes) -> Reply:
        """Deliver a message, decoded from base64, with the metadata of its first delivery; bytes if it is no text."""
        now = datetime.now(UTC)
        times = {"InsertionTime": now, "ExpirationTime": now + timedelta(days=7), "NextVisibleTime": now}
        data = protos.TypedData(bytes=body) if isinstance(body, bytes) else protos.TypedData(string=body)
        metadata = {
            "QueueTrigger": data,
            "Id": protos.TypedData(string=str(uuid.uuid4())),
            "PopReceipt": protos.TypedData(string="AgAAAAMAAAAAAAAA"),
            "DequeueCount": protos.TypedData(json="1"),
            **{key: protos.TypedData(json=json.dumps(moment.isoformat())) for key, moment in times.items()},
        }
        return await self._invoke(name, data, metadata)

    async def http(
        self,
        name: str,
        url: str,
        route: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request with the method that the function's route asks for.

        Args:
            name: The function.
            url: Path and query.
            route: Values of the route's parameters.
            body: Sent as bytes; none if empty.
            headers: More headers; the host lower-cases their names.
        """
        trigger = next(binding for binding in self.bindings(name) if binding["type"] == "httpTrigger")
        sent = {"host": "groundswell.azurewebsites.net", **{k.lower(): v for k, v in (headers or {}).items()}}
        request = protos.RpcHttp(
            method=trigger["methods"][0],
            url=f"https://groundswell.azurewebsites.net{url}",
            headers=sent,
            body=protos.TypedData(bytes=body) if body else None,
            params=dict(route or {}),
            query=dict(parse_qsl(urlsplit(url).query)),
        )
        return await self._invoke(name, protos.TypedData(http=request))

    async def _invoke(
        self,
        name: str,
        data: protos.TypedData,
        metadata: Mapping[str, protos.TypedData] | None = None,
        trace_parent: str = "",
    ) -> Reply:
        function = self.functions[name]
        (trigger,) = (b["name"] for b in self.bindings(name) if b["type"].lower().endswith("trigger"))
        request = protos.InvocationRequest(
            invocation_id=str(uuid.uuid4()),
            function_id=function.function_id,
            input_data=[protos.ParameterBinding(trigger, data)],
            trigger_metadata=dict(metadata or {}),
            trace_context=protos.RpcTraceContext(trace_parent or f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"),
        )
        response, lines = await asyncio.wrap_future(self._executor.submit(process.invoke, request))
        assert response.invocation_id == request.invocation_id
        failure = response.result.exception
        assert (failure is None) == (response.result.status == protos.StatusResult.Success)
        outputs = {item.name: item.data for item in response.output_data if item.data is not None}
        assert outputs.keys() <= {b["name"] for b in self.bindings(name) if b["direction"] == "OUT"}
        return Reply(failure.message if failure else "", outputs, response.return_value, "\n".join(lines))

    def _call(self, function: Any, *arguments: Any) -> Any:
        return self._executor.submit(function, *arguments).result(START_TIMEOUT)

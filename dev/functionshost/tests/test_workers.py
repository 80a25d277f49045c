"""What functions see and what becomes of their answers: the same with the official worker as with our own."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dev.functionshost.tests.fixtures import Queues, azurite
from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually, write_app

__all__ = ["azurite"]

pytestmark = [
    pytest.mark.worker,
    pytest.mark.skipif(
        importlib.util.find_spec("azure_functions_runtime") is None,
        reason="azure-functions-runtime exists for Python 3.13 and later only",
    ),
]

SOURCE = """
import json
from typing import List

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def seen_by(context):
    retry = context.retry_context
    return {
        "function": context.function_name, "directory": context.function_directory,
        "traceparent": context.trace_context.trace_parent, "tracestate": context.trace_context.trace_state,
        "retries": [retry.retry_count, retry.max_retry_count] if retry else [0, 0],
        "invocation": context.invocation_id,
    }


def shown(value):
    return value.isoformat() if hasattr(value, "isoformat") else value


@app.route(route="http/{name}/{number}", methods=["GET", "POST"])
async def see_http(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    kind = req.params.get("answer")
    if kind == "error":
        raise LookupError("nothing of that name")
    if kind == "text":
        return func.HttpResponse("gr\\u00fcezi", status_code=203, mimetype="text/x-own", headers={"X-Own": "1"})
    if kind == "bytes":
        return func.HttpResponse(bytes(range(256)), mimetype="application/octet-stream")
    if kind == "empty":
        return func.HttpResponse(status_code=204)
    seen = {
        "method": req.method, "url": req.url, "headers": dict(req.headers), "params": dict(req.params),
        "route": dict(req.route_params), "body": req.get_body().hex(), "context": seen_by(context),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="seen", queue_name="seen", connection="Work")
def see_event(event: func.EventGridEvent, seen: func.Out[List[str]], context: func.Context) -> None:
    if isinstance(event, func.CloudEvent):
        seen.set([json.dumps({"cloud": [event.id, event.source, event.type, event.get_json()]})])
        return
    names = ("id", "topic", "subject", "event_type", "event_time", "data_version")
    given = {name: shown(getattr(event, name)) for name in names}
    if event.get_json() == "fail":
        raise LookupError(event.id)
    seen.set([json.dumps({"event": given, "data": event.get_json(), "context": seen_by(context)}), "second"])


@app.queue_trigger(arg_name="message", queue_name="to-see", connection="Work")
@app.queue_output(arg_name="seen", queue_name="seen", connection="Work")
async def see_message(message: func.QueueMessage, seen: func.Out[str], context: func.Context) -> None:
    names = ("id", "dequeue_count", "insertion_time", "expiration_time", "time_next_visible", "pop_receipt")
    given = {name: shown(getattr(message, name)) for name in names}
    try:
        parsed = message.get_json()
    except ValueError as error:
        parsed = type(error).__name__
    seen.set(json.dumps({
        "message": given, "body": message.get_body().hex(), "json": parsed, "context": seen_by(context),
    }))
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "vendor=1"}
HAPPENS_ONCE = {
    r'"(invocation|id|pop_receipt)": "[^"]+"': r'"\1": "…"',
    rf"(00-{TRACE})-[0-9a-f]{{16}}": r"\1-span",
    r"00-(?!0af765)[0-9a-f]{32}-[0-9a-f]{16}": "00-trace-span",
    r"127\.0\.0\.1:\d+": "host",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00": "time",
}


@dataclass
class Side:
    """A host with one of the workers, and its storage."""

    host: FunctionsHost
    queues: Queues


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    polling = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.100"}}}
    return write_app(tmp_path_factory.mktemp("workers") / "app", SOURCE, polling)


@pytest.fixture(scope="module")
def sides(app: Path, azurite: Azurite) -> Iterator[dict[str, Side]]:
    """The same app under each worker, each with a storage of its own because they listen to the same queue."""
    with (
        Azurite() as other,
        FunctionsHost(app, {"Work": azurite.connection_string}, ("--worker", "library")) as library,
        FunctionsHost(app, {"Work": other.connection_string}, ("--worker", "runtime")) as runtime,
    ):
        yield {
            "library": Side(library, Queues(azurite.connection_string)),
            "runtime": Side(runtime, Queues(other.connection_string)),
        }


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def same(results: dict[str, Any]) -> Any:
    """Demand that both workers led to the same result; return it, without what is new each time."""
    assert results.keys() == {"library", "runtime"}
    texts = {name: json.dumps(result, ensure_ascii=False, sort_keys=True) for name, result in results.items()}
    # A result holds JSON inside of JSON.
    texts = {name: text.replace('\\"', '"') for name, text in texts.items()}
    for pattern, replacement in HAPPENS_ONCE.items():
        texts = {name: re.sub(pattern, replacement, text) for name, text in texts.items()}
    assert texts["library"] == texts["runtime"]
    return texts["library"]


def test_workers_are_two_different_ones(sides: dict[str, Side]) -> None:
    library, runtime = sides["library"].host.ready, sides["runtime"].host.ready
    assert library["worker"].startswith("azure-functions 2.")
    assert runtime["worker"].startswith("azure-functions-runtime 1.")
    assert library["functions"] == runtime["functions"] == ["see_event", "see_http", "see_message"]


JSON_BODY = b'{"a": [1, null]}'
REQUESTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "GET": ("GET", "?x=1&x=2&empty=&u=gr%C3%BCezi", {}, '"params": {"u": "grüezi", "x": "1,2"}'),
    "body of text": ("POST", "", {"data": "grüezi".encode(), "headers": {"Content-Type": "text/plain"}},
                     f'"body": "{"grüezi".encode().hex()}"'),
    "body of bytes": ("POST", "", {"data": bytes(range(256))}, f'"body": "{bytes(range(256)).hex()}"'),
    "empty body": ("POST", "", {}, '"body": ""'),
    "JSON body": ("POST", "", {"json": {"a": [1, None]}}, f'"body": "{JSON_BODY.hex()}"'),
    "trace": ("GET", "", {"headers": TRACED}, '"tracestate": "vendor=1"'),
    "malformed trace": ("GET", "", {"headers": {"traceparent": "00-zz-1"}}, '"traceparent": "00-trace-span-01"'),
    "text": ("GET", "?answer=text", {}, '[203, "text/x-own; charset=utf-8", "1"'),
    "bytes": ("GET", "?answer=bytes", {}, base64.b64encode(bytes(range(256))).decode()),
    "no content": ("GET", "?answer=empty", {}, "[204"),
    "error": ("GET", "?answer=error", {}, '[500, null, null, ""]'),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
async def test_http_request_and_response_are_the_same(
    sides: dict[str, Side], session: aiohttp.ClientSession, case: str
) -> None:
    method, query, options, expected = REQUESTS[case]
    results: dict[str, list[Any]] = {}
    for name, side in sides.items():
        url = f"{side.host.url}/api/http/a%20b/7{query}"
        async with session.request(method, url, **options) as response:
            body = await response.read()
            try:
                shown = body.decode("ascii")
            except UnicodeDecodeError:
                shown = base64.b64encode(body).decode()
            kind = response.headers.get("Content-Type")
            results[name] = [response.status, kind, response.headers.get("X-Own"), shown]
    if case == "GET":
        results = {name: [*result[:3], json.loads(result[3])] for name, result in results.items()}
    assert expected in same(results)


def event(**changes: Any) -> dict[str, Any]:
    return {
        "id": "e-1", "topic": "/subscriptions/s", "subject": "grüezi", "eventType": "Own.Type",
        "eventTime": "2026-11-22T18:00:00.1234567Z", "data": {"a": [1, None, "ü"]}, "dataVersion": "1.0",
        "metadataVersion": "1", **changes,
    }  # fmt: skip


CLOUD_EVENT = {
    "specversion": "1.0", "id": "c-1", "source": "/subscriptions/s", "type": "Own.Type", "subject": "s",
    "time": "2026-11-22T18:00:00Z", "data": {"a": 1},
}  # fmt: skip
EVENTS: dict[str, tuple[Any, int, str]] = {
    "event": ([event()], 202, '"event_time": "2026-11-22T18:00:00.123456+00:00"'),
    "without data": ([{k: v for k, v in event().items() if k != "data"}], 202, '"data": null'),
    "without topic": ([{k: v for k, v in event().items() if k != "topic"}], 202, '"topic": null'),
    "data of text": ([event(data="text")], 202, '"data": "text"'),
    "CloudEvents schema": ([CLOUD_EVENT], 202, "c-1"),
    "failure": ([event(data="fail")], 500, "LookupError: e-1"),
    "malformed time": ([event(eventTime="yesterday")], 500, "yesterday"),
    "no object": ([["no", "event"]], 500, "Exception while executing function: Functions.see_event"),
}


@pytest.mark.parametrize("case", EVENTS)
async def test_event_and_its_outputs_are_the_same(
    sides: dict[str, Side], session: aiohttp.ClientSession, case: str
) -> None:
    body, status, expected = EVENTS[case]
    results = {}
    for name, side in sides.items():
        query = {"functionName": "see_event", "code": side.host.ready["eventGridKey"]}
        headers = {"aeg-event-type": "Notification", **TRACED}
        url = f"{side.host.url}/runtime/webhooks/eventgrid"
        async with session.post(url, params=query, json=body, headers=headers) as response:
            results[name] = [response.status, await response.text(), side.queues.take("seen")]
    text = same(results)
    assert text.startswith(f"[{status}")
    assert expected in text


MESSAGES: dict[str, tuple[bytes, str]] = {
    "JSON": (b'{"a": [1, null]}', '"json": {"a": [1, null]}'),
    "text": ("grüezi".encode(), '"json": "JSONDecodeError"'),
    "empty": (b"", '"body": ""'),
    "number": (b"15", '"json": 15'),
}


@pytest.mark.parametrize("case", MESSAGES)
async def test_message_and_its_metadata_are_the_same(sides: dict[str, Side], case: str) -> None:
    body, expected = MESSAGES[case]
    results = {}
    for name, side in sides.items():
        side.queues.add("to-see", base64.b64encode(body).decode(), raw=True)
        results[name] = await eventually(partial(side.queues.take_json, "seen"))
    text = same(results)
    assert expected in text
    for metadata in ('"dequeue_count": 1', '"insertion_time": "time"', '"expiration_time": "time"', '"id": "…"'):
        assert metadata in text

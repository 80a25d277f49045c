"""OpenTelemetry in the Functions host: the worker that it has behaves as the official one does."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest

from dev.functionshost.tests.fixtures import Queues, azurite
from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually, write_app

__all__ = ["azurite"]

NO_TRACE = "0" * 32
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
SOURCE = """
import azure.functions as func
from opentelemetry import trace

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="trace")
async def tell_trace(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"{trace.get_current_span().get_span_context().trace_id:032x}")
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write_app(tmp_path / "app", SOURCE)


async def traces(host: FunctionsHost) -> list[str]:
    """Return the trace in which the function is, with and without a caller's."""
    found = []
    async with aiohttp.ClientSession() as session:
        for headers in (HEADERS, {}):
            async with session.get(f"{host.url}/api/trace", headers=headers) as response:
                found.append(await response.text())
    return found


async def test_function_is_in_the_trace_of_its_invocation_when_telemetry_is_on(app: Path) -> None:
    with FunctionsHost(app, {"PYTHON_ENABLE_OPENTELEMETRY": "true"}) as host:
        given, new = await traces(host)
        assert given == TRACE
        assert new not in (TRACE, NO_TRACE)


async def test_function_is_in_no_trace_when_telemetry_is_off(app: Path) -> None:
    with FunctionsHost(app) as host:
        assert await traces(host) == [NO_TRACE, NO_TRACE]


TRIGGERS = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="trace")
async def by_http(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return func.HttpResponse(context.trace_context.trace_parent)


@app.event_grid_trigger(arg_name="event")
async def by_event(event: func.EventGridEvent, context: func.Context) -> None:
    print("event", "<" + context.trace_context.trace_parent + ">")


@app.queue_trigger(arg_name="message", queue_name="traced", connection="Work")
async def by_message(message: func.QueueMessage, context: func.Context) -> None:
    print("message", "<" + context.trace_context.trace_parent + ">")


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
async def by_timer(timer: func.TimerRequest, context: func.Context) -> None:
    print("timer", "<" + context.trace_context.trace_parent + ">")
"""


@pytest.mark.parametrize(("mode", "began"), [("OpenTelemetry", ""), ("ApplicationInsights", "00-[0-9a-f-]{52}")])
async def test_host_begins_traces_of_queues_and_timers_unless_it_speaks_open_telemetry(
    azurite: Azurite, tmp_path: Path, mode: str, began: str
) -> None:
    Queues(azurite.connection_string).add("traced", "message")
    app = write_app(tmp_path / "app", TRIGGERS, {"telemetryMode": mode})
    with FunctionsHost(app, {"Work": azurite.connection_string}) as host:
        await eventually(lambda: re.search(f"message <{began}>", host.log))
        await eventually(lambda: re.search(f"timer <{began}>", host.log))
        event = {"id": "e", "subject": "s", "eventType": "t", "eventTime": "2026-01-01T00:00:00Z", "data": {}}
        query = {"functionName": "by_event", "code": host.ready["eventGridKey"]}
        async with aiohttp.ClientSession(host.url) as session:
            async with session.get("/api/trace", headers=HEADERS) as response:
                assert TRACE in await response.text()
            headers = HEADERS | {"aeg-event-type": "Notification"}
            async with session.post("/runtime/webhooks/eventgrid", params=query, json=event, headers=headers) as reply:
                assert reply.status == 202
        await eventually(lambda: f"event <00-{TRACE}-" in host.log)


async def test_telemetry_that_cannot_be_configured_is_reported_and_the_functions_run(app: Path) -> None:
    settings = {
        "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=none",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    }
    with FunctionsHost(app, settings) as host:
        assert await traces(host) == [NO_TRACE, NO_TRACE]
        assert "Azure" in host.log
        assert "Traceback" in host.log

"""OpenTelemetry in the Functions host: the worker that it has behaves as the official one does."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.functions_host import FunctionsHost, write_app

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

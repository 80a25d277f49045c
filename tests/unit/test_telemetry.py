"""Traces and metrics: what joins which trace, and that what is broken or switched off harms nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared import telemetry
from shared.adapters.messages import Cause, FanOut, RebuildRequest, RunCheck, decode
from shared.app import current
from shared.domain.errors import ConfigurationError, NotPermitted
from tests.builders import registry_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_exporter = InMemorySpanExporter()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Where ended spans go. A process configures OpenTelemetry once, so the provider stays for later tests."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_exporter))
        trace.set_tracer_provider(provider)
    _exporter.clear()
    yield _exporter
    _exporter.clear()


def request(**changes: Any) -> RebuildRequest:
    return RebuildRequest.model_validate(
        {"id": "e:myregistry:hello", "registry": registry_id("myregistry"), "task": "hello",
         "cause": Cause.BASE_IMAGE_PUSHED, "eventId": "e", "requestedAt": NOW, **changes}
    )  # fmt: skip


def run_check(**changes: Any) -> RunCheck:
    return RunCheck.model_validate(
        {"request": request(), "runId": "cf1", "build": "b", "scheduledAt": NOW, **changes}
    )  # fmt: skip


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def sent(message: FanOut | RebuildRequest | RunCheck) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(message.encode())
    return document


def test_message_that_is_made_in_a_span_carries_its_trace(spans: InMemorySpanExporter) -> None:
    with telemetry.handling("fan_out_requested", request(traceparent=PARENT)):
        child = sent(request())
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert child["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_message_that_comes_back_keeps_its_place_in_the_trace(spans: InMemorySpanExporter) -> None:
    message = decode(RebuildRequest, request(traceparent=PARENT).encode().encode())
    with telemetry.handling("rebuild_requested", message):
        again = sent(message.model_copy(update={"attempts": 1}))
    assert again["traceparent"] == PARENT


def test_message_that_is_made_outside_of_any_trace_carries_none() -> None:
    assert "traceparent" not in sent(request())


def test_message_of_an_older_version_is_handled_in_a_new_trace(spans: InMemorySpanExporter) -> None:
    old = decode(RebuildRequest, json.dumps({k: v for k, v in sent(request()).items() if k != "version"}).encode())
    assert old.traceparent is None
    with telemetry.handling("rebuild_requested", old):
        assert sent(request())["traceparent"]


@pytest.mark.parametrize(
    "malformed",
    ["", "x", 7, None, [], {}, "00-zz-1", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01",
     f"ff-{TRACE}-b7ad6b7169203331-01", f"{PARENT}-{'x' * 500}", f"{PARENT}\n{PARENT}", PARENT.upper()],
)  # fmt: skip
def test_malformed_trace_is_ignored_and_the_message_handled(malformed: Any) -> None:
    document = {**sent(request()), "traceparent": malformed, "tracestate": malformed}
    assert decode(RebuildRequest, json.dumps(document).encode()).traceparent is None


@pytest.mark.parametrize("malformed", [7, [], "a=" + "b" * 600, "a=b\r\nx-evil: 1", "a=ü"])
def test_malformed_trace_state_is_left_out_and_the_trace_goes_on(malformed: Any) -> None:
    document = {**sent(request()), "traceparent": PARENT, "tracestate": malformed}
    message = decode(RebuildRequest, json.dumps(document).encode())
    assert (message.traceparent, message.tracestate) == (PARENT, None)


def test_trace_state_travels_along(spans: InMemorySpanExporter) -> None:
    with telemetry.handling("fan_out_requested", request(traceparent=PARENT, tracestate="vendor=1")):
        assert sent(request())["tracestate"] == "vendor=1"


def test_handling_continues_the_message_s_trace_and_links_the_host_s_invocation(spans: InMemorySpanExporter) -> None:
    with (
        telemetry.handling("invocation", run_check()),
        telemetry.handling("run_followed", run_check(traceparent=PARENT)),
    ):
        telemetry.note(run_id="cf1", reason="")
    handled, invocation = spans.get_finished_spans()
    assert (handled.name, handled.kind, trace_of(handled)) == ("run_followed", SpanKind.CONSUMER, TRACE)
    assert [link.context.trace_id for link in handled.links] == [invocation.context and invocation.context.trace_id]
    assert handled.attributes == {"groundswell.run_id": "cf1"}


def test_failure_is_seen_on_the_span_and_goes_on(spans: InMemorySpanExporter) -> None:
    with (
        pytest.raises(ValueError, match="broken"),
        telemetry.handling("rebuild_requested", request(traceparent=PARENT)),
    ):
        raise ValueError("broken")
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()


async def test_traced_function_is_in_a_span_of_its_own_at_every_call(spans: InMemorySpanExporter) -> None:
    @telemetry.traced("start_run")
    async def start() -> str:
        return telemetry.current()["traceparent"]

    assert await start() != await start()
    assert [span.name for span in spans.get_finished_spans()] == ["start_run", "start_run"]


def test_run_is_a_span_as_long_as_it_took_in_the_trace_of_its_request(spans: InMemorySpanExporter) -> None:
    end = NOW + timedelta(seconds=90)
    telemetry.run_ended(PARENT, "Failed", NOW, end, task="hello", run_id="cf1")
    (run,) = spans.get_finished_spans()
    assert run.start_time is not None
    assert run.end_time is not None
    assert (run.name, trace_of(run), run.end_time - run.start_time) == ("run", TRACE, 90 * 10**9)
    assert run.attributes == {
        "groundswell.task": "hello", "groundswell.status": "Failed", "groundswell.run_id": "cf1",
    }  # fmt: skip
    assert run.status.status_code is StatusCode.ERROR


def test_run_without_times_is_no_span(spans: InMemorySpanExporter) -> None:
    telemetry.run_ended(None, "Canceled", NOW, None, task="hello")
    assert spans.get_finished_spans() == ()


def test_part_that_fails_is_counted_by_its_name() -> None:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    telemetry.part_failed("subscription", "AAAA", NotPermitted("no right"))
    data = reader.get_metrics_data()
    assert data
    counted = {
        metric.name: [dict(point.attributes or {}) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert counted["groundswell.parts.failed"] == [{"part": "subscription", "name": "aaaa", "error": "NotPermitted"}]


def test_invocation_that_its_settings_forbid_counts_as_a_failed_request(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    current.cache_clear()
    monkeypatch.setenv("GROUNDSWELL_SUBSCRIPTIONS", "not an id")
    with pytest.raises(ConfigurationError, match="GROUNDSWELL_SUBSCRIPTIONS"):
        current()
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind, span.status.status_code) == ("settings", SpanKind.CONSUMER, StatusCode.ERROR)
    assert "GROUNDSWELL_SUBSCRIPTIONS" in str(span.status.description)

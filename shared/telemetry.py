"""Traces and metrics through the OpenTelemetry API alone: the worker configures what they go to, or they go nowhere.

One trace leads from an event to the runs that it starts. Queue messages carry its context from one function to the
next (https://www.w3.org/TR/trace-context/), and the SDKs carry it on to Resource Manager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import BaseModel, BeforeValidator

from shared.domain.echo import shown

_tracer = trace.get_tracer("groundswell")
_meter = metrics.get_meter("groundswell")
_w3c = TraceContextTextMapPropagator()
_Function = TypeVar("_Function", bound=Callable[..., Any])

ACCEPTED = "accepted"
"""The decision on an event that is acted on."""

_events = _meter.create_counter(
    "groundswell.events", "{event}", "Events by function and decision: accepted, or why it was ignored"
)
_rebuilds = _meter.create_counter("groundswell.rebuilds", "{rebuild}", "Rebuilds by what became of them")
_arm_calls = _meter.create_counter("groundswell.arm.calls", "{call}", "Answers of Resource Manager")
_throttled = _meter.create_counter("groundswell.arm.throttled", "{call}", "Answers 429 of Resource Manager")
_parts_failed = _meter.create_counter(
    "groundswell.parts.failed", "{failure}", "Parts of the fleet that failed while the others went on"
)
_push_to_run = _meter.create_histogram("groundswell.push_to_run", "s", "From the push of a base image to its run")
_run_duration = _meter.create_histogram("groundswell.run_duration", "s", "From a run's creation to its end")
_push_age = _meter.create_gauge("groundswell.push.age", "s", "Since the newest push of a base image")
_queue_messages = _meter.create_gauge("groundswell.queue.messages", "{message}", "Approximate length of a queue")


# -- traces ------------------------------------------------------------------------------------------------------------


def _context(traceparent: str, tracestate: str | None = None) -> Context:
    return _w3c.extract({"traceparent": traceparent, "tracestate": tracestate or ""})


def _sound_traceparent(value: Any) -> str | None:
    """Return a traceparent, or None for what is none: a broken trace is no reason not to rebuild."""
    if not isinstance(value, str) or len(value) > 200:
        return None
    return value if trace.get_current_span(_context(value)).get_span_context().is_valid else None


def _sound_tracestate(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= 512 and value.isascii() and value.isprintable() else None


class Traced(BaseModel):
    """A message that carries the context of its trace.

    Attributes:
        traceparent, tracestate: As W3C defines them; None if there is no trace, or what came was malformed.
    """

    traceparent: Annotated[str | None, BeforeValidator(_sound_traceparent)] = None
    tracestate: Annotated[str | None, BeforeValidator(_sound_tracestate)] = None

    def trace(self) -> Context | None:
        """Return the context that it carries, or None."""
        return _context(self.traceparent, self.tracestate) if self.traceparent else None


def current() -> dict[str, str]:
    """Return traceparent and tracestate of the current span; empty without one."""
    carried: dict[str, str] = {}
    _w3c.inject(carried)
    return carried


def traced(name: str) -> Callable[[_Function], _Function]:
    """Run a function in a span of the invocation's trace, or of a new trace: timers have none."""
    # The decorator creates a span per call, although it is created once.
    decorate: Callable[[_Function], _Function] = _tracer.start_as_current_span(name, record_exception=False)
    return decorate


@contextmanager
def handling(name: str, message: Traced, **attributes: Any) -> Iterator[None]:
    """Run a block in a span of the trace that a message carries, linked to the invocation's span if there is one."""
    invocation = trace.get_current_span().get_span_context()
    carried = message.trace()
    with _tracer.start_as_current_span(
        name,
        carried,
        SpanKind.CONSUMER,
        _attributes(attributes),
        [Link(invocation)] if carried is not None and invocation.is_valid else [],
        record_exception=False,
    ):
        yield


@contextmanager
def preparing(name: str) -> Iterator[None]:
    """Run what precedes an invocation's own span. If it fails, a span of this name takes that one's place."""
    try:
        yield
    except Exception as error:
        with _tracer.start_as_current_span(name, kind=SpanKind.CONSUMER):
            failed(error)
        raise


def note(**attributes: Any) -> None:
    """Add attributes to the current span. Nothing that must not be logged may get here."""
    trace.get_current_span().set_attributes(_attributes(attributes))


def failed(reason: object) -> None:
    """Mark the current span as failed."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, str(reason)))


def run_ended(
    traceparent: str | None,
    status: str,
    created: datetime | None,
    finished: datetime | None,
    *,
    task: str,
    **attributes: Any,
) -> None:
    """Record how long a run took, and a span for it in the trace that it was asked for in, if there is one."""
    if created is None or finished is None:
        return
    _run_duration.record((finished - created).total_seconds(), {"task": task, "status": status})
    run = _tracer.start_span(
        "run",
        _context(traceparent) if traceparent else None,
        SpanKind.CLIENT,
        _attributes({"task": task, "status": status, **attributes}),
        start_time=_nanoseconds(created),
    )
    if status != "Succeeded":
        run.set_status(Status(StatusCode.ERROR, status))
    run.end(_nanoseconds(finished))


def _attributes(fields: dict[str, Any]) -> dict[str, str]:
    """Return fields under the names that they have in logs."""
    return {f"groundswell.{name}": shown(value, 1000) for name, value in fields.items() if value not in (None, "")}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000


# -- metrics -----------------------------------------------------------------------------------------------------------


def event(function: str, decision: str) -> None:
    """Count an event that was accepted, or ignored for a reason."""
    _events.add(1, {"function": function, "decision": decision})


def rebuild(outcome: str, *, registry: str = "", task: str = "", cause: str = "") -> None:
    """Count a rebuild.

    Args:
        outcome: requested, scheduled, settled (ended without a run), succeeded, failed, repeated or set-aside.
        registry: Name or ARM id of the registry; "" for a message that nobody can read, or that means many.
    """
    name = registry.rpartition("/")[2].lower()
    _rebuilds.add(1, {"outcome": outcome, "registry": name, "task": task, "cause": cause})


def part_failed(part: str, name: str, error: Exception) -> None:
    """Count a part of the fleet that failed while the others went on.

    Args:
        part: subscription, task, base-registry or queue.
        error: Its class tells whether it is tried again.
    """
    _parts_failed.add(1, {"part": part, "name": name.lower(), "error": type(error).__name__})


def push_to_run(seconds: float, task: str) -> None:
    """Record how long after the push of its base image a run was scheduled."""
    _push_to_run.record(seconds, {"task": task})


def arm_call(subscription: str, method: str, status: int) -> None:
    """Count an answer of Resource Manager; each attempt counts."""
    _arm_calls.add(1, {"subscription": subscription, "method": method, "status": str(status)})
    if status == 429:
        _throttled.add(1, {"subscription": subscription})


def push_age(seconds: float) -> None:
    """Set how long ago the newest push of a base image was."""
    _push_age.set(seconds)


def queue_length(queue: str, messages: int) -> None:
    """Set how many messages a queue holds."""
    _queue_messages.set(messages, {"queue": queue})

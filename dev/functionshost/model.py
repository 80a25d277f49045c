"""The words that host and worker share: functions, bindings, invocations and their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.functions.meta import Datum

RETURN_BINDING = "$return"


class IndexingError(Exception):
    """The app could not be indexed, so none of its functions exists.

    Attributes:
        details: the traceback of the app, or an empty string.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class InvocationError(Exception):
    """An invocation failed: the function raised, timed out, or its outputs could not be sent."""


@dataclass(frozen=True)
class Binding:
    """One trigger, input or output of a function, as in function.json."""

    name: str
    type: str
    direction: str
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_trigger(self) -> bool:
        """Tell whether the binding starts the function."""
        return self.type.lower().endswith("trigger")

    def text(self, name: str) -> str:
        """Return a property as text, empty when it is missing or null."""
        value = self.properties.get(name)
        return "" if value is None else str(value)


@dataclass(frozen=True)
class Function:
    """An indexed function."""

    name: str
    bindings: tuple[Binding, ...]

    @property
    def trigger(self) -> Binding:
        """Return the trigger; indexing refuses a function that has none."""
        return next(binding for binding in self.bindings if binding.is_trigger)

    @property
    def outputs(self) -> tuple[Binding, ...]:
        """Return the bindings that the host writes after the function returned, HTTP responses included."""
        return tuple(binding for binding in self.bindings if binding.direction == "OUT")

    @classmethod
    def from_raw_bindings(cls, name: str, raw_bindings: Iterable[str]) -> Function:
        """Build a function from the JSON texts that a worker sends to the host."""
        documents = [json.loads(raw) for raw in raw_bindings]
        return cls(
            name=name,
            bindings=tuple(
                Binding(name=item["name"], type=item["type"], direction=str(item["direction"]), properties=item)
                for item in documents
            ),
        )


@dataclass(frozen=True)
class Invocation:
    """One call of a function as the host hands it to the worker.

    ``trace_parent`` is a W3C traceparent header.
    """

    id: str
    function: Function
    data: Datum
    trigger_metadata: Mapping[str, Datum]
    trace_parent: str
    trace_state: str = ""


@dataclass(frozen=True)
class InvocationResult:
    """What the worker answers. ``error`` is None exactly when the function succeeded."""

    return_value: Datum | None = None
    outputs: tuple[tuple[str, Datum], ...] = ()
    error: str | None = None
    traceback: str = ""

"""The request journal and the faults: what a test can ask about the traffic and how it can disturb it."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Entry:
    """One request that localazure answered.

    Attributes:
        at: When it arrived (ISO 8601, Azure's clock).
        caller: Name of the principal behind the token, or "" if there was none.
        operation: The ARM action or a data-plane verb such as `manifest/read`; "" when nothing matched.
        status: HTTP status of the answer; 0 for a connection that a fault reset.
        seconds: How long the answer took, in real seconds.
        fault: True if a fault answered in place of the service.
        traceparent: The trace that the caller was in (https://www.w3.org/TR/trace-context/), or "".
    """

    number: int
    at: str
    method: str
    host: str
    path: str
    query: str = ""
    caller: str = ""
    object_id: str = ""
    operation: str = ""
    status: int = 0
    seconds: float = 0.0
    fault: bool = False
    traceparent: str = ""


class Journal:
    """Who called what. Only the newest `limit` entries are kept; the counts go on for ever (until `clear`)."""

    def __init__(self, limit: int = 100_000) -> None:
        """Start empty."""
        self.entries: deque[Entry] = deque(maxlen=limit)
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._next = 1

    def open(self, at: str, method: str, host: str, path: str, query: str) -> Entry:
        """Note a request that has just arrived."""
        entry = Entry(self._next, at, method, host, path, query)
        self._next += 1
        self.entries.append(entry)
        return entry

    def close(self, entry: Entry) -> None:
        """Count a request that has been answered."""
        self._counts[(entry.caller, entry.method, entry.operation)] += 1

    def since(self, number: int = 0, **match: str) -> Iterator[dict[str, Any]]:
        """Yield entries after `number` whose fields match (regular expressions, whole value, any case)."""
        patterns = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in match.items()}
        for entry in self.entries:
            if entry.number > number and all(p.fullmatch(str(getattr(entry, n))) for n, p in patterns.items()):
                yield asdict(entry)

    def counts(self) -> list[dict[str, Any]]:
        """Return how often each caller did each operation."""
        return [
            {"caller": caller, "method": method, "operation": operation, "count": count}
            for (caller, method, operation), count in sorted(self._counts.items())
        ]

    @property
    def last(self) -> int:
        """Number of the newest entry."""
        return self._next - 1

    def clear(self) -> None:
        """Forget everything, numbers included."""
        self.entries.clear()
        self._counts.clear()
        self._next = 1


@dataclass
class Fault:
    """A disturbance of the next `times` requests that match.

    Attributes:
        method, host, path, caller: Regular expressions that must match in full (any case); None matches all.
        skip: How many matching requests to let through first.
        times: How many requests to disturb; -1 for all.
        status: Answer with this HTTP status in place of the service (with ARM's throttling body for 429).
        headers: Headers of that answer, e.g. `{"Retry-After": "7"}`.
        body: JSON body of that answer; None makes a fitting one.
        reset: Cut the connection: "before" the service acts, or "after" it acted but before it answers.
        delay: Real seconds to wait before going on.
    """

    method: str | None = None
    host: str | None = None
    path: str | None = None
    caller: str | None = None
    skip: int = 0
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    reset: str | None = None
    delay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would silently never happen."""
        if self.reset not in (None, "before", "after"):
            raise ValueError("reset must be 'before' or 'after'")
        if self.status is None and self.reset is None and not self.delay:
            raise ValueError("a fault needs a status, a reset or a delay")

    def matches(self, entry: Entry) -> bool:
        """Tell whether this request is meant, counting down `skip` and `times`."""
        wanted = {"method": self.method, "host": self.host, "path": self.path, "caller": self.caller}
        for name, pattern in wanted.items():
            if pattern is not None and not re.fullmatch(pattern, getattr(entry, name), re.IGNORECASE):
                return False
        if self.times == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times > 0:
            self.times -= 1
        return True

"""What reaches the queues and tables of Azurite, as its log of requests tells it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dev.azurite import ACCOUNT

_LINE = re.compile(rf'"(?P<method>[A-Z]+) /{ACCOUNT}/(?P<path>\S*) HTTP/[\d.]+" (?P<status>\d+) ')
_MESSAGES = re.compile(r"(?P<queue>[^/?]+)/messages(?P<one>/[^/?]+)?(\?.*)?")
_TABLE = re.compile(r"\$batch|Tables|[^/?]+\(.*\)")
_POISON = "-poison"


@dataclass(frozen=True)
class Request:
    """One request that was answered; its path is what follows the account."""

    method: str
    path: str
    status: int

    @property
    def name(self) -> str:
        """The service and what was asked of it, e.g. `table GET`; "" if it was neither a queue nor a table."""
        path, _, query = self.path.partition("?")
        if _MESSAGES.fullmatch(self.path):
            received = self.method == "GET" and path.endswith("/messages")
            return "queue receive" if received else f"queue {self.method}"
        if path == "$batch":
            return "table transaction"
        if _TABLE.match(path) or (self.method == "POST" and "/" not in path):
            return f"table {self.method}"
        return "" if "/" in path or "restype=" in query else f"queue {self.method}"


def parse(line: str) -> Request | None:
    """Return the request of a line of the log; None for a line of anything else."""
    found = _LINE.search(line)
    return Request(found["method"], found["path"], int(found["status"])) if found else None


@dataclass
class StorageMeter:
    """Counts requests and messages; messages that were set aside (poison) do not count.

    Attributes:
        log: Where Azurite writes its log.
        counts: Requests since `clear`, by their names.
        messages: Messages in each queue, those under work and those that are not visible yet included.
        most: Most messages in all queues at once since `clear`.
    """

    log: Path
    counts: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    most: int = 0
    _offset: int = 0

    def read(self) -> StorageMeter:
        """Take in what was logged since; return the meter itself."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if request := parse(line):
                self.add(request)
        return self

    def add(self, request: Request) -> None:
        """Count a request."""
        if request.name:
            self.counts[request.name] += 1
        found = _MESSAGES.fullmatch(request.path)
        if not found or found["queue"].endswith(_POISON) or request.status >= 300:
            return
        if request.method == "POST":
            self.messages[found["queue"]] += 1
        elif request.method == "DELETE":
            self.messages[found["queue"]] -= 1 if found["one"] else self.messages[found["queue"]]
        self.most = max(self.most, self.left)

    @property
    def left(self) -> int:
        """How many messages there are now."""
        return self.messages.total()

    def clear(self) -> None:
        """Count anew from here."""
        self.read()
        self.counts.clear()
        self.most = self.left

"""The queue service as the SDK sees it, on Azure's clock: delays are kept, receipts run out, messages come again."""

from __future__ import annotations

import re
import uuid
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport

from dev.localazure.clock import Clock

_SENT = """<?xml version="1.0" encoding="utf-8"?><QueueMessagesList><QueueMessage><MessageId>{id}</MessageId>
<InsertionTime>{at}</InsertionTime><ExpirationTime>{at}</ExpirationTime><PopReceipt>{receipt}</PopReceipt>
<TimeNextVisible>{at}</TimeNextVisible></QueueMessage></QueueMessagesList>"""


@dataclass
class Message:
    """A message: from `due` on it can be received."""

    queue: str
    body: bytes
    due: datetime
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    receipt: str = field(default_factory=lambda: uuid.uuid4().hex)
    received: int = 0


class _Answer(AsyncHttpResponse):
    def __init__(self, request: Any, status: int, headers: dict[str, str], body: str) -> None:
        super().__init__(request, None)
        self.status_code, self.reason, self._body = status, "", body.encode()
        self.headers = {"Content-Type": "application/xml", **headers}
        self.content_type = "application/xml"

    def body(self) -> bytes:
        return self._body

    async def load_body(self) -> None:
        return None

    def stream_download(self, pipeline: Any, **options: Any) -> AsyncIterator[bytes]:
        raise NotImplementedError


class Queues(AsyncHttpTransport[Any, AsyncHttpResponse]):
    """All queues of a storage account.

    Attributes:
        faults: How the next requests go wrong: "before" and "after" cut the connection, a number is a status.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.messages: list[Message] = []
        self.faults: list[str | int] = []

    def receive(self, message: Message, invisible: float) -> Message:
        """Hide a message for a while from all others."""
        message.received += 1
        message.receipt, message.due = uuid.uuid4().hex, self._clock.now() + timedelta(seconds=invisible)
        return message

    def visible(self) -> list[Message]:
        """Return the messages that can be received now."""
        now = self._clock.now()
        return [message for message in self.messages if message.due <= now and not message.queue.endswith("-poison")]

    async def send(self, request: Any, **options: Any) -> AsyncHttpResponse:
        """Answer a request."""
        del options
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise ServiceRequestError("connection cut")
        if isinstance(fault, int):
            return _Answer(request, fault, {"Retry-After": "2"}, "")
        answer = self._answer(request)
        if fault == "after":
            raise ServiceResponseError("connection cut")
        return answer

    def _answer(self, request: Any) -> _Answer:
        url = urlsplit(request.url)
        query, parts = parse_qs(url.query), url.path.strip("/").split("/")
        delay = timedelta(seconds=int(query.get("visibilitytimeout", ["0"])[0]))
        if request.method == "POST" and parts[-1] == "messages":
            text = re.search(r"<MessageText>(.*?)</MessageText>", _text(request), re.DOTALL)
            assert text
            message = Message(parts[-2], b64decode(unescape(text[1])), self._clock.now() + delay)
            self.messages.append(message)
            at = format_datetime(message.due, usegmt=True)
            return _Answer(request, 201, {}, _SENT.format(id=message.id, at=at, receipt=message.receipt))
        if request.method == "PUT" and "messages" in parts:
            there = next((each for each in self.messages if each.id == parts[-1]), None)
            if there is None or there.receipt != query["popreceipt"][0]:
                return _Answer(request, 404 if there is None else 400, {}, "")
            there.due, there.receipt = self._clock.now() + delay, uuid.uuid4().hex
            return _Answer(request, 204, {"x-ms-popreceipt": there.receipt, "x-ms-time-next-visible":
                                          format_datetime(there.due, usegmt=True)}, "")  # fmt: skip
        raise AssertionError(f"{request.method} {request.url}")

    async def sleep(self, duration: float) -> None:
        """Let time pass instead of waiting."""
        self._clock.advance(duration)

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def close(self) -> None:
        """Nothing is to be closed."""

    async def __aenter__(self) -> Queues:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


def _text(request: Any) -> str:
    data = request.data if request.data is not None else getattr(request, "content", b"")
    return data.decode() if isinstance(data, bytes) else str(data)

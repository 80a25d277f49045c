"""Fixtures of the Functions host's tests: one Azurite and one host with the sample app for all of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost

SAMPLE_APP = Path(__file__).parent / "apps/sample"
WORK_QUEUE = "sample-work"


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        yield running


@pytest.fixture(scope="module")
def sample_settings(azurite: Azurite) -> dict[str, str]:
    return {
        "AzureWebJobsStorage": azurite.connection_string,
        "SAMPLE_SETTING": "from settings",
        # Mixed case on purpose: the host lower-cases queue names.
        "SAMPLE_QUEUE": "Sample-Work",
    }


@pytest.fixture(scope="module")
def host(sample_settings: dict[str, str]) -> Iterator[FunctionsHost]:
    with FunctionsHost(SAMPLE_APP, sample_settings, ("--queue-lease", "2")) as running:
        yield running


@pytest.fixture
async def http(host: FunctionsHost) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the sample app's host; paths are relative to its URL."""
    async with aiohttp.ClientSession(host.url) as session:
        yield session


class Queues:
    """Reads and writes the queues of an Azurite, messages base64-encoded as the host wants them."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string

    def add(self, name: str, text: str, *, raw: bool = False) -> None:
        with self._open(name, raw=raw) as queue:
            try:
                queue.send_message(text)
            except ResourceNotFoundError:
                queue.create_queue()
                queue.send_message(text)

    def take(self, name: str, *, raw: bool = False) -> list[str]:
        """Remove and return what is visible in a queue; empty when there is no such queue."""
        with self._open(name, raw=raw) as queue:
            try:
                received = list(queue.receive_messages(max_messages=32))
            except ResourceNotFoundError:
                return []
            for message in received:
                queue.delete_message(message)
            return [message.content for message in received]

    def take_json(self, name: str) -> list[Any]:
        return [json.loads(text) for text in self.take(name)]

    def wear_out(self, name: str, times: int) -> None:
        """Receive the one message of a queue so many times and put it back."""
        with self._open(name, raw=True) as queue:
            for _ in range(times):
                message = queue.receive_message(visibility_timeout=30)
                assert message
                queue.update_message(message, visibility_timeout=0)

    def count(self, name: str) -> int:
        """Return how many messages a queue holds, invisible ones included."""
        with self._open(name) as queue:
            return queue.get_queue_properties().approximate_message_count or 0

    def _open(self, name: str, *, raw: bool = False) -> QueueClient:
        policies: dict[str, Any] = {
            "message_encode_policy": TextBase64EncodePolicy(),
            "message_decode_policy": TextBase64DecodePolicy(),
        }
        return QueueClient.from_connection_string(self._connection_string, name, **({} if raw else policies))


@pytest.fixture
def queues(azurite: Azurite) -> Queues:
    """The queues of the sample app, which the tests share: what earlier tests left is taken out first."""
    opened = Queues(azurite.connection_string)
    for name in ("seen", f"{WORK_QUEUE}-poison"):
        while opened.take(name, raw=True):
            pass
    return opened

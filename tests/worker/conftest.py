"""Fixtures of the worker's tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient, TextBase64DecodePolicy

from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.testing.azurite import Azurite
from tests.integration.conftest import azurite, world
from tests.worker.worker import Worker

__all__ = ["azurite", "world"]


@pytest.fixture(scope="package")
def settings(azurite: Azurite) -> dict[str, str]:
    """The least that the app needs to be set."""
    return {
        "AzureWebJobsStorage": azurite.connection_string,
        "GROUNDSWELL_SUBSCRIPTIONS": DEFAULT_SUBSCRIPTION,
    }


@pytest.fixture(scope="package")
def no_azure() -> Iterator[dict[str, str]]:
    """An environment whose Azure is not reachable: nothing listens where it should be."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        yield {
            "HTTPS_PROXY": address,
            "NO_PROXY": "127.0.0.1",
            "IDENTITY_ENDPOINT": f"{address}/msi/token",
            "IDENTITY_HEADER": "nobody",
        }


@pytest.fixture(scope="package")
def cut_off(settings: dict[str, str], no_azure: dict[str, str]) -> Iterator[Worker]:
    """A configured app with its storage, but no Azure."""
    with Worker(settings | no_azure) as worker:
        yield worker


@pytest.fixture(scope="package")
def unconfigured() -> Iterator[Worker]:
    """The app with no environment at all."""
    with Worker() as worker:
        yield worker


class Queues:
    """The storage queues behind the app."""

    def __init__(self, azurite: Azurite) -> None:
        self._connection = azurite.connection_string

    def take(self, name: str) -> list[str]:
        """Take the visible messages out of a queue, decoded from base64."""
        with QueueClient.from_connection_string(
            self._connection, name, message_decode_policy=TextBase64DecodePolicy()
        ) as queue:
            taken = []
            for message in queue.receive_messages():
                queue.delete_message(message)
                taken.append(str(message.content))
            return taken

    def count(self, name: str) -> int:
        """Return how many messages a queue holds, those too that are not visible yet."""
        with QueueClient.from_connection_string(self._connection, name) as queue:
            try:
                return queue.get_queue_properties().approximate_message_count or 0
            except ResourceNotFoundError:
                return 0


@pytest.fixture
def queues(azurite: Azurite) -> Queues:
    """The queues behind the app, empty."""
    with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        for queue in service.list_queues():
            service.get_queue_client(queue).clear_messages()
    return Queues(azurite)

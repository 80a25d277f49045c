"""Queue clients of the host, made from the ``connection`` of a binding."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from dev.functionshost.settings import AppSettings

DEFAULT_CONNECTION = "AzureWebJobsStorage"

# The host's own requests would otherwise be logged as if they were the app's.
_quiet = logging.getLogger(f"{__name__}.http")
_quiet.disabled = True


def _client_options() -> dict[str, Any]:
    # Three quick retries, like the .NET client; the Python client would wait fifteen seconds before the first.
    return {"logger": _quiet, "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1, "retry_total": 3}


class MissingConnectionError(Exception):
    """The app settings do not say how to reach the storage account of a binding."""


class QueueAccounts:
    """Opens one queue service client for each connection, and closes them all.

    A connection ``X`` is a connection string in the setting ``X`` (``UseDevelopmentStorage=true`` included), or the
    settings ``X__queueServiceUri`` or ``X__accountName`` with a managed identity (``X__credential``, ``X__clientId``).
    The prefix ``AzureWebJobs`` is tried first, as in the WebJobs SDK. See
    https://learn.microsoft.com/azure/azure-functions/functions-reference#configure-an-identity-based-connection.
    """

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._clients: dict[str, QueueServiceClient] = {}
        self._credentials: list[Any] = []

    def queue(self, connection: str, name: str) -> QueueClient:
        """Return a client for a queue; no request is made. Queue names are lower-cased.

        Raises:
            MissingConnectionError: the connection is not in the app settings, or is malformed.
        """
        connection = connection or DEFAULT_CONNECTION
        if connection not in self._clients:
            self._clients[connection] = self._open(connection)
        return self._clients[connection].get_queue_client(name.lower())

    async def close(self) -> None:
        """Close all clients and credentials."""
        for closeable in [*self._clients.values(), *self._credentials]:
            await closeable.close()

    def _open(self, connection: str) -> QueueServiceClient:
        for name in (f"AzureWebJobs{connection}", connection):
            if text := self._settings.get(name):
                try:
                    return QueueServiceClient.from_connection_string(text, **_client_options())
                except ValueError as error:
                    raise MissingConnectionError(f"connection string '{name}' is malformed: {error}") from error
            if url := self._service_url(name):
                return QueueServiceClient(url, credential=self._credential(name), **_client_options())
        raise MissingConnectionError(
            f"storage connection '{connection}' does not exist; set {connection} or {connection}__queueServiceUri"
        )

    def _service_url(self, name: str) -> str | None:
        if url := self._settings.get(f"{name}__queueServiceUri") or self._settings.get(f"{name}__serviceUri"):
            return url
        account = self._settings.get(f"{name}__accountName")
        return f"https://{account}.queue.core.windows.net" if account else None

    def _credential(self, name: str) -> Any:
        credential: Any
        if (self._settings.get(f"{name}__credential") or "").lower() == "managedidentity":
            credential = ManagedIdentityCredential(client_id=self._settings.get(f"{name}__clientId"))
        else:
            credential = DefaultAzureCredential()
        self._credentials.append(credential)
        return credential


async def add_message(queue: QueueClient, text: str) -> None:
    """Add a message, and create the queue first if it does not exist."""
    try:
        await queue.send_message(text)
    except ResourceNotFoundError:
        with contextlib.suppress(ResourceExistsError):
            await queue.create_queue()
        await queue.send_message(text)

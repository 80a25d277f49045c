"""The app's queues, for messages that an output binding cannot send: with a delay, or to a poison queue."""

from __future__ import annotations

import base64
import contextlib

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError

from shared.clients import Clients
from shared.errors import from_azure
from shared.messages import RebuildRequest, RunCheck

_MAX_DELAY = 7 * 24 * 3600 - 60


class Queues:
    """Sends messages, base64-encoded as the Functions host expects them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def send(self, queue: str, message: RebuildRequest | RunCheck, delay: float = 0) -> None:
        """Send a message that becomes visible after `delay` seconds."""
        await self._put(queue, message.encode().encode(), delay)

    async def poison(self, queue: str, body: bytes) -> None:
        """Set a message aside in a queue's poison queue, as it came."""
        await self._put(f"{queue}-poison", body, 0)

    async def _put(self, queue: str, body: bytes, delay: float) -> None:
        text = base64.b64encode(body).decode()
        client = self._clients.queues().get_queue_client(queue)
        # A message must not run out before somebody has looked at it: -1 keeps it for ever.
        options = {"visibility_timeout": int(min(max(delay, 0), _MAX_DELAY)), "time_to_live": -1}
        try:
            try:
                await client.send_message(text, **options)
            except ResourceNotFoundError:
                with contextlib.suppress(ResourceExistsError):
                    await client.create_queue()
                await client.send_message(text, **options)
        except AzureError as error:
            raise from_azure(error, f"send to queue {queue}") from error

"""The app's queues, for messages that an output binding cannot send: with a delay, or to a poison queue."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError

from shared.adapters.azure_errors import from_azure
from shared.adapters.clients import Clients
from shared.adapters.messages import FanOut, RebuildRequest, RunCheck
from shared.domain.errors import GroundswellError
from shared.logs import Log

log = Log("queues")
_AT_ONCE = 16
_MAX_DELAY = 7 * 24 * 3600 - 60


@dataclass(frozen=True)
class Sent:
    """A message that was sent, as the queue needs it to change its time."""

    id: str
    receipt: str


class Queues:
    """Sends messages, base64-encoded as the Functions host expects them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def send(self, queue: str, message: RebuildRequest | RunCheck | FanOut, delay: float = 0) -> None:
        """Send a message that becomes visible after `delay` seconds."""
        await self.put(queue, message.encode().encode(), delay)

    async def send_all(self, queue: str, messages: Sequence[RebuildRequest | RunCheck | FanOut]) -> None:
        """Send messages, a few at a time. If one cannot be sent, the others are all the same."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def send(message: RebuildRequest | RunCheck | FanOut) -> None:
            async with turns:
                await self.send(queue, message)

        for result in await asyncio.gather(*map(send, messages), return_exceptions=True):
            if result is not None:
                raise result

    async def take_poisoned(self, queue: str, put_back: Callable[[bytes], Awaitable[bool]]) -> tuple[int, int]:
        """Offer each message of a poison queue to `put_back` once; those it takes are removed.

        Returns:
            How many were put back, and how many stay.
        """
        client = self._clients.queues().get_queue_client(f"{queue}-poison")
        taken = kept = 0
        try:
            async for message in client.receive_messages(messages_per_page=32, visibility_timeout=60):
                if await _taken(_decoded(message.content), put_back):
                    await client.delete_message(message)
                    taken += 1
                else:
                    kept += 1
        except ResourceNotFoundError:
            return 0, 0
        except AzureError as error:
            raise from_azure(error, f"read queue {queue}-poison") from error
        return taken, kept

    async def length(self, queue: str) -> int:
        """Return about how many messages a queue holds, invisible ones included; 0 if it does not exist (yet)."""
        try:
            found = await self._clients.queues().get_queue_client(queue).get_queue_properties()
        except ResourceNotFoundError:
            return 0
        except AzureError as error:
            raise from_azure(error, f"read queue {queue}") from error
        return int(found.approximate_message_count or 0)

    async def poison(self, queue: str, body: bytes) -> None:
        """Set a message aside in a queue's poison queue, as it came."""
        await self.put(f"{queue}-poison", body)

    async def put(self, queue: str, body: bytes, delay: float = 0) -> Sent:
        """Put a message's body into a queue, as it is; it becomes visible after `delay` seconds."""
        text = base64.b64encode(body).decode()
        client = self._clients.queues().get_queue_client(queue)
        # A message must not run out before somebody has looked at it: -1 keeps it for ever.
        options = {"visibility_timeout": _seconds(delay), "time_to_live": -1}
        try:
            try:
                sent = await client.send_message(text, **options)
            except ResourceNotFoundError:
                with contextlib.suppress(ResourceExistsError):
                    await client.create_queue()
                sent = await client.send_message(text, **options)
        except AzureError as error:
            raise from_azure(error, f"send to queue {queue}") from error
        return Sent(sent.id, sent.pop_receipt or "")

    async def move(self, queue: str, sent: Sent, delay: float) -> Sent | None:
        """Let a message that nobody has received yet become visible after `delay` seconds; None: it is gone."""
        client = self._clients.queues().get_queue_client(queue)
        try:
            moved = await client.update_message(sent.id, sent.receipt, visibility_timeout=_seconds(delay))
        except HttpResponseError as error:
            # Received, or moved by somebody else.
            if error.status_code in (400, 404):
                return None
            raise from_azure(error, f"move a message of queue {queue}") from error
        except AzureError as error:
            raise from_azure(error, f"move a message of queue {queue}") from error
        return Sent(moved.id, moved.pop_receipt or "")


def _seconds(delay: float) -> int:
    return math.ceil(min(max(delay, 0), _MAX_DELAY))


async def _taken(body: bytes | None, put_back: Callable[[bytes], Awaitable[bool]]) -> bool:
    """Put a message back; one that cannot be (now) stays, and holds up no other."""
    try:
        return body is not None and await put_back(body)
    except GroundswellError as error:
        log.warning("message not put back", reason=error)
        return False


def _decoded(content: str) -> bytes | None:
    """Return a message's body; None if it is not base64, as when somebody put it into the queue by hand."""
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        return None

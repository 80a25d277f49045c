"""Queue triggers: polling, leases, retries and poison messages as in the Storage Queues extension.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger and, for the details,
QueueListener and QueueProcessor in github.com/Azure/azure-sdk-for-net
(sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Queues).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from dev.functionshost.invoker import Invoker
from dev.functionshost.model import Function, InvocationError
from dev.functionshost.settings import MIN_POLLING_INTERVAL, QueueOptions
from dev.functionshost.storage import add_message

logger = logging.getLogger(__name__)

DEFAULT_LEASE = 600
POISON_SUFFIX = "-poison"
_MAX_QUEUE_NAME = 63


class QueueListener:
    """Feeds the messages of one queue to one function.

    Args:
        function: the function to run.
        queue: the queue, which need not exist yet: the host polls until it does, and never creates it.
        poison_queue: where messages go that keep failing, or None when the queue cannot have one.
        invoker: runs the function.
        options: ``extensions.queues`` of host.json.
        lease: seconds for which a received message is invisible; 600 in Azure. It is renewed while the function runs,
            and a message whose host died comes back when it ends.
    """

    def __init__(
        self,
        function: Function,
        queue: QueueClient,
        poison_queue: QueueClient | None,
        invoker: Invoker,
        options: QueueOptions,
        lease: int = DEFAULT_LEASE,
    ) -> None:
        self._function = function
        self._queue = queue
        self._poison_queue = poison_queue
        self._invoker = invoker
        self._options = options
        self._lease = lease
        self._processing: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None

    @property
    def queue_url(self) -> str:
        """Return the URL of the queue, by which outputs of this host find their listeners."""
        return str(self._queue.url)

    @property
    def function_name(self) -> str:
        """Return the name of the function that gets the messages."""
        return self._function.name

    def start(self) -> None:
        """Begin to poll."""
        self._loop_task = asyncio.create_task(self._poll(), name=f"queue {self._queue.queue_name}")

    def notify(self) -> None:
        """Poll at once: this host has just added a message."""
        self._wake.set()

    async def stop(self) -> None:
        """Stop receiving. Messages that are being processed keep their lease until they are done."""
        if self._loop_task:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)

    async def wait_for_running(self) -> None:
        """Wait until the messages in process are settled."""
        if self._processing:
            await asyncio.wait(self._processing)

    async def _poll(self) -> None:
        empty_polls = 0
        while True:
            self._wake.clear()
            received = await self._receive()
            if received:
                empty_polls = 0
                for message in received:
                    task = asyncio.create_task(self._process(message))
                    self._processing.add(task)
                    task.add_done_callback(self._processing.discard)
                await self._wait_for_threshold()
            else:
                empty_polls += 1
                pause = self._back_off(empty_polls)
                logger.debug("Nothing in queue '%s', next poll in %.1f s", self._queue.queue_name, pause)
                await self._sleep(pause)

    async def _receive(self) -> list[QueueMessage]:
        size = self._options.batch_size
        try:
            pages = self._queue.receive_messages(
                max_messages=size, messages_per_page=size, visibility_timeout=self._lease
            )
            return [message async for message in pages]
        except Exception as error:  # whatever happens, the listener must go on; a queue that is missing is one cause
            logger.warning("Cannot poll queue '%s', will try again: %s", self._queue.queue_name, _first_line(error))
            return []

    async def _wait_for_threshold(self) -> None:
        while len(self._processing) > self._options.new_batch_threshold:
            await asyncio.wait(self._processing, return_when=asyncio.FIRST_COMPLETED)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    def _back_off(self, empty_polls: int) -> float:
        """Return the seconds until the next poll: doubling from 100 ms, a fifth at random, up to the maximum."""
        shortest = MIN_POLLING_INTERVAL.total_seconds()
        growth: float = (2 ** min(empty_polls - 1, 30) - 1) * random.uniform(0.8, 1.2)
        return min(self._options.max_polling_interval.total_seconds(), shortest * (1 + growth))

    async def _process(self, message: QueueMessage) -> None:
        try:
            if self._poison_queue and (message.dequeue_count or 0) > self._options.max_dequeue_count:
                await self._move_to_poison(message, "it was dequeued more often than maxDequeueCount allows")
                return
            try:
                body = self._decode(message)
            except binascii.Error:
                await self._move_to_poison(message, "its text is not valid base64")
                return
            except UnicodeDecodeError as error:
                # The trigger's metadata are text, so this message cannot be bound and the function never sees it.
                logger.error("Exception while binding message %s of '%s': %s", message.id, self.function_name, error)
                await self._settle(message, succeeded=False)
                return
            async with self._renewed_lease(message):
                succeeded = await self._invoke(message, body)
            await self._settle(message, succeeded=succeeded)
        except ResourceNotFoundError:
            logger.warning(
                "Message %s of queue '%s' is gone or was received again: its lease had ended",
                message.id,
                self._queue.queue_name,
            )
        except Exception as error:  # the message stays leased and comes back
            logger.error("Cannot settle message %s: %s", message.id, _first_line(error))

    async def _invoke(self, message: QueueMessage, body: Datum) -> bool:
        try:
            await self._invoker.invoke(
                self._function,
                body,
                reason=f"queue '{self._queue.queue_name}', message {message.id}, attempt {message.dequeue_count}",
                trigger_metadata=trigger_metadata(message, body),
            )
        except InvocationError:
            return False
        return True

    async def _settle(self, message: QueueMessage, *, succeeded: bool) -> None:
        if succeeded:
            await self._queue.delete_message(message.id, message.pop_receipt)
        elif self._poison_queue is None:
            # Without a poison queue the message stays invisible to the end of its lease, or it would fail in a loop.
            return
        elif (message.dequeue_count or 0) >= self._options.max_dequeue_count:
            await self._move_to_poison(message, f"it failed {message.dequeue_count} times")
        else:
            await self._queue.update_message(
                message.id,
                message.pop_receipt,
                visibility_timeout=int(self._options.visibility_timeout.total_seconds()),
            )

    async def _move_to_poison(self, message: QueueMessage, why: str) -> None:
        if self._poison_queue:
            await add_message(self._poison_queue, message.content)
            logger.warning(
                "Message %s moved to queue '%s' because %s",
                message.id,
                self._poison_queue.queue_name,
                why,
                extra={"function": self._function.name, "invocation": ""},
            )
        await self._queue.delete_message(message.id, message.pop_receipt)

    def _decode(self, message: QueueMessage) -> Datum:
        text = str(message.content or "")
        if self._options.base64:
            text = base64.b64decode("".join(text.split()), validate=True).decode()
        return Datum(text, "string")

    @asynccontextmanager
    async def _renewed_lease(self, message: QueueMessage) -> AsyncIterator[None]:
        """Keep a message invisible while its function runs; each renewal changes its pop receipt."""
        done = asyncio.Event()

        async def renew() -> None:
            while True:
                try:
                    await asyncio.wait_for(done.wait(), self._lease / 2)
                except TimeoutError:
                    try:
                        renewed = await self._queue.update_message(
                            message.id, message.pop_receipt, visibility_timeout=self._lease
                        )
                    except AzureError as error:
                        logger.warning("Cannot renew the lease of message %s: %s", message.id, _first_line(error))
                    else:
                        message.pop_receipt = renewed.pop_receipt
                else:
                    return

        renewal = asyncio.create_task(renew())
        try:
            yield
        finally:
            # Not cancelled: a renewal under way must finish, or the newest pop receipt would be unknown.
            done.set()
            await renewal


def poison_queue_name(queue_name: str) -> str | None:
    """Return the name of a queue's poison queue, or None when it is one itself or the name would be too long."""
    name = queue_name + POISON_SUFFIX
    return None if queue_name.endswith(POISON_SUFFIX) or len(name) > _MAX_QUEUE_NAME else name


def trigger_metadata(message: QueueMessage, body: Datum) -> dict[str, Datum]:
    """Return what the queue trigger tells the worker about a message."""
    return {
        "QueueTrigger": body,
        "Id": Datum(message.id, "string"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "InsertionTime": _time_datum(message.inserted_on),
        "ExpirationTime": _time_datum(message.expires_on),
        "NextVisibleTime": _time_datum(message.next_visible_on),
    }


def manual_trigger_metadata(text: str) -> dict[str, Datum]:
    """Return the metadata of a message that never was in a queue: a call of the function through the admin endpoint."""
    now = datetime.now(UTC)
    return {
        "QueueTrigger": Datum(text, "string"),
        "Id": Datum(str(uuid.uuid4()), "string"),
        "PopReceipt": Datum("", "string"),
        "DequeueCount": Datum("0", "json"),
        "InsertionTime": _time_datum(now),
        "ExpirationTime": _time_datum(now),
        "NextVisibleTime": _time_datum(now),
    }


def _time_datum(moment: object) -> Datum:
    text = moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else None
    return Datum(json.dumps(text), "json")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

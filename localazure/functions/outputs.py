"""Output bindings: what is sent after a function returned."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from azure.functions.meta import Datum
from azure.storage.queue.aio import QueueClient

from localazure.functions.model import RETURN_BINDING, Function, InvocationResult
from localazure.functions.storage import add_message


class QueueOutputs:
    """Sends the queue outputs of functions, one message after the other.

    Args:
        base64_encoded: ``messageEncoding`` of host.json.
        notify: called with the URL of each queue that got a message, to wake the listeners of this host.
    """

    def __init__(self, *, base64_encoded: bool, notify: Callable[[str], None]) -> None:
        self._base64 = base64_encoded
        self._notify = notify
        self._queues: dict[tuple[str, str], QueueClient] = {}

    def bind(self, function: Function, binding_name: str, queue: QueueClient) -> None:
        """Connect an output binding of a function with its queue."""
        self._queues[function.name, binding_name] = queue

    async def write(self, function: Function, result: InvocationResult) -> None:
        """Send every queue output of an invocation.

        The messages are not one transaction: when one cannot be sent, those before it stay sent.

        Raises:
            AzureError: the queue service refused a message or is not there.
        """
        written: Mapping[str, Datum | None] = dict(result.outputs) | {RETURN_BINDING: result.return_value}
        for binding in function.outputs:
            queue = self._queues.get((function.name, binding.name))
            datum = written.get(binding.name)
            if queue is None or datum is None:
                continue
            for message in split_messages(datum):
                await add_message(queue, encode_message(message, base64_encoded=self._base64))
                self._notify(str(queue.url))


def split_messages(datum: Datum) -> list[str | bytes]:
    """Return the messages in one output value.

    The host splits a JSON array into one message for each element, even when the function set it as plain text:
    https://github.com/Azure/azure-functions-python-worker/issues/1492.
    """
    value: Any = datum.value
    if datum.type is None or value is None:
        return []
    if datum.type == "bytes":
        return [bytes(value)]
    if datum.type == "string":
        elements = _json_array(value)
        return [value] if elements is None else [_text(element) for element in elements]
    if datum.type == "json":
        value = json.loads(value)
    if isinstance(value, list):
        return [_text(element) for element in value]
    return [_text(value)]


def encode_message(message: str | bytes, *, base64_encoded: bool) -> str:
    """Return the text that is stored in the queue for a message."""
    if base64_encoded:
        return base64.b64encode(message.encode() if isinstance(message, str) else message).decode()
    return message if isinstance(message, str) else message.decode()


def _json_array(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _text(element: Any) -> str:
    return element if isinstance(element, str) else json.dumps(element, separators=(",", ":"))

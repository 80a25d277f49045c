"""Output bindings: what is sent after a function returned."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from azure.functions.meta import Datum
from azure.storage.queue.aio import QueueClient

from dev.functionshost.json_net import element_text
from dev.functionshost.model import RETURN_BINDING, Function, InvocationResult
from dev.functionshost.storage import add_message


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

    The host splits an array into one message for each element, even when the function set it as plain text, and
    writes objects anew: ReadAsEnumerable and BindAsyncCollectorAsync in
    https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Binding/FunctionBinding.cs.

    Raises:
        ValueError: the text begins and ends like JSON and is none.
    """
    value: Any = datum.value
    if datum.type is None or value is None:
        return []
    if datum.type == "bytes":
        return [bytes(value)]
    if datum.type == "json":
        value = json.loads(value)
    if isinstance(value, str):
        text = value.strip()
        if text[:1] + text[-1:] not in ("{}", "[]"):
            return [value]
        return [element_text(element, times=True) for element in _elements(json.loads(text))]
    return [element_text(element, times=False) for element in _elements(value)]


def encode_message(message: str | bytes, *, base64_encoded: bool) -> str:
    """Return the text that is stored in the queue for a message."""
    if base64_encoded:
        return base64.b64encode(message.encode() if isinstance(message, str) else message).decode()
    return message if isinstance(message, str) else message.decode()


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

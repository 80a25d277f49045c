"""What Azure's table service refuses and Azurite takes.

Limits: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model,
https://learn.microsoft.com/rest/api/storageservices/querying-tables-and-entities (comparisons) and
https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions. Codes and texts:
https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes, and as clients reported them:
https://github.com/Azure/azure-sdk-for-net/issues/20533 (sizes), https://github.com/Azure/azure-sdk-for-python/pull/33839
(the same row twice), https://github.com/petabridge/Akka.Persistence.Azure/issues/251 (too many operations).

An update that merges is judged by what it sends, not by what the entity becomes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

COMPARISONS = 15
OPERATIONS = 100
TRANSACTION_BYTES = 4 * 1024 * 1024
ENTITY_BYTES = 1024 * 1024
VALUE_BYTES = 64 * 1024
PROPERTIES = 252
KEY_BYTES = 1024

_SYSTEM = ("PartitionKey", "RowKey", "Timestamp")
_TEXT = re.compile(r"'(?:[^']|'')*'")
_COMPARISON = re.compile(r"\b(?:eq|ne|gt|ge|lt|le)\b")
_KEYS = re.compile(r"\(PartitionKey='(.*)',RowKey='(.*)'\)", re.DOTALL)
_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_BOUNDARY = re.compile(rb"boundary=(changeset_[\w-]+)")


@dataclass(frozen=True)
class Refusal:
    """How Azure says no.

    Attributes:
        index: Which operation of a transaction is to blame.
    """

    code: str
    message: str
    status: int = 400
    index: int = 0


@dataclass(frozen=True)
class Operation:
    """A request about one entity: of its own, or in a transaction."""

    method: str
    url: str
    entity: dict[str, Any]

    @cached_property
    def keys(self) -> tuple[str, str] | None:
        """The partition key and the row key, if it names an entity."""
        if match := _KEYS.search(unquote(urlsplit(self.url).path)):
            return match[1].replace("''", "'"), match[2].replace("''", "'")
        if "PartitionKey" in self.entity and "RowKey" in self.entity:
            return str(self.entity["PartitionKey"]), str(self.entity["RowKey"])
        return None


def of_query(text: str) -> Refusal | None:
    """Judge a `$filter`."""
    if len(_COMPARISON.findall(_TEXT.sub("''", text))) > COMPARISONS:
        # The limit is documented, its answer is not.
        return Refusal("InvalidInput", "One of the request inputs is not valid.")
    return None


def of_operation(operation: Operation) -> Refusal | None:
    """Judge a request about one entity."""
    for name, key in zip(_SYSTEM, operation.keys or (), strict=False):
        if _FORBIDDEN.search(key):
            return Refusal("OutOfRangeInput", f"The '{name}' parameter of value '{key}' is out of range.")
        if _size(key) > KEY_BYTES:
            return Refusal("PropertyValueTooLarge", "The property value is larger than the maximum size permitted.")
    own = {name: value for name, value in operation.entity.items() if "odata." not in name and name not in _SYSTEM}
    if len(own) > PROPERTIES:
        return Refusal(
            "TooManyProperties",
            f"The entity contains more properties than allowed. Each entity can include up to {PROPERTIES} properties "
            "to store data. Each entity also has 3 system properties.",
        )
    sizes = {name: _size(value, operation.entity.get(f"{name}@odata.type", "")) for name, value in own.items()}
    if any(size > VALUE_BYTES for size in sizes.values()):
        return Refusal(
            "PropertyValueTooLarge",
            "The property value exceeds the maximum allowed size (64KB). If the property value is a string, it is "
            "UTF-16 encoded and the maximum number of characters should be 32K or less.",
        )
    if sum(sizes.values()) + sum(2 * len(name) + 8 for name in own) > ENTITY_BYTES:
        return Refusal("EntityTooLarge", "The entity is larger than the maximum allowed size (1MB).")
    return None


def of_transaction(body: bytes) -> Refusal | None:
    """Judge an entity group transaction, by the body of its request."""
    if len(body) > TRANSACTION_BYTES:
        text = "The request body is too large and exceeds the maximum permissible limit."
        return Refusal("RequestBodyTooLarge", text, status=413)
    seen = list[tuple[str, str] | None]()
    for index, operation in enumerate(_operations(body)):
        if refusal := _in_transaction(operation, seen) or of_operation(operation):
            return Refusal(refusal.code, refusal.message, index=index)
        seen.append(operation.keys)
    return None


def _in_transaction(operation: Operation, before: list[tuple[str, str] | None]) -> Refusal | None:
    """Judge an operation by those before it."""
    keys = operation.keys
    if len(before) >= OPERATIONS:
        text = f"The batch request operation exceeds the maximum {OPERATIONS} changes per change set."
        return Refusal("InvalidInput", text)
    if keys and before and before[0] and keys[0] != before[0][0]:
        text = "All commands in a batch must operate on same entity group."
        return Refusal("CommandsInBatchActOnDifferentPartitions", text)
    if keys and keys in before:
        text = (
            "The batch request contains multiple changes with same row key. An entity can appear only once in a batch "
            "request."
        )
        return Refusal("InvalidDuplicateRow", text)
    return None


def _operations(body: bytes) -> Iterable[Operation]:
    """Read a transaction's operations, in their order."""
    boundary = _BOUNDARY.search(body)
    parts = body.split(b"--" + boundary[1])[1:-1] if boundary else []
    for part in parts:
        _, _, request = part.partition(b"\r\n\r\n")
        head, _, content = request.partition(b"\r\n\r\n")
        method, url, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        yield Operation(method, url, entity_of(content.strip()))


def entity_of(body: bytes) -> dict[str, Any]:
    """Read an entity; what is none is the service's to refuse."""
    try:
        entity = json.loads(body or b"{}")
    except ValueError:
        return {}
    return entity if isinstance(entity, dict) else {}


def _size(value: Any, kind: str = "") -> int:
    """Return the bytes that a property's value takes in storage."""
    if not isinstance(value, str) or kind in ("Edm.Int64", "Edm.DateTime"):
        return 8
    if kind == "Edm.Binary":
        return len(base64.b64decode(value))
    return len(value.encode("utf-16-le", "surrogatepass"))

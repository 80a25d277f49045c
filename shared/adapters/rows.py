"""Rows of the app's storage table: each holds one frozen dataclass as JSON.

What Azure sets as limits is kept here: a transaction has at most 100 rows of one partition
(https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions), a text property 32,768
characters (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from pydantic import TypeAdapter, ValidationError

from shared.adapters.azure_errors import from_azure
from shared.adapters.clients import Clients
from shared.domain.errors import TemporaryError
from shared.logs import Log

if TYPE_CHECKING:
    from azure.data.tables import TableEntity
    from azure.data.tables.aio import TableClient

T = TypeVar("T")

log = Log("rows")

MOST_IN_A_TRANSACTION = 100
LONGEST = 32_000
"""Characters of a row's JSON: a property holds 32,768."""


@dataclass(frozen=True)
class Row(Generic[T]):
    """A row as it was read.

    Attributes:
        etag: The state in which it was read; "" if it is not there yet.
    """

    key: str
    value: T
    etag: str = ""


@dataclass(frozen=True)
class Change:
    """A row to be written, provided that nobody has changed it since it was read.

    Attributes:
        text: Its JSON, or None to delete it.
        etag: As it was read; "" if it was not there.
    """

    key: str
    text: str | None
    etag: str


class Kind(Generic[T]):
    """One kind of rows: the dataclass, and how the keys of its rows begin."""

    def __init__(self, model: type[T], prefix: str) -> None:
        self._json = TypeAdapter(model)
        self.prefix = prefix

    def read(self, key: str, text: str, etag: str) -> Row[T] | None:
        """Read a row; None: it is not to be understood, and is written anew."""
        try:
            return Row(key, self._json.validate_json(text), etag)
        except ValidationError as error:
            # Its input may hold what others wrote: the number of errors is enough.
            log.warning("row not understood", row=key, reason=f"{error.error_count()} errors")
            return None

    def change(self, row: Row[T]) -> Change:
        """Return the change that writes a row."""
        return Change(row.key, self._json.dump_json(row.value).decode(), row.etag)


class Rows:
    """Reads and writes rows."""

    def __init__(self, clients: Clients, table: str) -> None:
        self._clients, self._name = clients, table
        self._client: TableClient | None = None

    async def _table(self) -> TableClient:
        if self._client is None:
            self._client = await self._clients.tables().create_table_if_not_exists(self._name)
        return self._client

    async def partition(self, name: str) -> Mapping[str, tuple[str, str]]:
        """Return all rows of a partition: JSON and ETag by key, in the order of the keys."""
        with self._doing("read"):
            table = await self._table()
            found = table.query_entities("PartitionKey eq @name", parameters={"name": name})
            return {str(row["RowKey"]): _read(row) async for row in found}

    async def get(self, partition: str, key: str) -> tuple[str, str] | None:
        """Return JSON and ETag of a row, or None."""
        with self._doing("read"):
            try:
                row = await (await self._table()).get_entity(partition, key)
            except ResourceNotFoundError as error:
                if is_table_gone(error):
                    raise
                return None
            return _read(row)

    async def write(self, partition: str, changes: Sequence[Change]) -> list[str] | None:
        """Write rows, all or none; return their new ETags, or None if somebody was faster.

        Raises:
            TemporaryError: Storage does not answer, or cannot.
        """
        with self._doing("write"):
            try:
                done = await (await self._table()).submit_transaction([_operation(partition, each) for each in changes])
            except HttpResponseError as error:
                if error.status_code not in (404, 409, 412) or is_table_gone(error):
                    raise
                return None
            return [str(one.get("etag", "")) for one in done]

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except AzureError as error:
            if is_table_gone(error):
                # Lost or deleted while the app runs: the next attempt makes it anew.
                self._client = None
                raise TemporaryError(f"Could not {what} rows of table {self._name}: it is gone.", 15.0) from error
            raise from_azure(error, f"{what} rows of table {self._name}") from error


def _read(row: TableEntity) -> tuple[str, str]:
    return str(row.get("json", "")), str(row.metadata["etag"])


def _operation(partition: str, change: Change) -> tuple[Any, ...]:
    entity = {"PartitionKey": partition, "RowKey": change.key, "json": change.text}
    unchanged = {"etag": change.etag, "match_condition": MatchConditions.IfNotModified}
    if change.text is None:
        return "delete", entity, unchanged
    return ("update", entity, {"mode": "replace", **unchanged}) if change.etag else ("create", entity)


def is_table_gone(error: AzureError) -> bool:
    """Tell whether a request failed because there is no such table."""
    return getattr(error, "error_code", None) == "TableNotFound"


def safe(text: str) -> str:
    r"""Return text that may be part of a row key (no / \ # ? nor control characters), still one for one."""
    kept = re.sub(r"[^A-Za-z0-9_.:@=+-]", "_", text)
    return kept if kept == text else f"{kept[:150]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"

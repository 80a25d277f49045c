"""Storage for tests refuses what Azure refuses, as the real clients see it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from dev.testing.azurite import Azurite


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        yield running


@pytest.fixture
async def table(azurite: Azurite) -> AsyncIterator[TableClient]:
    async with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        client = await service.create_table_if_not_exists("strict")
        async with client:
            yield client
        await service.delete_table("strict")


def row(key: str, partition: str = "p", /, **more: Any) -> dict[str, Any]:
    return {"PartitionKey": partition, "RowKey": key, **more}


def rows(keys: int, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("upsert", row(f"{number:03}", **more)) for number in range(keys)]


def comparisons(number: int) -> str:
    return " or ".join(f"RowKey eq 'it''s eq {n}'" for n in range(number))


async def refused(answer: Awaitable[Any]) -> tuple[int | None, str, str]:
    """Return the status, the code and the first line of the refusal that a request gets."""
    with pytest.raises(HttpResponseError) as caught:
        await answer
    assert caught.value.response is not None
    error = json.loads(caught.value.response.text())["odata.error"]
    return caught.value.status_code, error["code"], error["message"]["value"].partition("\n")[0]


async def found(table: TableClient, text: str) -> list[str]:
    return [str(entity["RowKey"]) async for entity in table.query_entities(text)]


async def test_filter_takes_fifteen_comparisons_and_no_more(table: TableClient) -> None:
    await table.create_entity(row("it's eq 7"))
    assert await found(table, comparisons(15)) == ["it's eq 7"]
    status, code, _ = await refused(found(table, comparisons(16)))
    assert (status, code) == (400, "InvalidInput")


@pytest.mark.parametrize("key", ["a/b", "a\\b", "a#b", "a?b", "a\tb", "a\x7fb", "a\x85b", "k" * 513])
async def test_key_that_azure_does_not_take_is_refused_in_every_place(table: TableClient, key: str) -> None:
    expected = "PropertyValueTooLarge" if len(key) > 512 else "OutOfRangeInput"
    for ask in (
        lambda: table.create_entity(row(key)),
        lambda: table.create_entity(row("r", key)),
        lambda: table.upsert_entity(row(key), UpdateMode.REPLACE),
        lambda: table.submit_transaction([("upsert", row("fine")), ("upsert", row(key))]),
    ):
        assert (await refused(ask()))[:2] == (400, expected)
    assert await found(table, "") == []


async def test_long_and_strange_keys_are_taken(table: TableClient) -> None:
    for key in ("k" * 512, "it's 100 %|é(ü)=,&"):
        await table.upsert_entity(row(key, text=key))
        assert (await table.get_entity("p", key))["text"] == key


async def test_text_is_counted_in_utf_16(table: TableClient) -> None:
    await table.create_entity(row("fits", text="é" * 32_768, data=b"\x00" * 65_536))
    assert len((await table.get_entity("p", "fits"))["text"]) == 32_768
    for value in ("x" * 32_769, "🌊" * 16_385, b"\x00" * 65_537):
        status, code, text = await refused(table.create_entity(row("large", value=value)))
        assert (status, code) == (400, "PropertyValueTooLarge")
        assert text.startswith("The property value exceeds the maximum allowed size (64KB)")


async def test_entity_has_at_most_252_properties_and_one_mebibyte(table: TableClient) -> None:
    await table.create_entity(row("wide", "p", **{f"p{n}": n for n in range(252)}))
    await table.create_entity(row("heavy", "p", **{f"p{n}": "x" * 32_000 for n in range(16)}))
    wide = await refused(table.create_entity(row("wider", "p", **{f"p{n}": n for n in range(253)})))
    assert wide[:2] == (400, "TooManyProperties")
    heavy = await refused(table.create_entity(row("heavier", "p", **{f"p{n}": "x" * 32_000 for n in range(17)})))
    assert heavy == (400, "EntityTooLarge", "The entity is larger than the maximum allowed size (1MB).")


async def test_transaction_takes_a_hundred_rows_and_tells_which_is_one_too_many(table: TableClient) -> None:
    answers = await table.submit_transaction(rows(100, text="é"))
    assert len(answers) == 100
    assert all(answer["etag"] for answer in answers)
    with pytest.raises(TableTransactionError) as caught:
        await table.submit_transaction([*rows(100), ("upsert", row("one more"))])
    assert (caught.value.status_code, caught.value.index) == (400, 100)
    assert "exceeds the maximum 100 changes per change set" in caught.value.message


async def test_transaction_in_two_partitions_is_refused_whole(
    table: TableClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This client refuses it by itself; others do not.
    monkeypatch.setattr("azure.data.tables._table_batch.TableBatchOperations._verify_partition_key", lambda *_: None)
    batch: list[Any] = [("upsert", row("r")), ("upsert", row("r", "other"))]
    assert (await refused(table.submit_transaction(batch)))[:2] == (400, "CommandsInBatchActOnDifferentPartitions")
    assert await found(table, "") == []


async def test_transaction_with_a_row_twice_is_refused_whole(table: TableClient) -> None:
    await table.create_entity(row("old"))
    batch: list[Any] = [("upsert", row("new")), ("delete", row("old")), ("upsert", row("old"))]
    assert (await refused(table.submit_transaction(batch)))[:2] == (400, "InvalidDuplicateRow")
    assert await found(table, "") == ["old"]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_transaction_of_more_than_four_mebibytes_is_refused(table: TableClient) -> None:
    status, code, _ = await refused(table.submit_transaction(rows(90, a="x" * 30_000, b="x" * 30_000)))
    assert (status, code) == (413, "RequestBodyTooLarge")


async def test_transaction_that_storage_refuses_is_refused_as_without_a_proxy(table: TableClient) -> None:
    await table.create_entity(row("there"))
    with pytest.raises(TableTransactionError) as caught:
        await table.submit_transaction([("create", row("new")), ("create", row("there"))])
    assert caught.value.status_code == 409
    assert await found(table, "") == ["there"]


async def test_message_of_more_than_64_kibibytes_is_refused(azurite: Azurite) -> None:
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        queue = await service.create_queue("strict")
        await queue.send_message("x" * 65_536)
        with pytest.raises(HttpResponseError) as caught:
            await queue.send_message("x" * 65_537)
        assert (caught.value.status_code, caught.value.error_code) == (413, "RequestBodyTooLarge")  # type: ignore[attr-defined]
        await service.delete_queue("strict")


async def test_requests_are_counted_by_kind(azurite: Azurite, table: TableClient) -> None:
    before = azurite.requests()
    await table.create_entity(row("a"))
    await table.upsert_entity(row("a"), UpdateMode.MERGE)
    await table.upsert_entity(row("a"), UpdateMode.REPLACE)
    await table.get_entity("p", "a")
    await table.submit_transaction(rows(3))
    await found(table, "PartitionKey eq 'p'")
    await table.delete_entity("p", "a")
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        queue = await service.create_queue("counted")
        await queue.send_message("hello")
        await queue.peek_messages()
        message = await queue.receive_message()
        assert message
        message = await queue.update_message(message, visibility_timeout=0)
        await queue.delete_message(message)
        await queue.clear_messages()
        await service.delete_queue("counted")
    assert azurite.requests() - before == {
        "table insert": 1, "table merge": 1, "table update": 1, "table get": 1, "table transaction": 1,
        "table query": 1, "table delete": 1, "queue queues": 2, "queue send": 1, "queue peek": 1, "queue receive": 1,
        "queue update message": 1, "queue delete message": 1, "queue clear": 1,
    }  # fmt: skip

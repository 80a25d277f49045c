"""The fleet's state in real storage: all or nothing, nobody overwrites anybody, and limits are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableClient

from dev.testing.azurite import Azurite
from shared import settings
from shared.adapters.clients import Clients
from shared.adapters.fleet_state import FleetState, Subscription, target_key
from shared.adapters.rows import Row, Rows
from shared.domain.images import BaseImage
from shared.domain.pacing import Pacer
from shared.domain.state.bases import Base, Tag, changed
from shared.domain.state.known import Known
from shared.domain.state.stacks import Stack
from shared.domain.state.walk import Walk, taken
from tests.unit.state.plain import NOON, at, base, digest, known, ran

SUBSCRIPTION = "3F6b8d1e-52c4-4a7e-9b0d-6c1f2a8e7d35"


class Storage:
    """A table of the test's own."""

    def __init__(self, azurite: Azurite) -> None:
        self.table = f"state{uuid4().hex[:12]}"
        self.connection = azurite.connection_string
        values = {
            "AzureWebJobsStorage": azurite.connection_string,
            "GROUNDSWELL_SUBSCRIPTIONS": SUBSCRIPTION,
            "GROUNDSWELL_POLICY": "policy/rebuilds.yaml",
        }
        self.clients = Clients(settings.load(values), Pacer(time.monotonic))
        self.state = self.anew()

    def anew(self) -> FleetState:
        """The state as another worker sees it."""
        return FleetState(Rows(self.clients, self.table))

    async def put(self, partition: str, key: str, text: str) -> None:
        async with TableClient.from_connection_string(self.connection, self.table) as table:
            await table.upsert_entity({"PartitionKey": partition, "RowKey": key, "json": text})


@pytest.fixture
async def storage(azurite: Azurite) -> AsyncIterator[Storage]:
    storage = Storage(azurite)
    yield storage
    await storage.clients.close()


def target(name: str, **special: object) -> Known:
    return replace(known(ran()), registry=f"/subscriptions/x/{name}", **special)  # type: ignore[arg-type]


async def read(state: FleetState) -> Subscription:
    return await state.subscription(SUBSCRIPTION)


async def test_page_and_its_walk_are_written_in_one_transaction_and_read_as_they_were(storage: Storage) -> None:
    page = [Row(target_key("BuildTask", f"Registry{n}"), target(f"registry{n}")) for n in range(49)]
    walk = taken(Walk(), "i1", NOON)
    assert walk
    await storage.state.write(SUBSCRIPTION, Row("walk", walk), page)
    found = await read(storage.anew())
    assert found.walk.value == walk
    assert {row.key: row.value for row in page} == {key: row.value for key, row in found.targets.items()}
    assert "target|buildtask|registry7" in found.targets


async def test_page_is_refused_as_a_whole_when_somebody_else_wrote_one_of_its_rows(storage: Storage) -> None:
    page = [Row(target_key("buildtask", name), target(name)) for name in ("one", "two")]
    await storage.state.write(SUBSCRIPTION, None, page)
    mine, other = await read(storage.state), await read(storage.anew())
    changed_by_other = [replace(row, value=replace(row.value, failures=1)) for row in other.targets.values()][:1]
    assert await storage.anew().write(SUBSCRIPTION, None, changed_by_other)
    changed_by_me = [replace(row, value=replace(row.value, failures=7)) for row in mine.targets.values()]
    assert await storage.state.write(SUBSCRIPTION, None, changed_by_me) is None
    assert sorted(row.value.failures for row in (await read(storage.state)).targets.values()) == [0, 1]


async def test_rows_that_were_written_can_be_written_again(storage: Storage) -> None:
    written = await storage.state.write(SUBSCRIPTION, None, [Row(target_key("buildtask", "one"), target("one"))])
    assert written
    assert await storage.state.write(SUBSCRIPTION, None, written[1])


async def test_one_message_is_sent_however_many_raise_the_walk(storage: Storage) -> None:
    workers = (storage.state, storage.anew(), storage.anew())
    calls = [await worker.raise_walk(SUBSCRIPTION, at(n)) for n, worker in enumerate(workers)]
    assert calls == [True, False, False]
    assert (await storage.state.walk(SUBSCRIPTION)).value.wanted == 1


async def test_walk_is_taken_by_one(storage: Storage) -> None:
    takes: list[Callable[[Walk], Walk | None]] = [
        lambda walk: taken(walk, "i1", NOON),
        lambda walk: taken(walk, "i2", at(1)),
    ]
    first, second = [await storage.state.change_walk(SUBSCRIPTION, take) for take in takes]
    assert first
    assert first.value.by == "i1"
    assert second is None


async def test_row_that_cannot_be_understood_is_written_anew(storage: Storage) -> None:
    await read(storage.state)
    key = target_key("buildtask", "one")
    await storage.state.raise_walk(SUBSCRIPTION, NOON)
    await storage.put(SUBSCRIPTION.lower(), key, '{"of": "another release"}')
    await storage.put(SUBSCRIPTION.lower(), "walk", "no JSON")
    found = await read(storage.state)
    assert found.targets == {}
    row = found.target("buildtask", "one", target("one"))
    assert await storage.state.write(SUBSCRIPTION, found.walk, [row])
    assert [row.value for row in (await read(storage.state)).targets.values()] == [target("one")]


def looks(*tags: Tag) -> Callable[[Mapping[str, Base], int], Iterable[Base]]:
    return lambda known, number: changed(known, tags, number)


def tag(name: str, content: str = "A", moved: float = 0) -> Tag:
    return Tag(BaseImage("baseimages/node", name, digest(content)), at(moved))


async def test_changes_of_a_look_have_the_next_number(storage: Storage) -> None:
    _, first = await storage.state.change_bases(looks(tag("15"), tag("15.1")))
    _, nothing = await storage.anew().change_bases(looks(tag("15"), tag("15.1")))
    _, second = await storage.anew().change_bases(looks(tag("15", "B", 60), tag("15.1")))
    assert [each.seq for each in first] == [1, 1]
    assert nothing == ()
    assert [(each.image.tag, each.seq) for each in second] == [("15", 2)]
    assert (await storage.state.bases()).seq.value.last == 2


async def test_looks_that_overtake_one_another_lose_no_change(storage: Storage) -> None:
    looked = await asyncio.gather(*(storage.anew().change_bases(looks(tag(f"15.{n}"))) for n in range(6)))
    assert sorted(base.seq for _, moved in looked for base in moved) == [1, 2, 3, 4, 5, 6]
    assert len((await storage.state.bases()).tags) == 6


async def test_many_tags_under_a_glob_are_kept_in_rows_of_their_own(storage: Storage) -> None:
    tags = [tag(f"15-b{number}") for number in range(500)]
    bases, moved = await storage.state.change_bases(looks(*tags))
    assert len(moved) == 500
    assert (await storage.anew().bases()).tags == bases.tags


async def test_tag_whose_contents_have_large_stacks_fits_its_row(storage: Storage) -> None:
    stack = Stack(tuple(f"{n:012x}" for n in range(127)), tuple(f"{n:012x}" for n in range(300)))
    large = base(content="Z", was="ABCDEFGHIJKLMNOP", stack=stack)
    large = replace(large, earlier=tuple(replace(each, stack=stack) for each in large.earlier))
    await storage.state.change_bases(lambda known, number: [large])
    found = (await storage.state.bases()).tags["baseimages/node:15"]
    assert found.stack == stack
    assert found.earlier[-1] == large.earlier[-1]

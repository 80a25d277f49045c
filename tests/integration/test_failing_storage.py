"""A queue, a message or a row that fails stops no other."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.pipeline import PipelineRequest

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut
from shared.domain.errors import GroundswellError
from tests.integration.company_life import push, work_off
from tests.integration.steps import fan_out, fleet, pushed
from tests.integration.world import OPTED_IN, TEAM, World


async def refuse_storage(world: World, *, path: str, method: str, times: int = -1) -> None:
    """Let storage refuse requests to a queue."""
    left = [times]

    def spoil(request: PipelineRequest[Any]) -> None:
        http = request.http_request
        if left[0] and http.method == method and urlsplit(http.url).path.endswith(path):
            left[0] -= 1
            http.url = http.url.replace(path, "/No_Name_Of_A_Queue" + path.removeprefix(f"/{path.split('/')[1]}"))

    await world.spoil_queues(spoil)


async def test_queue_that_cannot_be_measured_hides_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await world.send(f"{RUN_CHECKS}-poison", b"set aside")
    await refuse_storage(world, path=f"/{FAN_OUTS}", method="GET")
    with pytest.raises(GroundswellError, match=FAN_OUTS):
        await world.groundswell.watch.look()
    assert any(f"queue={RUN_CHECKS}-poison" in line for line in caplog.messages)


async def test_request_that_cannot_be_sent_keeps_none_of_the_others_from_being_sent(world: World) -> None:
    await fleet(world, 3)
    message = pushed(await world.push())
    await refuse_storage(world, path=f"/{REBUILD_REQUESTS}/messages", method="POST", times=1)
    await world.groundswell.work.fan_out_requested(message.encode().encode())
    assert len(await world.take(REBUILD_REQUESTS)) == 2
    (kept,) = await world.take(FAN_OUTS) or await world.take(f"{FAN_OUTS}-poison")
    assert len(await fan_out(world, FanOut.model_validate(kept))) == 3


async def test_replay_goes_on_with_the_other_queues_and_messages(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    message = pushed(await world.push())
    for _ in range(2):
        await world.send(f"{FAN_OUTS}-poison", message.encode().encode())
    await refuse_storage(world, path=f"/{FAN_OUTS}/messages", method="POST", times=1)
    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 1}


@pytest.mark.parametrize("lost", ["fingerprint", "lastModifiedAt", "created", "state", "runId", "until", "since", "key",
                                  "digest", "pushedAt", "owner", "image"])  # fmt: skip
async def test_row_that_is_not_understood_stops_neither_its_registry_nor_the_watch(world: World, lost: str) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    table = world.groundswell.clients.tables().get_table_client(world.table)
    async for row in table.query_entities("RowKey ge ' '"):
        if row.pop(lost, None) is not None:
            await table.update_entity(row, mode="replace")
    await world.reconnect()
    event = await push(world, "two")
    await work_off(world)
    newest = max(await world.ledger("run|"), key=lambda row: row["scheduledAt"])
    assert newest["image"].endswith(event["data"]["target"]["digest"])
    assert await world.waiting(f"{REBUILD_REQUESTS}-poison") == 0
    assert (await world.groundswell.views.registry(TEAM))["runs"]
    await world.groundswell.watch.look()

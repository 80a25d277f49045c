"""A task whose file is broken waits alone until it is mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, FanOut
from shared.domain.errors import GroundswellError
from tests.integration.company_life import ask_for_all, push_event
from tests.integration.failing import FAR, mend, mend_task, second_task, throttled, two_subscriptions
from tests.integration.steps import fan_out, handle, onboard, pushed
from tests.integration.world import OPTED_IN, TEAM, World

BREAKS: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(missing_ok=True),
    "no-yaml": lambda file: file.write_text("steps: ["),
    "no-steps": lambda file: file.write_text("version: v1.1.0"),
    "no-text": lambda file: file.write_bytes(b"\xff\xfe"),
    "no-file": Path.mkdir,
}


@pytest.mark.parametrize("broken", BREAKS)
async def test_task_whose_file_is_broken_waits_alone_until_it_is_mended(world: World, broken: str) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    file = second_task(world)
    BREAKS[broken](file)
    digest = await world.push()
    message = world.groundswell.fan_outs.base_image_pushed(push_event(digest))
    assert message
    await world.groundswell.work.fan_out_requested(message.encode())
    requests = await world.take(REBUILD_REQUESTS)
    assert [request["task"] for request in requests] == ["helloworldtask"]
    await handle(world, requests)
    assert len(await world.runs()) == 1
    (waiting,) = await world.take(FAN_OUTS)
    assert waiting["tasks"] == ["secondtask"]
    mend_task(file)
    again = await fan_out(world, FanOut.model_validate(waiting))
    assert [request["task"] for request in again] == ["secondtask"]
    await handle(world, again)
    assert sorted(row["task"] for row in await world.ledger("run|")) == ["helloworldtask", "secondtask"]


async def test_request_for_a_broken_task_goes_back_to_its_queue(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    file = second_task(world)
    await handle(world, await onboard(world, TEAM))
    (waiting,) = await world.take(REBUILD_REQUESTS)
    assert waiting["task"] == "secondtask"
    mend_task(file)
    await handle(world, [waiting])
    assert sorted(row["task"] for row in await world.ledger("run|")) == ["helloworldtask", "secondtask"]


async def test_broken_task_is_shown_logged_and_named_to_whoever_asks_for_the_fleet(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    second_task(world)
    assert await ask_for_all(world) == 1
    (problem,) = world.groundswell.views.problems()
    assert (problem["task"], problem["requests"]) == ("secondtask", "wait")
    assert "'tasks/second.yaml' cannot be read" in problem["reason"]
    first, second = (await world.groundswell.views.registry(TEAM))["tasks"]
    assert first["problems"] == []
    assert (second["ready"], second["conditions"]) == (False, [])
    assert "'tasks/second.yaml' cannot be read" in second["problems"][0]
    with pytest.raises(GroundswellError, match="secondtask cannot run until its file is fixed"):
        await world.groundswell.starts.start_run(TEAM, b'{"task": "secondtask"}')
    await world.groundswell.watch.look()
    assert any("task is broken" in line and "task=secondtask" in line for line in caplog.messages)


async def test_broken_task_and_unread_subscription_are_asked_for_once_each_when_both_are_mended(world: World) -> None:
    await two_subscriptions(world)
    file = second_task(world)
    await throttled(world)
    parts = [json.loads(pushed(await world.push()).encode())]
    for _ in range(3):
        for part in parts:
            await world.groundswell.work.fan_out_requested(world.encode(part))
        parts = await world.take(FAN_OUTS)
        assert len(parts) == 2
    mend_task(file)
    await mend(world)
    for part in parts:
        await world.groundswell.work.fan_out_requested(world.encode(part))
    asked = sorted((r["registry"].rpartition("/")[2], r["task"]) for r in await world.take(REBUILD_REQUESTS))
    assert asked.count((FAR, "helloworldtask")) == 1
    assert [pair for pair in asked if pair[1] == "secondtask"] == [(FAR, "secondtask"), (TEAM, "secondtask")]

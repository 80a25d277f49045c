"""What people ask for over HTTP, as the domain answers it: logs, the right task, and a line for whoever looks later."""

from __future__ import annotations

import json
import logging
import re

import pytest

from dev.localazure.journal import Fault
from shared.adapters.messages import FAN_OUTS
from shared.domain.errors import InvalidInput, TemporaryError
from shared.flows.starts import Started
from tests.integration.company_life import HANDLERS, ask_for_all, built, push, work_off
from tests.integration.world import IMAGE, OPTED_IN, POLICY, TEAM, World, registry_id

MIB = 1024 * 1024
LAST = "Run ID: cf1 failed after 5s. Error: failed during run, err: exit status 1\n"
SECOND_TASK = """\
  - name: secondtask
    file: tasks/helloworldtask.yaml
    rebuildOn: [{images}]
    registries: {{{{tags: {{{{base-image-rebuilds: enabled}}}}}}}}
    values:
      contextUrl: https://github.com/Azure-Samples/acr-build-helloworld-node.git#main
      image: second
"""


def write_second_task(world: World, images: str) -> None:
    world.write_policy(text=POLICY + SECOND_TASK.format(images=images))


async def started(world: World, **body: str) -> Started:
    return await world.groundswell.starts.start_run(TEAM, json.dumps(body).encode())


async def run_with_log(world: World, log: str) -> str:
    """Let a run end, and give it this log; return its id."""
    await world.push()
    await world.create_registry(TEAM, tags=OPTED_IN)
    run_id = (await started(world)).run_id
    await world.run(run_id)
    (path,) = [path for path in world.azure.state.blobs if f"/{run_id}/" in path]
    world.azure.state.blobs[path].body[:] = log.encode()
    return run_id


def lines(size: int) -> str:
    """Return numbered lines of some length altogether."""
    return "".join(f"{number:08} harmless output of a build\n" for number in range(size // 37))


# Logs


async def test_long_log_is_shown_whole(world: World) -> None:
    log = lines(4 * MIB - 200) + LAST
    run_id = await run_with_log(world, log)
    assert await world.groundswell.views.run_log(TEAM, run_id) == log


async def test_of_a_log_that_is_too_long_the_end_is_shown_and_how_much_is_missing(world: World) -> None:
    log = lines(9 * MIB) + LAST
    run_id = await run_with_log(world, log)
    note, _, shown = (await world.groundswell.views.run_log(TEAM, run_id)).partition("\n")
    assert log.endswith(shown)
    assert shown.endswith(LAST)
    assert re.match(r"\d{8} harmless output", shown), "begins in the middle of a line"
    assert 4 * MIB - 100 < len(shown) <= 4 * MIB
    assert f"The first {len(log) - len(shown)} bytes are left out" in note
    assert f"az acr task logs --registry {TEAM} --run-id {run_id}" in note


@pytest.mark.parametrize("log", ["", "é" * (3 * MIB), "\n" * (5 * MIB)], ids=["empty", "one line", "empty lines"])
async def test_log_without_lines_is_shown_too(world: World, log: str) -> None:
    run_id = await run_with_log(world, log)
    shown = await world.groundswell.views.run_log(TEAM, run_id)
    assert shown.partition("\n")[2].lstrip("\ufffd") in log if log else shown == ""


async def test_log_that_breaks_off_on_its_way_is_asked_for_again(world: World) -> None:
    run_id = await run_with_log(world, lines(MIB))
    world.azure.front.faults.append(Fault(path=".*/rawtext.log", reset="after", times=5))
    with pytest.raises(TemporaryError, match="Could not read the log") as error:
        await world.groundswell.views.run_log(TEAM, run_id)
    assert "sig=" not in str(error.value)


@pytest.mark.parametrize("size", [MIB, 9 * MIB])
async def test_reason_of_a_failure_is_at_the_end_of_a_long_log(world: World, size: int) -> None:
    await world.push()
    await world.create_registry(TEAM, tags=OPTED_IN)
    run_id = (await started(world)).run_id
    await world.run(run_id)
    run = world.azure.state.get(f"{registry_id(TEAM)}/runs/{run_id}")
    assert run
    run.properties["status"] = "Failed"
    (path,) = [path for path in world.azure.state.blobs if f"/{run_id}/" in path]
    middle = "WARN npm: optional dependency failed, going on\n" * (size // 47)
    world.azure.state.blobs[path].body[:] = (middle + lines(400) + "the cause: disk not found\n" + LAST).encode()
    await work_off(world)
    (row,) = await world.ledger("run|")
    assert row["reason"] == "the cause: disk not found"


# Which task


async def test_base_image_alone_means_the_task_that_builds_on_it(world: World) -> None:
    write_second_task(world, "baseimages/java:21")
    await world.push(image="baseimages/java:21")
    await world.create_registry(TEAM, tags=OPTED_IN)
    assert (await started(world, baseImage="baseimages/java:21")).task == "secondtask"


async def test_base_image_that_several_tasks_build_on_wants_a_task(world: World) -> None:
    write_second_task(world, IMAGE)
    await world.push()
    await world.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(InvalidInput, match="name one of helloworldtask, secondtask as task") as refused:
        await started(world, baseImage=IMAGE)
    assert refused.value.field == "task"
    assert await world.runs() == []
    assert (await started(world, baseImage=IMAGE, task="secondtask")).task == "secondtask"


async def test_base_image_that_no_task_builds_on_is_answered_with_those_that_would_do(world: World) -> None:
    write_second_task(world, "baseimages/java:21")
    await world.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(InvalidInput, match=r"No task .* builds on other/image:1: .*node:15-alpine.*java:21"):
        await started(world, baseImage="other/image:1")


# What is left to read


async def test_run_asked_for_over_http_leaves_a_line_that_names_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "groundswell")
    await world.push()
    await world.create_registry(TEAM, tags=OPTED_IN)
    run = await world.groundswell.starts.start_run(TEAM, b"", "deploy-4711")
    (line,) = [record for record in caplog.records if record.getMessage().startswith("run asked for")]
    fields = {name: vars(line)[f"groundswell.{name}"] for name in ("request_id", "registry", "task", "run_id")}
    assert fields == {"request_id": "deploy-4711", "registry": TEAM, "task": "helloworldtask", "run_id": run.run_id}


# Registries that are deleted meanwhile


async def nothing_set_aside(world: World) -> bool:
    return [await world.waiting(f"{queue}-poison") for queue in HANDLERS] == [0, 0, 0]


async def ask_who_is_affected(world: World) -> None:
    for message in await world.take(FAN_OUTS):
        await world.groundswell.work.fan_out_requested(world.encode(message))


@pytest.mark.parametrize("onboarded", [False, True], ids=["new", "onboarded"])
async def test_registry_that_is_deleted_in_the_middle_of_a_fan_out_is_skipped(world: World, onboarded: bool) -> None:
    for name in (TEAM, "otherteam"):
        await world.create_registry(name, tags=OPTED_IN)
    if onboarded:
        await push(world, "one")
        await work_off(world)
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    event = await push(world, "two")
    await ask_who_is_affected(world)
    await world.arm("DELETE", registry_id(TEAM))
    await work_off(world)
    assert await nothing_set_aside(world)
    assert (await built(world, "otherteam"))[-1] == event["data"]["target"]["digest"]
    (*_, asked) = sorted(await world.ledger("request|"), key=lambda row: row["handledAt"])
    assert (asked["outcome"], asked["reason"]) == ("skipped", "the registry does not exist any more")


async def test_registry_that_is_deleted_with_its_group_is_skipped(world: World) -> None:
    group = f"{registry_id(TEAM).partition('/resourceGroups/')[0]}/resourceGroups/teamGroup"
    await world.arm("PUT", group, {"location": "eastus"}, api_version="2024-11-01")
    await world.create_registry(TEAM, group=group, tags=OPTED_IN)
    await world.push()
    await world.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    assert await ask_for_all(world, baseImage=IMAGE) == 1
    await ask_who_is_affected(world)
    await world.arm("DELETE", group, api_version="2024-11-01")
    await work_off(world)
    assert await nothing_set_aside(world)
    assert [row["outcome"] for row in await world.ledger("request|")] == ["skipped"]


async def test_run_that_went_with_its_registry_is_no_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.push()
    await world.create_registry(TEAM, tags=OPTED_IN)
    await started(world)
    await world.arm("DELETE", registry_id(TEAM))
    await work_off(world)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert await nothing_set_aside(world)

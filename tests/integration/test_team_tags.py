"""What teams say with the tags of their registries, and what is never done until they say it right."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

from shared.domain.errors import GroundswellError, NotSelected
from tests.integration.company_life import ask_for_all, built, push, set_tags, work_off
from tests.integration.world import OPTED_IN, TEAM, World

SECRET = "s3cr3t-0123456789"
CONTEXT = "base-image-rebuilds.contextUrl"
REFUSED = {
    "base-image-rebuilds.image": "a;b",
    CONTEXT: f"https://x-access-token:{SECRET}@github.com/contoso/shop.git",
    "base-image-rebuilds.contextURLs": "https://github.com/contoso/shop.git",
}


async def shown(world: World) -> dict[str, Any]:
    (task,) = (await world.groundswell.views.registry(TEAM))["tasks"]
    return dict(task)


def of_kind(task: dict[str, Any], kind: str) -> dict[str, str]:
    return next(condition for condition in task["conditions"] if condition["type"] == kind)


@pytest.mark.parametrize("tag", REFUSED)
async def test_refused_override_starts_nothing_and_writes_nothing_until_it_is_mended(world: World, tag: str) -> None:
    before = world.azure.journal.last
    await world.create_registry(TEAM, tags=OPTED_IN)
    await set_tags(world, {**OPTED_IN, tag: REFUSED[tag]})
    await push(world, "one")
    assert await ask_for_all(world) == 1
    await work_off(world)
    with pytest.raises(NotSelected, match=f"until its tags are fixed: tag {tag}"):
        await world.groundswell.starts.start_run(TEAM, b"")
    assert world.app_writes(before) == []
    assert await world.runs() == []
    task = await shown(world)
    assert (task["ready"], of_kind(task, "values")["status"], of_kind(task, "values")["reason"]) == (
        False, "False", "Refused",
    )  # fmt: skip
    assert f"tag {tag} " in of_kind(task, "values")["message"]
    assert f"tag {tag} " in task["problems"][0]

    event = await push(world, "two")
    await set_tags(world, OPTED_IN)
    await work_off(world)
    assert await built(world) == [event["data"]["target"]["digest"]]
    assert (await shown(world))["ready"] is True


async def test_task_of_a_team_whose_override_is_refused_later_stays_as_it_is(world: World) -> None:
    ours = "https://github.com/contoso/shop.git#main"
    await world.create_registry(TEAM, tags={**OPTED_IN, CONTEXT: ours})
    await push(world, "one")
    await work_off(world)
    before, there = world.azure.journal.last, await world.task()
    await set_tags(world, {**OPTED_IN, CONTEXT: f"{ours} --no-cache"})
    await push(world, "two")
    await work_off(world)
    assert world.app_writes(before) == []
    assert (await world.task())["properties"]["step"] == there["properties"]["step"]
    task = await shown(world)
    assert (of_kind(task, "task")["status"], of_kind(task, "task")["reason"]) == ("Unknown", "ValuesRefused")


async def test_credential_in_an_override_is_never_repeated(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "groundswell")
    await world.create_registry(TEAM, tags={**OPTED_IN, CONTEXT: REFUSED[CONTEXT]})
    await push(world, "one")
    await set_tags(world, {**OPTED_IN, CONTEXT: REFUSED[CONTEXT]})
    await work_off(world)
    said = [json.dumps(await world.groundswell.views.registry(TEAM))]
    for body in (b"", b'{"baseImage": "https://user:%s@example.com/node:15"}' % SECRET.encode()):
        with pytest.raises(GroundswellError) as refused:
            await world.groundswell.starts.start_run(TEAM, body)
        said.append("".join(traceback.format_exception(refused.value)))
    said += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    said += [str(row) for prefix in ("request|", "run|", "build|") for row in await world.ledger(prefix)]
    assert [text for text in said if SECRET in text] == []
    assert "names a user or holds a credential" in said[0]


async def test_word_that_nobody_knows_is_named_where_the_registry_is_shown(world: World) -> None:
    await world.create_registry(TEAM, tags={"base-image-rebuilds": "enable"})
    await push(world, "one")
    await work_off(world)
    task = await shown(world)
    assert task["selection"] == "not-selected"
    assert task["problems"] == [
        "the tag base-image-rebuilds says 'enable', which counts as no: write enabled, paused or disabled"
    ]
    with pytest.raises(NotSelected, match="says 'enable', which counts as no"):
        await world.groundswell.starts.start_run(TEAM, b"")
    assert await world.runs() == []


async def test_error_for_an_unknown_registry_names_no_subscription_and_no_other_registry(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    for call in (
        world.groundswell.views.registry("unknown"),
        world.groundswell.starts.start_run("unknown", b""),
        world.groundswell.views.run("unknown", "cf1"),
    ):
        with pytest.raises(GroundswellError, match="There is no registry 'unknown'") as refused:
            await call
        assert TEAM not in str(refused.value)
        assert not [each for each in world.groundswell.settings.subscriptions if each in str(refused.value)]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"everything": true}', b'{"all": true, "registries": ["a"]}', b'{"all": false}', b'{"all": 1}',
        b'{"all": "true"}', b'{"all": null}', b'{"baseImage": ""}', b'{"baseImage": null}', b"[]", b"null", b"true",
        b'{"all": true, "baseImage": "baseimages/node:15-alpine"}', b'{"ALL": true}', b" ",
    ],
)  # fmt: skip
async def test_whole_fleet_is_rebuilt_only_if_the_body_says_so(world: World, body: bytes) -> None:
    with pytest.raises(GroundswellError):
        await world.groundswell.starts.start_fleet(body)


@pytest.mark.parametrize("body", [b'{"task": ""}', b'{"baseImage": ""}', b'{"task": null}'])
async def test_run_is_not_started_for_a_name_that_is_empty(world: World, body: bytes) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    with pytest.raises(GroundswellError, match=r"task|baseImage"):
        await world.groundswell.starts.start_run(TEAM, body)
    assert await world.runs() == []


async def test_replay_of_something_in_particular_puts_nothing_back(world: World) -> None:
    with pytest.raises(GroundswellError, match="queue"):
        await world.groundswell.replay.replay(b'{"queue": "fan-outs"}')

"""A pushed base image, told by its event: every team's image ends on it, each built once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.walk_messages import WALKS, Call, Heard
from shared.app import utc_now
from shared.domain.state.known import Known, Why
from tests.integration.world import IMAGE, OPTED_IN, SYSTEM_ASSIGNED, TEAM, USER_ASSIGNED, World, registry_id, task_id


async def heard(world: World, digest: str, image: str = IMAGE, *, ago: float = 0) -> None:
    """Let the event of a push be heard."""
    await called(world, heard_call(digest, image, ago=ago))


def heard_call(digest: str, image: str = IMAGE, *, ago: float = 0, failures: int = 0) -> Call:
    """Return the message of a push's event."""
    now = datetime.now(UTC)
    message = Heard(image=f"{image}@{digest}", event_id="e1", pushed_at=now - timedelta(seconds=ago), queued_at=now)
    return Call(heard=message, failures=failures)


async def called(world: World, call: Call) -> None:
    await world.groundswell.calls.called(call.encode(), uuid.uuid4().hex)


async def walk(world: World) -> None:
    """Give the subscription a reason to be walked, and work off the queue."""
    (subscription,) = world.groundswell.settings.subscriptions
    await world.groundswell.waking.raise_one(subscription)
    await work_off(world)


async def work_off(world: World, most: int = 60) -> int:
    """Handle the messages of the queue until it is empty; return how many there were."""
    for count in range(most):
        messages = await world.take(WALKS)
        if not messages:
            return count
        for message in messages:
            await world.groundswell.calls.called(world.encode(message), uuid.uuid4().hex)
    raise AssertionError("the queue is never empty")


async def pushed(world: World, text: str, image: str = IMAGE) -> str:
    """Push a base image, and let Groundswell do all that follows."""
    digest = await world.push(text, image=image)
    await heard(world, digest, image)
    await work_off(world)
    return digest


async def known(world: World) -> Mapping[str, Known]:
    """Return what is known of each target, by its registry's name."""
    (subscription,) = world.groundswell.settings.subscriptions
    there = await world.groundswell.state.subscription(subscription)
    return {row.value.registry.rpartition("/")[2]: row.value for row in there.targets.values()}


@pytest.mark.parametrize("identity", [USER_ASSIGNED, SYSTEM_ASSIGNED], ids=["user", "system"])
async def test_push_arms_a_new_registry_and_builds_it(world: World, identity: str) -> None:
    world.write_policy(identity)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    assert [run["status"] for run in await world.runs()] == ["Succeeded"]
    target = (await known(world))[TEAM]
    assert target.run
    assert (target.run.why, target.run.asked_by, target.run.succeeded) == (Why.FIRST, "event", True)
    assert target.built.image.startswith("hello-world:")


async def test_every_push_is_built_once_and_writes_nothing_more(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    since = world.azure.journal.last
    digest = await pushed(world, "two")
    for _ in range(3):
        await heard(world, digest)
        await work_off(world)
        await walk(world)
    assert len(await world.runs()) == 2
    assert world.app_writes(since) == []


async def test_teams_end_on_the_first_content_when_it_is_pushed_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    for text in ("one", "two", "one"):
        await pushed(world, text)
    assert len(await world.runs()) == 3


async def test_old_digest_that_an_event_gives_out_as_pushed_now_changes_nothing(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    old = await pushed(world, "one")
    await pushed(world, "two")
    await heard(world, old)
    await work_off(world)
    assert len(await world.runs()) == 2


async def test_push_under_several_tags_is_one_run(world: World) -> None:
    tags = [f"baseimages/python:3.{n}" for n in range(4)]
    await world.create_registry(TEAM, tags=OPTED_IN)
    for image in tags:
        await world.push("one", image=image)
    await pushed(world, "one", tags[0])
    assert len(await world.runs()) == 1
    digests = [await world.push("two", image=image) for image in tags]
    for image, digest in zip(tags, digests, strict=True):
        await heard(world, digest, image)
    await work_off(world)
    assert len(await world.runs()) == 2


async def test_push_whose_event_was_lost_is_built_at_the_next_look(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await world.push("two")
    await pushed(world, "other", "baseimages/python:3.9")
    runs = await world.runs()
    assert len(runs) == 2


async def test_paused_and_other_registries_are_left_alone(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.create_registry("paused", tags={"base-image-rebuilds": "paused"})
    await world.create_registry("stranger")
    await pushed(world, "one")
    assert [len(await world.runs(name)) for name in (TEAM, "paused", "stranger")] == [1, 0, 0]
    assert list(await known(world)) == [TEAM]


async def test_grant_that_was_taken_away_is_mended_before_the_next_run(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await world.arm("DELETE", task_id(), api_version="2025-03-01-preview")
    await pushed(world, "two")
    assert [run["status"] for run in await world.runs()] == ["Succeeded"] * 2


async def later(world: World, seconds: float) -> None:
    """Let time pass, in Azure and for the app; another worker goes on."""
    world.azure.clock.advance(seconds)
    ahead = world.azure.clock.now() - utc_now()
    await world.groundswell.close()
    world.groundswell = world.build({}, clock=lambda: utc_now() + ahead)


async def test_run_whose_answer_was_lost_is_adopted(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    world.fault(method="POST", path=r".*/scheduleRun", reset="after")
    await pushed(world, "two")
    claimed = (await known(world))[TEAM]
    assert claimed.claim
    await later(world, 61)
    await walk(world)
    target = (await known(world))[TEAM]
    assert target.claim is None
    assert target.run
    assert (target.run.id, target.run.why, target.run.succeeded) == ("cw2", Why.CHANGED, True)
    assert len(await world.runs()) == 2


async def test_run_that_was_not_started_after_all_is_started_once_that_is_clear(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    world.fault(method="POST", path=r".*/scheduleRun", reset="before")
    await pushed(world, "two")
    assert len(await world.runs()) == 1
    await later(world, 61)
    await walk(world)
    assert len(await world.runs()) == 2


async def test_earlier_run_is_not_taken_for_one_that_was_not_started(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await pushed(world, "two")
    world.fault(method="POST", path=r".*/scheduleRun", reset="before")
    await pushed(world, "three")
    await later(world, 61)
    await walk(world)
    assert len(await world.runs()) == 3


async def test_storage_that_is_lost_costs_no_run(world: World) -> None:
    digest = await world.push("one")
    await later(world, 10)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await walk(world)
    world.table = f"{world.table}x"
    await later(world, 300)
    await walk(world)
    await heard(world, digest)
    await work_off(world)
    assert len(await world.runs()) == 1
    target = (await known(world))[TEAM]
    assert target.run
    assert (target.run.id, target.run.why) == ("cw1", Why.FOUND)


async def test_registry_made_anew_under_its_name_starts_afresh(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await world.arm("DELETE", registry_id(TEAM))
    await world.create_registry(TEAM, tags=OPTED_IN)
    await walk(world)
    assert [run["status"] for run in await world.runs()] == ["Succeeded"]


async def test_one_registry_that_refuses_keeps_no_other_from_being_built(world: World) -> None:
    for name in (TEAM, "broken"):
        await world.create_registry(name, tags=OPTED_IN)
    world.fault(method="PUT", path=r".*/registries/broken/tasks/.*", status=403, times=-1)
    await pushed(world, "one")
    assert [len(await world.runs(name)) for name in (TEAM, "broken")] == [1, 0]
    target = (await known(world))["broken"]
    assert target.armed.problem
    assert target.claim is None


async def test_one_of_many_that_are_called_walks(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await pushed(world, "one")
    await world.create_registry("second", tags=OPTED_IN)
    (subscription,) = world.groundswell.settings.subscriptions
    await asyncio.gather(*(called(world, Call(subscription=subscription)) for _ in range(5)))
    await work_off(world)
    assert [len(await world.runs(name)) for name in (TEAM, "second")] == [1, 1]

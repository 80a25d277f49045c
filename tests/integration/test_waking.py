"""Who is called to walk a subscription, whatever happens on the way: nobody is forgotten, nor called too often."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline import PipelineRequest

from shared.adapters.walk_messages import WALKS
from shared.app import utc_now
from shared.domain.errors import TemporaryError
from shared.domain.state.walk import Walk
from shared.flows.waking import Waking
from tests.integration.failing import FAR, two_subscriptions
from tests.integration.test_walking import called, heard, heard_call, pushed, work_off
from tests.integration.world import OPTED_IN, TEAM, World


def subscription(world: World) -> str:
    return world.groundswell.settings.subscriptions[0]


async def test_message_that_comes_before_something_is_due_is_not_taken_for_a_later_one(world: World) -> None:
    waking, now = world.groundswell.waking, utc_now()
    first = await waking.at(subscription(world), Walk(), now + timedelta(seconds=60))
    assert await waking.at(subscription(world), first, now + timedelta(seconds=300)) == first
    sooner = await waking.at(subscription(world), first, now + timedelta(seconds=30))
    assert sooner.wake == now + timedelta(seconds=30)
    assert await world.waiting(WALKS) == 1


async def test_call_that_could_not_be_sent_is_sent_when_somebody_tries_again(world: World) -> None:
    def cut(request: PipelineRequest[Any]) -> None:
        raise ServiceRequestError("the connection was cut")

    await world.spoil_queues(cut)
    with pytest.raises(TemporaryError):
        await world.groundswell.waking.raise_one(subscription(world))
    await world.reconnect()
    await world.groundswell.waking.raise_one(subscription(world))
    assert await world.waiting(WALKS) == 1


async def test_reason_that_comes_while_a_walk_is_left_costs_no_message(world: World) -> None:
    class Raced(Waking):
        """Somebody has a reason just when a walk is to be left."""

        async def at(self, subscription: str, walk: Walk, when: datetime) -> Walk:
            woken = await super().at(subscription, walk, when)
            for _ in range(1 - len(races)):
                races.append(await self.state.raise_walk(subscription, self.clock()))
            return woken

    races = list[bool]()
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push("one")
    walking, plain = world.groundswell.calls.walking, world.groundswell.waking
    raced = Raced(state=plain.state, queues=plain.queues, clock=plain.clock)
    world.fault(method="GET", path=r".*/runs.*", status=429, headers={"Retry-After": "100"})
    await replace(walking, waking=raced).walk(subscription(world), uuid.uuid4().hex)
    assert races == [False]
    assert await world.waiting(WALKS) == 1


async def test_change_that_somebody_saw_who_died_is_told_to_all_subscriptions(world: World) -> None:
    await two_subscriptions(world)
    digest = await world.push("one")
    await world.groundswell.calls.base_images.look()
    await heard(world, digest)
    await work_off(world)
    assert sorted(run.split("/")[8] for run in await world.runs_anywhere()) == [FAR, TEAM]


async def test_push_that_was_told_gives_nobody_a_reason_again(world: World) -> None:
    await two_subscriptions(world)
    digest = await pushed(world, "one")
    before = await reasons(world)
    await heard(world, digest)
    assert await reasons(world) == before


async def reasons(world: World) -> list[int]:
    state = world.groundswell.state
    return [(await state.walk(name)).value.wanted for name in world.groundswell.settings.subscriptions]


async def test_push_that_was_put_back_is_walked_for_although_nothing_moved_since(world: World) -> None:
    digest = await pushed(world, "one")
    await world.create_registry(TEAM, tags=OPTED_IN)
    await called(world, heard_call(digest))
    assert await world.runs() == []
    await called(world, heard_call(digest, failures=1))
    assert len(await world.runs()) == 1

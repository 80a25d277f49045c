"""A subscription that fails stops no other, and what was asked of it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut
from shared.domain.errors import GroundswellError, NotFound, NotPermitted, PermanentError, TemporaryError
from tests.integration.company_life import (
    OTHER_GROUP,
    OTHER_SUBSCRIPTION,
    ask_for_all,
    built,
    deliver_change,
    push,
    watch_subscription,
    work_off,
)
from tests.integration.failing import (
    FAR,
    LISTS,
    SAID,
    Way,
    deleted,
    disabled,
    mend,
    throttled,
    two_subscriptions,
    without_rights,
)
from tests.integration.steps import fan_out, handle, onboard, pushed
from tests.integration.world import BASE, IMAGE, OPTED_IN, TEAM, World, registry_id

WAYS = pytest.mark.parametrize("fail", [without_rights, deleted, disabled, throttled])
BASES = pytest.mark.parametrize("base", [BASE, registry_id(BASE)], ids=["base-by-name", "base-by-id"])


@BASES
@WAYS
async def test_push_is_built_in_the_other_subscriptions_and_waits_or_is_set_aside_for_the_one_that_fails(
    world: World, fail: Way, base: str
) -> None:
    await two_subscriptions(world, base)
    await fail(world)
    digest = await world.push()
    await world.groundswell.work.fan_out_requested(pushed(digest).encode().encode())
    requests = await world.take(REBUILD_REQUESTS)
    assert [request["registry"] for request in requests] == [registry_id(TEAM)]
    await handle(world, requests)
    assert len(await world.runs()) == 1
    waiting, aside = await world.take(FAN_OUTS), await world.take(f"{FAN_OUTS}-poison")
    assert [part["subscriptions"] for part in waiting + aside] == [[OTHER_SUBSCRIPTION]]
    assert fail is not throttled or ((FAN_OUTS, 17) in world.delays and waiting)
    if fail is deleted:
        return
    await mend(world)
    # The other subscription is not asked again.
    again = [request for part in waiting + aside for request in await fan_out(world, FanOut.model_validate(part))]
    assert [request["registry"] for request in again] == [registry_id(FAR, OTHER_GROUP)]
    await handle(world, again)
    assert await built(world, FAR) == [digest]


@BASES
@WAYS
async def test_team_of_another_subscription_is_onboarded_shown_and_run(world: World, fail: Way, base: str) -> None:
    await two_subscriptions(world, base)
    await fail(world)
    await world.push()
    await handle(world, await onboard(world, TEAM))
    assert len(await world.runs()) == 1
    assert (await world.groundswell.views.registry(TEAM))["tasks"][0]["ready"]
    started = await world.groundswell.starts.start_run(TEAM, b"")
    assert (await world.groundswell.views.run(TEAM, started.run_id)).task == "helloworldtask"


@WAYS
async def test_request_for_the_fleet_queues_the_others_and_names_the_subscription_with_its_reason(
    world: World, fail: Way, caplog: pytest.LogCaptureFixture
) -> None:
    await two_subscriptions(world)
    await world.push()
    await fail(world)
    assert await ask_for_all(world, baseImage=IMAGE) == 1
    (problem,) = world.groundswell.views.problems()
    assert problem["subscription"] == OTHER_SUBSCRIPTION
    assert OTHER_SUBSCRIPTION in problem["reason"]
    assert SAID[fail] in problem["reason"]
    assert problem["requests"] == ("wait" if fail is throttled else "set aside")
    assert any(f"subscription={OTHER_SUBSCRIPTION}" in line for line in caplog.messages)
    if fail is not deleted:
        await mend(world)
        assert await ask_for_all(world, baseImage=IMAGE) == 2
        assert world.groundswell.views.problems() == []


@pytest.mark.parametrize(
    ("fail", "kind"), [(without_rights, NotPermitted), (deleted, PermanentError), (throttled, TemporaryError)]
)
async def test_registry_that_is_in_no_list_is_not_said_to_be_missing_while_a_list_could_not_be_read(
    world: World, fail: Way, kind: type[GroundswellError]
) -> None:
    await two_subscriptions(world)
    await fail(world)
    with pytest.raises(kind, match=OTHER_SUBSCRIPTION) as refused:
        await world.groundswell.views.registry(FAR)
    assert not isinstance(refused.value, NotFound)
    assert not isinstance(refused.value, TemporaryError) or refused.value.retry_after == 17


@pytest.mark.parametrize("fail", [without_rights, deleted, throttled])
async def test_request_for_a_registry_whose_subscription_fails_is_kept(world: World, fail: Way) -> None:
    await two_subscriptions(world)
    await deliver_change(world, registry_id(FAR, OTHER_GROUP))
    (request,) = await world.take(REBUILD_REQUESTS)
    await world.reconnect(GROUNDSWELL_SUBSCRIPTIONS=f"{registry_id(TEAM).split('/')[2]},{OTHER_SUBSCRIPTION}")
    await fail(world)
    await world.groundswell.work.rebuild_requested(world.encode(request))
    kept = await world.take(REBUILD_REQUESTS) or await world.take(f"{REBUILD_REQUESTS}-poison")
    assert [message["id"] for message in kept] == [request["id"]]
    (row,) = await world.ledger("request|", FAR)
    assert row["outcome"] != "skipped"
    assert "does not exist any more" not in row["reason"]


async def test_event_of_a_registry_whose_subscription_is_not_found_is_delivered_again(world: World) -> None:
    await two_subscriptions(world)
    await deleted(world)
    with pytest.raises(PermanentError, match="SubscriptionNotFound"):
        await deliver_change(world, registry_id(FAR, OTHER_GROUP))


@pytest.mark.parametrize("body", [{}, {"error": {"code": "SubscriptionNotFound", "message": "Not here."}}])
async def test_run_is_not_taken_for_lost_when_something_else_is_not_found(world: World, body: dict[str, Any]) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, await fan_out(world, pushed(await world.push())))
    (check,) = await world.take(RUN_CHECKS)
    world.fault(path=".*/runs/.*", status=404, body=body)
    await world.groundswell.work.run_check(world.encode(check))
    (row,) = await world.ledger("run|")
    assert row["state"] == "scheduled"
    kept = await world.take(RUN_CHECKS) or await world.take(f"{RUN_CHECKS}-poison")
    assert [message["runId"] for message in kept] == [check["runId"]]


@pytest.mark.parametrize("fail", [without_rights, deleted, throttled])
@pytest.mark.parametrize("by", ["name", "id"])
async def test_base_registry_whose_subscription_fails_leaves_runs_states_and_requests_as_they_are(
    world: World, fail: Way, by: str
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    (run,) = await world.ledger("run|")
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Base subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    moved = await world.create_registry("basefaraway", group=OTHER_GROUP)
    world.write_policy(text=world.policy_text.replace("mybaseregistry", moved if by == "id" else "basefaraway"))
    await watch_subscription(world, OTHER_SUBSCRIPTION)
    await fail(world)
    shown = await world.groundswell.views.registry(TEAM)
    assert [entry["status"] for entry in shown["runs"]] == ["Succeeded"]
    assert OTHER_SUBSCRIPTION in shown["problems"][0] or "basefaraway" in shown["problems"][0]
    assert (await world.groundswell.views.run(TEAM, run["RowKey"].removeprefix("run|"))).ended
    assert await ask_for_all(world) == 1
    (message,) = await world.take(FAN_OUTS)
    await world.groundswell.work.fan_out_requested(world.encode(message))
    (request,) = await world.take(REBUILD_REQUESTS)
    await world.groundswell.work.rebuild_requested(world.encode(request))
    kept = await world.take(REBUILD_REQUESTS) or await world.take(f"{REBUILD_REQUESTS}-poison")
    assert [entry["id"] for entry in kept] == [request["id"]]


async def test_nothing_is_queued_and_the_caller_is_told_when_no_subscription_can_be_read(world: World) -> None:
    world.fault(method="GET", path=LISTS, status=503, times=-1)
    with pytest.raises(TemporaryError, match="No subscription could be read"):
        await world.groundswell.starts.start_fleet(b'{"all": true}')

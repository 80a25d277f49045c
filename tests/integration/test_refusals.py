"""What Azure refuses: what comes back by itself, what is set aside, and with which advice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.localazure.restrictions import Restriction
from dev.testing.azure import SUBSCRIPTION
from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from shared.domain.errors import PermanentError
from tests.integration.company_life import HANDLERS, built, push, work_off
from tests.integration.test_rebuilding import check, handle, request
from tests.integration.world import (
    OPTED_IN,
    ROLES,
    TEAM,
    World,
    deploy,
    registry_id,
)  # fmt: skip

CLOSED = {"kind": "disabled", "scope": SUBSCRIPTION}
LOCKED = {"kind": "lock", "scope": registry_id(TEAM)}
GOVERNED = {"kind": "policy", "scope": SUBSCRIPTION, "name": "tags-for-all", "tag": "costCenter"}
UNREGISTERED = {"kind": "unregistered", "scope": SUBSCRIPTION, "namespace": "Microsoft.ManagedIdentity"}
ASSIGNMENT = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/policyAssignments/tags-for-all"


def restrict(world: World, restriction: dict[str, Any]) -> None:
    world.azure.restrictions.all.append(Restriction.model_validate(restriction))


async def revoke(world: World, *names: str) -> None:
    for name in names or world.roles:
        await world.arm("DELETE", world.roles[name], api_version=ROLES)


async def poisoned(world: World) -> list[str]:
    return [queue for queue in HANDLERS if await world.waiting(f"{queue}-poison")]


# What only a person can change


@pytest.mark.parametrize(
    ("restriction", "advice"),
    [
        (LOCKED, "409 ScopeLocked: .*Remove the lock"),
        (CLOSED, "409 ReadOnlyDisabledSubscription: .*enabled again"),
        (GOVERNED, rf"403 RequestDisallowedByPolicy: .*Azure Policy assignment: tags-for-all \({ASSIGNMENT}\)"),
        ({**GOVERNED, "detailsOnly": True}, rf"Azure Policy assignment: tags-for-all \({ASSIGNMENT}\)"),
    ],
    ids=["lock", "disabled-subscription", "policy", "policy-in-the-details"],
)
async def test_what_only_a_person_can_change_is_set_aside_at_once_and_says_what_to_do(
    world: World, restriction: dict[str, Any], advice: str
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    restrict(world, restriction)
    await handle(world, request(digest))
    assert await world.waiting(REBUILD_REQUESTS) == 0
    assert await poisoned(world) == [REBUILD_REQUESTS]
    (row,) = await world.ledger("request|")
    assert row["outcome"] == "PermanentError"
    with pytest.raises(PermanentError, match=advice):
        await world.groundswell.starts.start_run(TEAM, b"")
    assert "app-roles" not in row["reason"]
    world.azure.restrictions.reset()
    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 0}
    await work_off(world)
    assert len(await world.runs()) == 1


async def test_resource_provider_that_is_being_registered_is_waited_for(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    restrict(world, UNREGISTERED)
    await handle(world, request(digest))
    (row,) = await world.ledger("request|")
    assert "az provider register" in row["reason"]
    world.azure.restrictions.reset()
    await work_off(world)
    assert len(await world.runs()) == 1
    assert await poisoned(world) == []


async def test_subscription_that_azure_does_not_find_is_no_registry_that_is_gone(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    body = {"error": {"code": "SubscriptionNotFound", "message": "The subscription could not be found."}}
    world.fault(method="GET", path=f".*/registries/{TEAM}", status=404, body=body)
    with pytest.raises(PermanentError, match="GROUNDSWELL_SUBSCRIPTIONS"):
        await world.groundswell.starts.start_run(TEAM, b"")


@pytest.mark.parametrize("restriction", [LOCKED, {"kind": "disabled", "scope": SUBSCRIPTION}], ids=["lock", "disabled"])
async def test_run_whose_log_nobody_may_ask_for_any_more_is_recorded_all_the_same(
    world: World, restriction: dict[str, Any]
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.rbac.delay = timedelta(hours=2)
    await handle(world, request(await world.push()))
    restrict(world, restriction)
    await check(world)
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"]) == ("ended", "Failed")
    assert await poisoned(world) == []


# What does not work yet


async def test_push_on_day_one_is_built_once_the_apps_roles_work(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await revoke(world)
    world.azure.rbac.delay = timedelta(minutes=8)
    await deploy(world.owner, world.app)
    event = await push(world, "one")
    for _ in range(3):
        (message,) = await world.take(FAN_OUTS)
        await world.groundswell.work.fan_out_requested(world.encode(message))
    assert await poisoned(world) == []
    assert {queue for queue, _ in world.delays} == {FAN_OUTS}
    assert max(delay for _, delay in world.delays) <= 120
    world.azure.clock.advance(8 * 60)
    world.azure.rbac.delay = timedelta()
    await work_off(world)
    assert await built(world) == [event["data"]["target"]["digest"]]


@pytest.mark.parametrize("role", ["tasks", "grantPull", "createIdentity", "assignIdentity"])
async def test_role_that_does_not_work_yet_is_waited_for_and_one_that_is_missing_is_not_waited_for_for_ever(
    world: World, role: str
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    await revoke(world, role)
    await handle(world, request(digest))
    assert await poisoned(world) == []
    (waiting,) = await world.take(REBUILD_REQUESTS)
    assert waiting["failingSince"]
    await world.reconnect(GROUNDSWELL_GRANT_PATIENCE_SECONDS="0")
    await world.groundswell.work.rebuild_requested(world.encode(waiting))
    assert await poisoned(world) == [REBUILD_REQUESTS]
    (row,) = await world.ledger("request|")
    assert "Give the app's identity the role named in infra/app-roles.json" in row["reason"]
    await deploy(world.owner, world.app)
    await world.reconnect()
    assert await world.groundswell.replay.replay() == {"replayed": 1, "kept": 0}
    (again,) = await world.take(REBUILD_REQUESTS)
    assert "failingSince" not in again
    await world.groundswell.work.rebuild_requested(world.encode(again))
    assert len(await world.runs()) == 1


async def test_patience_for_a_right_counts_from_its_first_refusal_not_from_what_failed_before(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    world.fault(path=".*/scheduleRun", status=503)
    await handle(world, request(digest, attempts=9, requestedAt="2026-01-01T00:00:00Z"))
    (waiting,) = await world.take(REBUILD_REQUESTS)
    assert "failingSince" not in waiting
    world.fault(path=".*/scheduleRun", status=403, body={"error": {"code": "AuthorizationFailed", "message": "No."}})
    await world.groundswell.work.rebuild_requested(world.encode(waiting))
    assert await poisoned(world) == []
    await work_off(world)
    assert len(await world.runs()) == 1


@pytest.mark.parametrize(("age", "aside"), [(timedelta(minutes=59), False), (timedelta(minutes=61), True)])
async def test_conflict_of_an_unknown_kind_is_tried_for_an_hour(world: World, age: timedelta, aside: bool) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()
    since = (datetime.now(UTC) - age).isoformat()
    world.fault(path=".*/scheduleRun", status=409, body={"error": {"code": "SomethingNew", "message": "No."}})
    await handle(world, request(digest, failingSince=since))
    assert await poisoned(world) == ([REBUILD_REQUESTS] if aside else [])
    assert await world.waiting(REBUILD_REQUESTS) == (0 if aside else 1)


async def test_run_is_looked_at_again_when_the_right_to_read_it_works_again(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(await world.push()))
    body = {"error": {"code": "AuthorizationFailed", "message": "No."}}
    world.fault(method="GET", path=".*/runs/.*", status=403, body=body)
    await check(world)
    assert await poisoned(world) == []
    (again,) = await eventually(lambda: world.take(RUN_CHECKS))
    await world.groundswell.work.run_check(world.encode(again))
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"]) == ("ended", "Succeeded")


async def test_identity_that_is_not_assigned_to_the_app_is_named_as_the_cause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    nobody = "0c7d9e52-8b1f-4a36-b2e4-5f90d1c6a783"
    monkeypatch.setenv("AZURE_CLIENT_ID", nobody)
    await world.reconnect(AZURE_CLIENT_ID=nobody)
    with pytest.raises(PermanentError, match=r"no token for the app's identity .*AZURE_CLIENT_ID"):
        await world.groundswell.starts.start_run(TEAM, b"")

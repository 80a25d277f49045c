"""A list, a look-up or a log that cannot be read stops nothing that can do without."""

from __future__ import annotations

from typing import Any

import pytest

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from tests.integration.company_life import OTHER_SUBSCRIPTION, push, work_off
from tests.integration.failing import ASSIGNMENTS, LISTS, two_subscriptions
from tests.integration.steps import fan_out, handle, onboard, pushed
from tests.integration.world import BASE, OPTED_IN, TEAM, World, registry_id


async def test_page_of_a_list_that_cannot_be_read_fails_its_subscription_alone(world: World) -> None:
    await two_subscriptions(world)
    listed = f"/subscriptions/{OTHER_SUBSCRIPTION}/providers/Microsoft.ContainerRegistry/registries"
    further = {"value": [], "nextLink": f"https://management.azure.com{listed}?api-version=2025-11-01&page=2"}
    world.fault(method="GET", path=listed, status=200, body=further)
    world.fault(method="GET", path=listed, status=403)
    await world.groundswell.work.fan_out_requested(pushed(await world.push()).encode().encode())
    assert [request["registry"] for request in await world.take(REBUILD_REQUESTS)] == [registry_id(TEAM)]
    (part,) = await world.take(FAN_OUTS) or await world.take(f"{FAN_OUTS}-poison")
    assert part["subscriptions"] == [OTHER_SUBSCRIPTION]


UNNAMEABLE = {"id": registry_id("no-name"), "name": "no-name", "location": "eastus", "tags": OPTED_IN, "properties": {}}


@pytest.mark.parametrize(
    "entry", [None, "nonsense", {}, {"id": None}, {"id": "x", "name": "x"}, {"tags": [1]}, 7, UNNAMEABLE]
)
async def test_entry_of_a_list_that_is_none_hides_no_other(world: World, entry: Any) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    whole = (await world.arm("GET", registry_id(TEAM))).body
    world.fault(method="GET", path=LISTS, status=200, body={"value": [entry, whole]})
    requests = await fan_out(world, pushed(await world.push()))
    assert [request["registry"] for request in requests] == [registry_id(TEAM)]


async def test_registry_with_broken_tags_stops_no_other(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    whole = (await world.arm("GET", registry_id(TEAM))).body
    broken = [
        {**whole, "name": name, "id": registry_id(name), "tags": tags}
        for name, tags in {"nullteam": {"base-image-rebuilds": None}, "listteam": [1], "numberteam": {"a": 1}}.items()
    ]
    world.fault(method="GET", path=LISTS, status=200, body={"value": [*broken, whole]})
    requests = await fan_out(world, pushed(await world.push()))
    assert [request["registry"] for request in requests] == [registry_id(TEAM)]


NONSENSE = {"status": 200, "body": ["nonsense"]}
FAILURES: list[dict[str, Any]] = [
    {"status": 400}, {"status": 403}, {"status": 404}, {"status": 429}, {"status": 500}, {"reset": "before"}, NONSENSE,
]  # fmt: skip
FAILING = pytest.mark.parametrize(
    "failure", FAILURES, ids=[*(str(f.get("status")) for f in FAILURES[:-2]), "cut", "nonsense"]
)


@FAILING
@pytest.mark.parametrize("path", [".*/subscriptions/[^/]+/resources", f".*/{ASSIGNMENTS}", ".*/registries"])
async def test_list_that_only_saves_calls_may_fail(world: World, path: str, failure: dict[str, Any]) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, await fan_out(world, pushed(await world.push("one"))))
    world.write_policy(text=world.policy_text.replace("mybaseregistry", registry_id(BASE)))
    requests = await fan_out(world, pushed(await world.push("two"), minutes=1))
    # As often as the fast way and the retries of the SDK ask; the close look that follows is answered.
    times = 1 if path.endswith(ASSIGNMENTS) and failure.get("status") != 500 and "reset" not in failure else -1
    if path.endswith(ASSIGNMENTS) and times == -1:
        times = 4
    world.fault(method="GET", path=path, times=times, **failure)
    await handle(world, requests)
    assert len(await world.runs()) == 2


@FAILING
async def test_base_image_that_cannot_be_looked_up_is_built_all_the_same(world: World, failure: dict[str, Any]) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    (request,) = await onboard(world, TEAM)
    world.fault(host=rf"{BASE}\.azurecr\.io", times=-1, **failure)
    world.azure.front.faults[-1].caller = None
    await handle(world, [{**request, "attempts": 4}])
    assert len(await world.runs()) == 1


@pytest.mark.parametrize("failure", FAILURES[:3], ids=["400", "403", "404"])
async def test_end_of_a_run_is_recorded_though_its_log_is_refused(world: World, failure: dict[str, Any]) -> None:
    await failed_run(world)
    world.fault(path=".*/listLogSasUrl", times=-1, **failure)
    (check,) = await world.take(RUN_CHECKS)
    await world.groundswell.work.run_check(world.encode(check))
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"]) == ("ended", "Failed")


@pytest.mark.parametrize("failure", FAILURES[3:], ids=["429", "500", "cut", "nonsense"])
async def test_log_that_fails_in_passing_is_read_again_so_that_a_refused_login_is_still_found(
    world: World, failure: dict[str, Any]
) -> None:
    await failed_run(world)
    world.fault(path=".*/listLogSasUrl", times=-1, **failure)
    (check,) = await world.take(RUN_CHECKS)
    await world.groundswell.work.run_check(world.encode(check))
    (again,) = await world.take(RUN_CHECKS)
    world.azure.front.faults.clear()
    await world.groundswell.work.run_check(world.encode(again))
    (row,) = await world.ledger("run|")
    assert (row["state"], row["status"]) == ("ended", "Failed")
    assert [message["cause"] for message in await world.take(REBUILD_REQUESTS)] == ["retry"]


async def failed_run(world: World) -> None:
    """Let a run end that could not log in to the base registry."""
    world.azure.rbac.delay = world.azure.rbac.delay.__class__(minutes=5)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, await fan_out(world, pushed(await world.push())))
    (run,) = await world.runs()
    assert (await world.run(run["runId"]))["status"] == "Failed"


async def test_conditions_that_cannot_be_read_are_shown_as_such_beside_the_runs(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await push(world, "one")
    await work_off(world)
    world.fault(method="GET", path=".*/tasks/.*", status=403, times=-1)
    shown = await world.groundswell.views.registry(TEAM)
    (task,) = shown["tasks"]
    assert (task["selection"], task["ready"]) == ("selected", False)
    assert "403" in task["problems"][0]
    assert [run["status"] for run in shown["runs"]] == ["Succeeded"]

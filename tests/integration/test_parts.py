"""One part that fails stops no other: a subscription, a task, a registry, a list, a queue, a row."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.pipeline import PipelineRequest

from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut
from shared.domain.errors import GroundswellError, NotFound, NotPermitted, PermanentError, TemporaryError
from tests.integration.company_life import ask_for_all, built, deliver_change, push, push_event, work_off
from tests.integration.test_fleet import fan_out, fleet, handle, onboard, pushed
from tests.integration.test_operations import OTHER_GROUP, OTHER_SUBSCRIPTION, watch
from tests.integration.world import BASE, IMAGE, OPTED_IN, ROLES, TEAM, World, registry_id

FAR = "faraway"
LISTS = r".*/registries"
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"

# -- subscriptions -----------------------------------------------------------------------------------------------------


async def two_subscriptions(world: World, base: str = BASE) -> None:
    """Let the app watch two subscriptions, each with a team that opted in."""
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    await world.create_registry(FAR, group=OTHER_GROUP, tags=OPTED_IN)
    world.write_policy(text=world.policy_text.replace("mybaseregistry", base))
    await watch(world, OTHER_SUBSCRIPTION)


async def control(world: World, method: str, path: str, body: Any = None) -> None:
    reply = await world.owner.control(method, path, body)
    assert reply.status < 300, reply.text


async def without_rights(world: World) -> None:
    for assignment in list(world.azure.state.of_type(ASSIGNMENTS, f"/subscriptions/{OTHER_SUBSCRIPTION}")):
        await world.arm("DELETE", assignment.id, api_version=ROLES)


async def deleted(world: World) -> None:
    await control(world, "DELETE", f"/subscriptions/{OTHER_SUBSCRIPTION}")


async def disabled(world: World) -> None:
    await control(world, "POST", "/restrictions", {"kind": "disabled", "scope": f"/subscriptions/{OTHER_SUBSCRIPTION}"})


async def throttled(world: World) -> None:
    world.fault(method="GET", path=f"/subscriptions/{OTHER_SUBSCRIPTION}/.*", status=429, times=-1,
                headers={"Retry-After": "17"})  # fmt: skip


async def mend(world: World) -> None:
    world.azure.front.faults.clear()
    await control(world, "DELETE", "/restrictions")
    await watch(world, OTHER_SUBSCRIPTION)


Way = Callable[[World], Awaitable[None]]
SAID: dict[Way, str] = {
    without_rights: "403", deleted: "SubscriptionNotFound", disabled: "disabled", throttled: "429",
}  # fmt: skip
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
    await watch(world, OTHER_SUBSCRIPTION)
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


# -- lists -------------------------------------------------------------------------------------------------------------


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


# -- tasks -------------------------------------------------------------------------------------------------------------

SECOND = """\
  - name: secondtask
    file: tasks/second.yaml
    rebuildOn: [baseimages/node:15-alpine]
    registries: {{tags: {{base-image-rebuilds: enabled}}}}
"""
BREAKS: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(missing_ok=True),
    "no-yaml": lambda file: file.write_text("steps: ["),
    "no-steps": lambda file: file.write_text("version: v1.1.0"),
    "no-text": lambda file: file.write_bytes(b"\xff\xfe"),
    "no-file": Path.mkdir,
}


def second_task(world: World) -> Path:
    """Add a task to the policy; return its file."""
    world.write_policy(text=world.policy_text + SECOND)
    return world.folder / "tasks" / "second.yaml"


def mend_task(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    file.write_text("version: v1.1.0\nsteps: [{cmd: bash echo}]\n")


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
    with pytest.raises(GroundswellError, match="secondtask cannot run until its file is mended"):
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


# -- queues, messages, rows --------------------------------------------------------------------------------------------


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

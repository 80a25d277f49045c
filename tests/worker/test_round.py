"""The whole round through the official worker, on a local Azure with real storage and the app's own roles."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.testing.functions_host import eventually
from tests.integration.world import BASE, OPTED_IN, TEAM, World
from tests.worker.conftest import Queues
from tests.worker.payloads import EVENT_FUNCTIONS, INVOCATIONS
from tests.worker.worker import APP, Reply, Worker, needs_worker

pytestmark = needs_worker

EVENTS = APP / "tests/events"
SUBSCRIPTION_OF_EVENTS = "3f6b8d1e-52c4-4a7e-9b0d-6c1f2a8e7d35"
HERE = {"registry": TEAM}


@pytest.fixture
async def worker(world: World) -> AsyncIterator[Worker]:
    """The app, signed in with its own identity."""
    with Worker(world.azure.environment(world.app) | world.settings) as worker:
        yield worker


def raised(world: World, kind: str, name: str) -> dict[str, Any]:
    """Return the latest event of one type whose topic or subject ends in a name."""
    return next(
        event
        for event in reversed(world.azure.events.published)
        if event["eventType"] == kind and (event["topic"].endswith(f"/{name}") or event["subject"].endswith(f"/{name}"))
    )


async def show_run(worker: Worker, run_id: str, suffix: str = "") -> Reply:
    url = f"/api/registries/{TEAM}/runs/{run_id}{suffix}"
    return await worker.http("show_log" if suffix else "show_run", url, {**HERE, "runId": run_id})


async def fan_out(worker: Worker, queues: Queues, asked: Reply) -> list[str]:
    """Deliver the one message that asks for a fan-out; return the rebuild requests that it leads to."""
    (message,) = asked.messages
    assert (await worker.queue("fan_out_requested", message)).error == ""
    assert queues.count("fan-outs") == 0
    return queues.take("rebuild-requests")


async def test_pushed_base_image_leads_to_a_followed_run(world: World, worker: Worker, queues: Queues) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    digest = await world.push()

    event = await worker.event_grid("base_image_pushed", raised(world, "Microsoft.ContainerRegistry.ImagePushed", BASE))
    assert event.error == ""
    (request,) = await fan_out(worker, queues, event)

    assert (await worker.queue("rebuild_requested", request)).error == ""
    (scheduled,) = await world.runs()
    run = await world.run(scheduled["runId"])
    assert (run["status"], run["task"]) == ("Succeeded", "helloworldtask")

    async def check() -> list[str]:
        return queues.take("run-checks")

    (message,) = await eventually(check)
    assert (await worker.queue("run_followed", message)).error == ""
    shown = await worker.http("show_registry", f"/api/registries/{TEAM}", HERE)
    assert shown.http.status_code == "200"
    assert [task["ready"] for task in shown.json["tasks"]] == [True]
    (entry,) = shown.json["runs"]
    assert (entry["runId"], entry["status"]) == (scheduled["runId"], "Succeeded")
    assert digest in entry["baseImage"]

    again = await worker.queue("rebuild_requested", request)
    assert (again.error, len(await world.runs())) == ("", 1)


async def test_created_registry_is_onboarded_and_gets_its_first_run(world: World, worker: Worker) -> None:
    await world.push()
    await world.create_registry(TEAM, tags=OPTED_IN)
    event = await worker.event_grid(
        "team_registry_changed", raised(world, "Microsoft.Resources.ResourceWriteSuccess", TEAM)
    )
    (request,) = event.messages
    assert (await worker.queue("rebuild_requested", request)).error == ""
    assert [run["task"] for run in await world.runs()] == ["helloworldtask"]


async def test_real_payloads_are_understood_and_their_personal_data_never_logged(world: World, worker: Worker) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    acted_on, log = set(), ""
    for path in sorted(EVENTS.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        event = json.loads(re.sub(SUBSCRIPTION_OF_EVENTS, DEFAULT_SUBSCRIPTION, text, flags=re.IGNORECASE))
        for function in EVENT_FUNCTIONS:
            reply = await worker.event_grid(function, event)
            assert reply.error == "", path.stem
            log += reply.log
            if reply.messages:
                acted_on.add((function, path.stem))
    images = ["", "_cloudevents", "_index", "_regional_endpoint", "_replica", "_v1"]
    images += ["_without_digest", "_without_media_type", "_without_request"]
    registries = ["created", "tagged", "updated", "written_in_other_casing"]
    assert acted_on == {
        *(("base_image_pushed", f"image_pushed{name}") for name in images),
        *(("team_registry_changed", f"registry_{name}") for name in registries),
    }
    assert "contoso" not in log.lower()
    assert "gildong" not in log.lower()


async def test_run_asked_for_over_http_can_be_watched_at_its_location(world: World, worker: Worker) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    started = await worker.http(
        "start_run",
        f"/api/registries/{TEAM}/runs",
        HERE,
        body=b'{"task": "helloworldtask"}',
        headers={"Idempotency-Key": "monday"},
    )
    assert started.http.status_code == "202"
    run_id = started.json["runId"]
    assert started.http.headers["Location"] == f"/api/registries/{TEAM}/runs/{run_id}"
    await world.run(run_id)
    shown = await show_run(worker, run_id)
    assert (shown.http.status_code, shown.json["status"]) == ("200", "Succeeded")
    log = await show_run(worker, run_id, "/logs")
    assert log.http.headers["content-type"].startswith("text/plain")
    assert f"Run ID: {run_id} was successful" in log.text


async def test_fleet_asked_for_over_http_is_queued(world: World, worker: Worker, queues: Queues) -> None:
    for name in (TEAM, "secondregistry"):
        await world.create_registry(name, tags=OPTED_IN)
    await world.create_registry("strangerregistry")
    await world.push()
    reply = await INVOCATIONS["start_fleet"](worker)
    assert (reply.http.status_code, reply.json["queued"]) == ("202", 2)
    requests = [json.loads(message) for message in await fan_out(worker, queues, reply)]
    assert {request["cause"] for request in requests} == {"manual"}
    assert sorted(request["registry"].rpartition("/")[2] for request in requests) == [TEAM, "secondregistry"]


async def test_poisoned_message_is_put_back_over_http_and_leads_to_a_run(
    world: World, worker: Worker, queues: Queues
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    (request,) = await fan_out(worker, queues, await INVOCATIONS["start_fleet"](worker))
    world.fault(path=".*/scheduleRun", status=400, body={"error": {"code": "TasksOperationsNotAllowed"}})
    await worker.queue("rebuild_requested", request)
    await worker.queue("rebuild_requested", "nonsense")
    assert await world.runs() == []

    reply = await worker.http("replay", "/api/rebuilds/replay")
    assert (reply.http.status_code, reply.json) == ("202", {"replayed": 1, "kept": 1})
    (request,) = queues.take("rebuild-requests")
    assert (await worker.queue("rebuild_requested", request)).error == ""
    assert [run["task"] for run in await world.runs()] == ["helloworldtask"]


async def test_request_for_what_is_not_there_gets_a_problem(world: World, worker: Worker) -> None:
    await world.create_registry(TEAM)
    unknown = {"registry": "nosuchregistry"}
    replies = {
        "unknown registry": await worker.http("start_run", "/api/registries/nosuchregistry/runs", unknown),
        "unknown to show": await worker.http("show_registry", "/api/registries/nosuchregistry", unknown),
        "unknown run": await show_run(worker, "cf99"),
        "no run id": await show_run(worker, "cf-1"),
        "unknown log": await show_run(worker, "cf99", "/logs"),
        "not selected": await worker.http("start_run", f"/api/registries/{TEAM}/runs", HERE),
        "base registry": await worker.http("start_run", f"/api/registries/{BASE}/runs", {"registry": BASE}),
    }
    assert {reply.http.headers["content-type"] for reply in replies.values()} == {"application/problem+json"}
    assert {case: reply.json["status"] for case, reply in replies.items()} == {
        "unknown registry": 404, "unknown to show": 404, "unknown run": 404, "no run id": 404, "unknown log": 404,
        "not selected": 409, "base registry": 409,
    }  # fmt: skip
    assert "base-image-rebuilds=enabled" in replies["not selected"].json["detail"]

"""What needs no Azure: events that are none of ours, messages and requests that are wrong, and Azure out of reach."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worker.conftest import Queues
from tests.worker.payloads import INVOCATIONS, fan_out, image_pushed, rebuild_request, registry_written
from tests.worker.worker import Worker, needs_worker

pytestmark = needs_worker

SUBSCRIPTION = rebuild_request()["registry"].split("/")[2]

IGNORED: dict[str, tuple[str, dict[str, Any], str]] = {
    "other registry": ("base_image_pushed", image_pushed("otherregistry"), "other-registry"),
    "untagged image": ("base_image_pushed", image_pushed(tag=None), "no-tag"),
    "image no task builds on": ("base_image_pushed", image_pushed(repository="baseimages/python"), "not-in-policy"),
    "CloudEvents schema": (
        "base_image_pushed",
        {
            "specversion": "1.0", "id": "1", "source": image_pushed("otherregistry")["topic"], "subject": "node:1",
            "type": "Microsoft.ContainerRegistry.ImagePushed", "time": "2026-11-22T09:30:00Z", "data": {},
        },
        "other-registry",
    ),
    "deletion of an image": (
        "base_image_pushed",
        image_pushed() | {"eventType": "Microsoft.ContainerRegistry.ImageDeleted"},
        "other-event-type",
    ),
    "write of a child": (
        "team_registry_changed",
        registry_written(operation="Microsoft.ContainerRegistry/registries/tasks/write"),
        "other-operation",
    ),
    "base registry": ("team_registry_changed", registry_written("mybaseregistry"), "is-the-base-registry"),
}  # fmt: skip


@pytest.mark.parametrize("case", IGNORED)
async def test_event_of_no_concern_succeeds_without_output_and_says_why(cut_off: Worker, case: str) -> None:
    function, event, reason = IGNORED[case]
    reply = await cut_off.event_grid(function, event)
    assert (reply.error, reply.outputs, reply.returned) == ("", {}, None)
    assert f"reason={reason}" in reply.log
    assert f"event_id={event['id']}" in reply.log


async def test_personal_data_of_an_event_is_not_logged(cut_off: Worker) -> None:
    event = registry_written(operation="Microsoft.ContainerRegistry/registries/tasks/write")
    assert "Lovelace" not in (await cut_off.event_grid("team_registry_changed", event)).log


async def test_pushed_base_image_is_queued_even_when_azure_is_out_of_reach(cut_off: Worker) -> None:
    event = image_pushed()
    reply = await cut_off.event_grid("base_image_pushed", event)
    assert reply.error == ""
    (message,) = reply.messages
    queued = json.loads(message)
    assert (queued["id"], queued["cause"]) == (event["id"], "base-image-pushed")
    assert queued["image"] == {"repository": "baseimages/node", "tag": "15-alpine", "digest": f"sha256:{'a' * 64}"}


async def test_event_fails_when_azure_is_out_of_reach_so_that_it_is_delivered_again(cut_off: Worker) -> None:
    reply = await cut_off.event_grid("team_registry_changed", registry_written())
    assert reply.error.startswith("TemporaryError: Could not read registry myregistry")
    assert reply.outputs == {}


async def test_fan_out_goes_back_into_its_queue_when_azure_is_out_of_reach(cut_off: Worker, queues: Queues) -> None:
    reply = await INVOCATIONS["fan_out_requested"](cut_off)
    assert reply.error == ""
    assert "fan-out put back" in reply.log
    assert f"Could not list the registries of subscription {SUBSCRIPTION}" in reply.log
    assert [queues.count(name) for name in ("rebuild-requests", "fan-outs", "fan-outs-poison")] == [0, 1, 0]


async def test_request_gets_a_problem_when_azure_is_out_of_reach(cut_off: Worker) -> None:
    reply = await INVOCATIONS["start_fleet"](cut_off)
    assert reply.http.status_code == "503"
    assert reply.http.headers["content-type"] == "application/problem+json"
    assert int(reply.http.headers["Retry-After"]) > 0
    assert f"Could not list the registries of subscription {SUBSCRIPTION}" in reply.json["detail"]
    assert reply.outputs == {}


async def test_rebuild_request_goes_back_into_its_queue_when_azure_is_out_of_reach(
    cut_off: Worker, queues: Queues
) -> None:
    reply = await INVOCATIONS["rebuild_requested"](cut_off)
    assert reply.error == ""
    assert queues.count("rebuild-requests") == 1
    assert "rebuild put back" in reply.log


MALFORMED = {
    "no fan-out": ("fan_out_requested", json.dumps(rebuild_request()), "fan-outs-poison"),
    "fan-out of a later version": ("fan_out_requested", json.dumps(fan_out() | {"version": 2}), "fan-outs-poison"),
    "not JSON": ("rebuild_requested", "not JSON", "rebuild-requests-poison"),
    "no member": ("rebuild_requested", "{}", "rebuild-requests-poison"),
    "unknown member": ("rebuild_requested", json.dumps(rebuild_request() | {"more": 1}), "rebuild-requests-poison"),
    "later version": ("rebuild_requested", json.dumps(rebuild_request() | {"version": 2}), "rebuild-requests-poison"),
    "text beyond ASCII": ("rebuild_requested", '"쌍둥이"', "rebuild-requests-poison"),
    "run check": ("run_followed", "{}", "run-checks-poison"),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_malformed_message_is_set_aside_as_it_came(cut_off: Worker, queues: Queues, case: str) -> None:
    function, body, poison = MALFORMED[case]
    reply = await cut_off.queue(function, body)
    assert reply.error == ""
    assert queues.take(poison) == [body]
    assert "message set aside" in reply.log


BAD_BODIES = {
    "not JSON": (b"task", ""),
    "list": (b"[]", ""),
    "unknown member": (b'{"taks": "helloworldtask"}', "taks"),
    "wrong type": (b'{"baseImage": 15}', "baseImage"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
@pytest.mark.parametrize("function", ["start_run", "start_fleet"])
async def test_request_with_a_bad_body_gets_a_problem_that_names_the_field(
    cut_off: Worker, function: str, case: str
) -> None:
    body, field = BAD_BODIES[case]
    route = {"registry": "myregistry"} if function == "start_run" else {}
    reply = await cut_off.http(function, "/api/…", route, body=body, headers={"Content-Type": "application/json"})
    assert reply.http.status_code == "400"
    assert reply.http.headers["content-type"] == "application/problem+json"
    assert reply.json["status"] == 400
    assert reply.json.get("field", "") == field
    assert field in reply.json["detail"]
    assert reply.outputs == {}


LOST_BODIES = {
    "chunks that the host dropped": ({"Transfer-Encoding": "chunked", "Content-Type": "application/json"}, b""),
    "chunks without a type": ({"transfer-encoding": "Chunked"}, b""),
    "chunks that arrived": ({"Transfer-Encoding": "gzip, chunked"}, b'{"all": true}'),
    "a type and nothing else": ({"Content-Type": "application/json"}, b""),
    "a type and a length of nothing": ({"content-type": "text/plain", "Content-Length": "0"}, b""),
}


@pytest.mark.parametrize("case", LOST_BODIES)
@pytest.mark.parametrize("function", ["start_run", "start_fleet", "replay"])
async def test_request_whose_body_may_be_lost_does_nothing_and_is_told_how_to_send_it(
    cut_off: Worker, queues: Queues, function: str, case: str
) -> None:
    headers, body = LOST_BODIES[case]
    route = {"registry": "myregistry"} if function == "start_run" else {}
    reply = await cut_off.http(function, "/api/…", route, body=body, headers=headers)
    assert reply.http.status_code == "411"
    assert reply.http.headers["content-type"] == "application/problem+json"
    assert reply.json["status"] == 411
    assert "Content-Length" in reply.json["detail"]
    assert reply.outputs == {}
    assert queues.count("fan-outs") == 0


@pytest.mark.parametrize("body", [b"", b"{}", b'{"all": false}', b'{"everything": true}', b'{"baseImage": ""}'])
async def test_whole_fleet_is_never_meant_by_a_body_that_does_not_say_so(cut_off: Worker, body: bytes) -> None:
    reply = await cut_off.http("start_fleet", "/api/runs", body=body)
    assert reply.http.status_code == "400"
    assert reply.outputs == {}


async def test_look_at_a_registry_may_announce_a_type(cut_off: Worker) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await cut_off.http("show_registry", "/api/…", {"registry": "myregistry"}, headers=headers)
    assert reply.http.status_code == "503"


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_message_carries_the_trace_of_its_event_when_telemetry_is_on(settings: dict[str, str]) -> None:
    with Worker(settings | {"PYTHON_ENABLE_OPENTELEMETRY": "true"}) as worker:
        replies = [await worker.event_grid("base_image_pushed", image_pushed(), TRACE) for _ in range(2)]
        other = await worker.event_grid("base_image_pushed", image_pushed())
    assert [json.loads(reply.messages[0])["traceparent"] for reply in replies] == [TRACE, TRACE]
    assert TRACE not in other.messages[0]


async def test_message_carries_no_trace_when_telemetry_is_off(cut_off: Worker) -> None:
    (message,) = (await cut_off.event_grid("base_image_pushed", image_pushed(), TRACE)).messages
    assert "traceparent" not in json.loads(message)


async def test_queues_are_watched(cut_off: Worker, queues: Queues) -> None:
    await cut_off.queue("rebuild_requested", "nonsense")
    reply = await cut_off.timer("queues_watched")
    assert reply.error == ""
    assert "messages wait for somebody to look at them queue=rebuild-requests-poison messages=1" in reply.log

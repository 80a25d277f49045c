"""The Event Grid webhook of the Functions host."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from dev.functionshost.tests.fixtures import Queues, azurite, host, http, queues, sample_settings
from dev.testing.functions_host import FunctionsHost, eventually

__all__ = ["azurite", "host", "http", "queues", "sample_settings"]

WEBHOOK = "/runtime/webhooks/eventgrid"


def event(identifier: str, **data: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "topic": "/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/r",
        "subject": "baseimages/node:15-alpine",
        "eventType": "Microsoft.ContainerRegistry.ImagePushed",
        "eventTime": "2026-11-22T18:00:00.1234567Z",
        "data": data,
        "dataVersion": "1.0",
        "metadataVersion": "1",
    }


async def post(
    http: aiohttp.ClientSession,
    key: str,
    body: Any,
    kind: str | None = "Notification",
    function: str = "on_event",
    path: str = WEBHOOK,
) -> tuple[int, str]:
    headers = {"aeg-event-type": kind} if kind else {}
    query = {"functionName": function, "code": key}
    async with http.post(path, params=query, json=body, headers=headers) as response:
        return response.status, await response.text()


@pytest.fixture
def key(host: FunctionsHost) -> str:
    return str(host.ready["eventGridKey"])


async def test_validation_handshake_echoes_the_code_of_the_event_grid_schema(
    http: aiohttp.ClientSession, key: str
) -> None:
    body = [event("v", validationCode="512d38b6", validationUrl="https://example.com")]
    status, text = await post(http, key, body, kind="subscriptionVALIDATION")
    assert (status, json.loads(text)) == (200, {"validationResponse": "512d38b6"})


async def test_validation_handshake_reads_double_encoded_data_of_a_cloud_event(
    http: aiohttp.ClientSession, key: str
) -> None:
    body = {"specversion": "1.0", "data": json.dumps({"validationCode": "512d38b6"})}
    status, text = await post(http, key, body, kind="SubscriptionValidation")
    assert (status, json.loads(text)) == (200, {"validationResponse": "512d38b6"})


@pytest.mark.parametrize("path", [WEBHOOK, "/runtime/webhooks/EventGrid"])
async def test_each_event_of_a_batch_is_one_invocation(
    http: aiohttp.ClientSession, key: str, queues: Queues, path: str
) -> None:
    assert await post(http, key, [event("a", digest="sha256:1"), event("b")], path=path) == (202, "")
    seen = {item["id"]: item for item in await _seen(queues, 2)}
    assert sorted(seen) == ["a", "b"]
    assert seen["a"]["data"] == {"digest": "sha256:1"}
    assert seen["a"]["type"] == "Microsoft.ContainerRegistry.ImagePushed"


async def test_single_object_is_taken_as_a_batch_of_one(http: aiohttp.ClientSession, key: str, queues: Queues) -> None:
    assert (await post(http, key, event("alone")))[0] == 202
    assert [item["id"] for item in await _seen(queues, 1)] == ["alone"]


async def test_one_failed_event_fails_the_batch_with_its_text(
    http: aiohttp.ClientSession, key: str, queues: Queues
) -> None:
    status, text = await post(http, key, [event("good"), event("bad", fail=True)])
    assert status == 500
    assert "Functions.on_event" in text
    assert "RuntimeError: cannot take bad" in text
    assert [item["id"] for item in await _seen(queues, 1)] == ["good"], "the others ran all the same"


async def test_returning_a_value_without_a_return_binding_fails(http: aiohttp.ClientSession, key: str) -> None:
    status, text = await post(http, key, [event("x")], function="returns_something")
    assert status == 500
    assert "without a $return binding" in text


@pytest.mark.parametrize("function", ["", "ON_EVENT", "nothing", "text"])
async def test_unknown_function_answers_404(http: aiohttp.ClientSession, key: str, function: str) -> None:
    assert await post(http, key, [event("x")], function=function) == (404, f"cannot find function: '{function}'")


@pytest.mark.parametrize(("kind", "status"), [(None, 400), ("Surprise", 400), ("Unsubscribe", 202)])
async def test_other_event_types_are_answered_without_an_invocation(
    http: aiohttp.ClientSession, key: str, kind: str | None, status: int
) -> None:
    assert (await post(http, key, [event("x")], kind=kind))[0] == status


@pytest.mark.parametrize(
    ("name", "status"), [("", 401), ("functionKey", 403), ("masterKey", 202), ("eventGridKey", 202)]
)
async def test_webhook_takes_system_and_master_key_only(
    host: FunctionsHost, http: aiohttp.ClientSession, name: str, status: int
) -> None:
    query = {"functionName": "on_event", "code": host.ready.get(name, "wrong")}
    headers = {"aeg-event-type": "Notification"}
    async with http.post(WEBHOOK, params=query, json=[event("x")], headers=headers) as response:
        assert response.status == status
        assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


async def test_names_of_query_parameters_are_compared_without_case(http: aiohttp.ClientSession, key: str) -> None:
    query = {"functionname": "on_event", "CODE": key}
    async with http.post(WEBHOOK, params=query, json=[event("x")], headers={"aeg-event-type": "Unsubscribe"}) as reply:
        assert reply.status == 202


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("eventgrid.azure.net", "eventgrid.azure.net"),
        ("eventgrid.azure.us", "eventgrid.azure.us"),
        ("example.com", "eventgrid.azure.net"),
    ],
)
async def test_handshake_of_the_cloud_events_schema_allows_event_grid_alone(
    http: aiohttp.ClientSession, key: str, asked: str, allowed: str
) -> None:
    query = {"functionName": "on_event", "code": key}
    async with http.options(WEBHOOK, params=query, headers={"WebHook-Request-Origin": asked}) as response:
        assert (response.status, response.headers["Webhook-Allowed-Origin"]) == (200, allowed)


async def test_handshake_of_the_cloud_events_schema_needs_the_key(http: aiohttp.ClientSession) -> None:
    async with http.options(WEBHOOK, params={"functionName": "on_event"}) as response:
        assert response.status == 401


async def test_times_in_an_event_are_rewritten(http: aiohttp.ClientSession, key: str, queues: Queues) -> None:
    times = {
        "offset": "2026-01-01T10:00:00.1234567+02:00",
        "utc": "2026-01-01T10:00:00.1230000Z",
        "local": "2026-01-01T10:00:00.0000000",
        "text": "2026-01-01",
    }
    assert (await post(http, key, [event("t", times=[times])]))[0] == 202
    (seen,) = await _seen(queues, 1)
    assert seen["data"]["times"] == [
        {
            "offset": "2026-01-01T08:00:00.1234567+00:00",
            "utc": "2026-01-01T10:00:00.123Z",
            "local": "2026-01-01T10:00:00",
            "text": "2026-01-01",
        }
    ]


async def _seen(queues: Queues, count: int) -> list[Any]:
    seen: list[Any] = []

    def enough() -> bool:
        seen.extend(queues.take_json("seen"))
        return len(seen) >= count

    await eventually(enough)
    return seen

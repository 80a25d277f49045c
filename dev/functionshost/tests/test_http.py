"""HTTP triggers, keys and admin endpoints of the Functions host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from dev.functionshost.tests.fixtures import Queues, azurite, host, http, queues, sample_settings
from dev.testing.functions_host import FunctionsHost, eventually

__all__ = ["azurite", "host", "http", "queues", "sample_settings"]


async def test_request_reaches_the_function_as_the_worker_protocol_prescribes(http: aiohttp.ClientSession) -> None:
    async with http.post(
        "/api/registries/myregistry/runs/ca1?x=1&x=2&empty=",
        data=b'{"a": 1}',
        headers={"X-Custom-Header": "Value", "Content-Type": "application/json"},
    ) as response:
        seen = await response.json()
        assert response.status == 201
        assert response.headers["Location"] == "/somewhere"

    assert seen["method"] == "POST"
    assert seen["route"] == {"registry": "myregistry", "runId": "ca1"}
    assert seen["params"] == {"x": "1,2"}, "empty query values are dropped, repeated ones joined"
    assert seen["body"] == '{"a": 1}'
    assert seen["headers"]["x-custom-header"] == "Value"
    assert seen["url"].endswith("/api/registries/myregistry/runs/ca1?x=1&x=2&empty=")
    assert (seen["function"], seen["setting"]) == ("echo", "from settings")
    assert seen["greeting"] == "hello from the app's own package"


async def test_chunked_body_arrives_empty(http: aiohttp.ClientSession) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"not seen"

    async with http.post("/api/registries/r/runs/1", data=chunks()) as response:
        seen = await response.json()
    assert (seen["body"], seen["headers"]["transfer-encoding"]) == ("", "chunked")


async def test_body_of_more_than_100_mib_fails_the_request(host: FunctionsHost) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.url.rpartition(":")[2]))
    writer.write(b"POST /api/registries/r/runs/1 HTTP/1.1\r\nHost: host\r\nContent-Length: 104857601\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 500 ")
    writer.close()


async def test_caller_s_trace_goes_on_in_the_function(http: aiohttp.ClientSession) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    async with http.get("/api/registries/r/runs/1", headers=headers) as response:
        version, own_trace, span, flags = (await response.json())["traceparent"].split("-")
    assert (version, own_trace, flags) == ("00", trace, "01")
    assert span != "b7ad6b7169203331"


@pytest.mark.parametrize("path", ["/API/Text", "/api/text/"])
async def test_route_matches_without_case_and_with_trailing_slash(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        assert await response.text() == "plain"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/nowhere"),
        ("DELETE", "/api/registries/r/runs/1"),
        ("GET", "/text"),
        ("GET", "/api/registries//runs/1"),
    ],
)
async def test_unknown_route_or_method_answers_404(http: aiohttp.ClientSession, method: str, path: str) -> None:
    async with http.request(method, path) as response:
        assert response.status == 404


async def test_response_keeps_charset_and_cookies(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/cookies") as response:
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert await response.text() == "grüezi"
        assert response.cookies["a"].value == "1"
        assert response.cookies["a"]["path"] == "/"


async def test_exception_answers_500_without_a_body_and_is_logged(
    host: FunctionsHost, http: aiohttp.ClientSession
) -> None:
    async with http.get("/api/broken") as response:
        assert response.status == 500
        assert await response.read() == b""
    await eventually(lambda: "ms: ValueError: boom from handler" in host.log)
    warning = next(line for line in host.log.splitlines() if line.endswith("sample: about to break"))
    failure = next(line for line in host.log.splitlines() if "boom from handler" in line and "Failed" in line)
    invocation = failure.partition("broken ")[2][:8]
    assert f"WARNING broken {invocation}" in warning, "the app's own log lines name the invocation"


async def test_missing_response_answers_500(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/forgetful") as response:
        assert response.status == 500


async def test_blocked_app_does_not_block_the_host(
    host: FunctionsHost, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    released = tmp_path / "released"
    blocked = asyncio.create_task(_get_text(http, f"/api/block?until={released}"))
    await eventually(lambda: "Executing (GET /api/block" in host.log)
    async with http.get("/admin/host/ping") as response:
        assert response.status == 200
    assert not blocked.done()
    released.touch()
    assert await blocked == "done"


async def _get_text(http: aiohttp.ClientSession, path: str) -> str:
    async with http.get(path) as response:
        return await response.text()


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/text", None, 200),
        ("/api/text", "wrong", 200),
        ("/api/guarded", None, 401),
        ("/api/guarded", "wrong", 401),
        ("/api/guarded", "eventGridKey", 401),
        ("/api/guarded", "functionKey", 200),
        ("/api/guarded", "masterKey", 200),
        ("/api/secret", None, 401),
        ("/api/secret", "functionKey", 401),
        ("/api/secret", "masterKey", 200),
        ("/admin/host/status", None, 401),
        ("/admin/host/status", "wrong", 401),
        ("/admin/host/status", "functionKey", 403),
        ("/admin/host/status", "eventGridKey", 403),
        ("/admin/host/status", "masterKey", 200),
    ],
)
@pytest.mark.parametrize("place", ["header", "query"])
async def test_key_opens_what_its_level_allows(
    host: FunctionsHost, http: aiohttp.ClientSession, path: str, key: str | None, status: int, place: str
) -> None:
    value = host.ready.get(key, key) if key else None
    headers = {"x-functions-key": value} if value and place == "header" else {}
    query = {"code": value} if value and place == "query" else {}
    async with http.get(path, headers=headers, params=query) as response:
        assert response.status == status
        challenged = status == 401 and path.startswith("/admin")
        assert response.headers.get("WWW-Authenticate") == ("Bearer" if challenged else None)


async def test_name_of_the_key_parameter_is_compared_without_case(
    host: FunctionsHost, http: aiohttp.ClientSession
) -> None:
    async with http.get("/api/guarded", params={"CODE": host.ready["functionKey"]}) as response:
        assert response.status == 200


@pytest.mark.parametrize("header", ["wrong", ""])
async def test_key_in_header_wins_over_query(host: FunctionsHost, http: aiohttp.ClientSession, header: str) -> None:
    right = host.ready["functionKey"]
    async with http.get("/api/guarded", headers={"x-functions-key": header}, params={"code": right}) as response:
        assert response.status == 401
    async with http.get("/api/guarded", headers={"x-functions-key": right}, params={"code": "wrong"}) as response:
        assert response.status == 200


async def test_list_output_becomes_one_message_each_and_wakes_the_listener(
    http: aiohttp.ClientSession, queues: Queues
) -> None:
    async with http.post("/api/send", json=["first", '{"n": 2}']) as response:
        assert response.status == 202
    seen = await _bodies(queues, 2)
    assert sorted(seen) == ["first", '{"n": 2}']


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ('["one", {"two": 2}]', ["one", '{\n  "two": 2\n}']),
        ('{"at": "2026-01-01T10:00:00.0000000Z"}', ['{\n  "at": "2026-01-01T10:00:00Z"\n}']),
        ("", [""]),
        ("no JSON", ["no JSON"]),
    ],
)
async def test_text_output_that_is_json_is_split_and_written_anew(
    http: aiohttp.ClientSession, queues: Queues, text: str, messages: list[str]
) -> None:
    async with http.post("/api/send-text", data=text.encode()) as response:
        assert response.status == 202
    assert sorted(await _bodies(queues, len(messages))) == messages


async def test_empty_array_sends_nothing(http: aiohttp.ClientSession, queues: Queues) -> None:
    for text in (b"[]", b"the next"):
        async with http.post("/api/send-text", data=text) as response:
            assert response.status == 202
    assert await _bodies(queues, 1) == ["the next"]


async def test_text_output_that_only_looks_like_json_fails_the_invocation(http: aiohttp.ClientSession) -> None:
    async with http.post("/api/send-text", data=b"{no json}") as response:
        assert response.status == 500


async def test_output_that_is_no_list_of_text_fails_the_invocation(http: aiohttp.ClientSession) -> None:
    async with http.post("/api/send", json=[{"an": "object"}]) as response:
        assert response.status == 500


async def test_refused_message_fails_the_invocation_after_those_before_it_were_sent(
    http: aiohttp.ClientSession, queues: Queues
) -> None:
    async with http.post("/api/send-too-much") as response:
        assert response.status == 500
    assert queues.take("partial") == ["fits"]


async def _bodies(queues: Queues, count: int) -> list[str]:
    seen: list[str] = []

    def enough() -> bool:
        seen.extend(item["body"] for item in queues.take_json("seen"))
        return len(seen) >= count

    await eventually(enough)
    return seen


async def test_admin_reports_state_functions_and_keys(host: FunctionsHost, http: aiohttp.ClientSession) -> None:
    headers = {"x-functions-key": host.ready["masterKey"]}
    async with http.get("/admin/host/status", headers=headers) as response:
        status = await response.json()
    assert status["state"] == "Running"
    assert "errors" not in status

    async with http.get("/admin/functions", headers=headers) as response:
        functions = {item["name"]: item for item in await response.json()}
    assert sorted(functions) == host.ready["functions"]
    assert functions["echo"]["invoke_url_template"] == f"{host.url}/api/registries/{{registry}}/runs/{{runId}}"

    async with http.get("/admin/host/systemkeys/eventgrid_extension", headers=headers) as response:
        assert (await response.json())["value"] == host.ready["eventGridKey"]
    async with http.get("/admin/host/functionkeys", headers=headers) as response:
        assert (await response.json())["keys"] == [{"name": "default", "value": host.ready["functionKey"]}]
    async with http.get("/admin/host/systemkeys/nothing", headers=headers) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("on_message", '{"input": "by hand"}', 202),
        ("ON_MESSAGE", '{"input": "by hand"}', 202),
        ("on_message", "no json", 400),
        ("on_message", "[]", 400),
        ("on_message", '{"input": "of the wrong type"}', 415),
        ("nothing", "{}", 404),
        ("text", "{}", 400),
    ],
)
async def test_admin_call_answers_before_the_function_runs(
    host: FunctionsHost, http: aiohttp.ClientSession, queues: Queues, name: str, body: str, status: int
) -> None:
    headers = {"x-functions-key": host.ready["masterKey"]}
    headers["Content-Type"] = "text/plain" if status == 415 else "application/json"
    async with http.post(f"/admin/functions/{name}", data=body, headers=headers) as response:
        assert response.status == status
    if status == 202:
        assert await _bodies(queues, 1) == ["by hand"]


async def test_admin_call_runs_timer_and_event_grid_functions(
    host: FunctionsHost, http: aiohttp.ClientSession, queues: Queues
) -> None:
    headers = {"x-functions-key": host.ready["masterKey"]}
    event = {"id": "e1", "subject": "s", "eventType": "t", "eventTime": "2026-01-01T00:00:00Z", "data": {}}
    await eventually(lambda: queues.take("ticks"))  # the run at start-up
    async with http.post("/admin/functions/nightly", json={}, headers=headers) as response:
        assert response.status == 202
    async with http.post("/admin/functions/on_event", json={"input": json.dumps(event)}, headers=headers) as response:
        assert response.status == 202
    tick = json.loads((await eventually(lambda: queues.take("ticks")))[0])
    assert tick["pastDue"] is False
    assert tick["next"].endswith("T03:00:00+00:00")
    assert (await eventually(lambda: queues.take_json("seen")))[0]["id"] == "e1"

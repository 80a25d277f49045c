"""Requests that no good client sends: each gets an answer that says what to send, and nothing is started."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from tests.e2e.company import Company
from tests.integration.world import TEAM

RUNS = f"/api/registries/{TEAM}/runs".encode()


async def send(company: Company, method: bytes, path: bytes, *headers: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Send bytes as they are; return the status and the body of the answer."""
    url = urlsplit(company.host.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    key = b"x-functions-key: " + str(company.host.ready["functionKey"]).encode()
    head = [method + b" " + path + b" HTTP/1.1", b"Host: app", b"Connection: close", key, *headers]
    writer.write(b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body]))
    answer = await reader.read()
    writer.close()
    start, _, text = answer.partition(b"\r\n\r\n")
    return int(start.split()[1]), text


async def test_what_is_encoded_wrongly_is_refused_with_a_sentence(bystanders: Company) -> None:
    one, two = b"Idempotency-Key: one", b"Idempotency-Key: two"
    requests = [
        (await send(bystanders, b"POST", RUNS, b"Idempotency-Key: \xff\xfe"), "Idempotency-Key: "),
        (await send(bystanders, b"POST", RUNS, "Idempotency-Key: schlüssel".encode()), "Idempotency-Key: "),
        (await send(bystanders, b"POST", RUNS, one, two), "without commas"),
        (await send(bystanders, b"POST", RUNS, b"Idempotency-Key: " + b"x" * 7000), "at most 100"),
        (await send(bystanders, b"POST", b"/api/registries/%FF/runs"), "registry: "),
        (await send(bystanders, b"POST", b"/api/registries/a%00b/runs"), "registry: "),
        (await send(bystanders, b"GET", b"/api/registries/%zz"), "registry: "),
        (await send(bystanders, b"GET", b"/api/registries/a%0d%0ab"), "registry: "),
        (await send(bystanders, b"GET", RUNS + b"/%ED%A0%80"), "run: "),
        (await send(bystanders, b"GET", RUNS + b"/c%C3%A9/logs"), "run: "),
        (await send(bystanders, b"POST", RUNS, body=b"\xef\xbb\xbf{}"), "byte order mark"),
        (await send(bystanders, b"POST", RUNS, body=b"[" * 60_000), "nested too deeply"),
        (await send(bystanders, b"POST", b"/api/runs", body=b'{"\\ud800": 1}'), "cannot be printed"),
        (await send(bystanders, b"POST", RUNS, body=b'{"' + b"x\\n" * 300_000 + b'": 1}'), "send at most 65536"),
    ]  # fmt: skip
    for (status, text), said in requests:
        assert status == 400, (status, text)
        assert len(text) < 1000
        problem = json.loads(text)
        assert said in problem["detail"]
        assert problem["detail"].isprintable()
    assert await bystanders.world.runs() == []
    assert "Traceback" not in bystanders.host.log
    assert all(len(line) < 10_000 for line in bystanders.host.log.splitlines())


async def test_query_that_is_encoded_wrongly_harms_nobody(bystanders: Company) -> None:
    for query in (b"?x=%ff", b"?%zz", b"?x=%00", b"?x=1&x=2", b"?x=%ED%A0%80"):
        status, text = await send(bystanders, b"GET", b"/api/registries/" + TEAM.encode() + query)
        assert (status, json.loads(text)["registry"]) == (200, TEAM)
    assert "Traceback" not in bystanders.host.log

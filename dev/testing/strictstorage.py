"""Stands before Azurite's queues and tables, refuses what Azure refuses, and counts.

`python -m dev.testing.strictstorage queue=PORT:AZURITE table=PORT:AZURITE`; `GET /requests` at either port tells the
counts. It is a process of its own so that it never waits for the interpreter of the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import unquote

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

from dev.testing import limits
from dev.testing.limits import Operation, Refusal

COUNTS = "/requests"

# What is added on the way would spoil the requests' signatures.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")
# Azurite closes connections that were idle for five seconds: leave them before that.
_IDLE_SECONDS = 3.0
_MESSAGES = {"POST": "send", "GET": "receive", "DELETE": "clear"}
_ONE_MESSAGE = {"PUT": "update message", "DELETE": "delete message"}
_ONE_ENTITY = {"GET": "get", "PUT": "update", "PATCH": "merge", "MERGE": "merge", "DELETE": "delete"}


def name_of(service: str, method: str, path: str, query: str) -> str:
    """Return the kind of a request, as the counts name it, e.g. `table query` or `queue receive`."""
    last = unquote(path.rpartition("/")[2])
    if service == "queue":
        if last == "messages":
            return "queue peek" if "peekonly=true" in query.lower() else f"queue {_MESSAGES.get(method, method)}"
        return f"queue {_ONE_MESSAGE[method]}" if "/messages/" in path and method in _ONE_MESSAGE else "queue queues"
    if last == "$batch":
        return "table transaction"
    if last.startswith("Tables"):
        return "table tables"
    if "PartitionKey=" in last:
        return f"table {_ONE_ENTITY.get(method, method)}"
    return "table insert" if method == "POST" else "table query"


def judge(kind: str, request: web.BaseRequest, body: bytes) -> Refusal | None:
    """Say no where Azure does."""
    if kind == "table transaction":
        return limits.of_transaction(body)
    if kind == "table query":
        return limits.of_query(request.query.get("$filter", ""))
    if kind.startswith("table ") and kind != "table tables":
        return limits.of_operation(Operation(request.method, request.raw_path, limits.entity_of(body)))
    return None


def answer_of(refusal: Refusal, kind: str) -> web.Response:
    """Word a refusal as the table service does; in a transaction it is the answer to the operation at fault."""
    request_id = str(uuid.uuid4())
    blame = f"{refusal.index}:" if refusal.index else ""
    text = f"{blame}{refusal.message}\nRequestId:{request_id}\nTime:{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f0Z}"
    error = {"odata.error": {"code": refusal.code, "message": {"lang": "en-US", "value": text}}}
    headers = {"x-ms-request-id": request_id, "x-ms-version": "2019-02-02", "DataServiceVersion": "3.0;"}
    content = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"
    if kind != "table transaction" or refusal.status != 400:
        return web.Response(
            status=refusal.status, body=json.dumps(error).encode(), headers={**headers, "Content-Type": content}
        )
    batch, changes = f"batchresponse_{uuid.uuid4()}", f"changesetresponse_{uuid.uuid4()}"
    lines = (
        f"--{batch}", f"Content-Type: multipart/mixed; boundary={changes}", "",
        f"--{changes}", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "",
        "HTTP/1.1 400 Bad Request", "DataServiceVersion: 3.0;", f"Content-Type: {content}", "", json.dumps(error),
        f"--{changes}--", f"--{batch}--", "",
    )  # fmt: skip
    headers["Content-Type"] = f"multipart/mixed; boundary={batch}"
    return web.Response(status=202, body="\r\n".join(lines).encode(), headers=headers)


class StrictStorage:
    """The way to one Azurite."""

    def __init__(self, session: ClientSession) -> None:
        """Pass on with `session`."""
        self._session = session
        self._counts: Counter[str] = Counter()

    async def serve(self, service: str, port: int, azurite: int) -> None:
        """Listen on loopback for what is meant for Azurite's port."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if request.path == COUNTS:
                return web.json_response(self._counts)
            path, _, query = request.raw_path.partition("?")
            kind = name_of(service, request.method, path, query)
            self._counts[kind] += 1
            body = await request.content.read()
            refusal = judge(kind, request, body)
            return answer_of(refusal, kind) if refusal else await self._pass_on(request, body, azurite)

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    async def _pass_on(self, request: web.BaseRequest, body: bytes, azurite: int) -> web.StreamResponse:
        url = URL(f"http://127.0.0.1:{azurite}{request.raw_path}", encoded=True)
        headers = [(name, text) for name, text in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=headers, skip_auto_headers=_NOT_ADDED,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                kept = [(name, text) for name, text in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
                response = web.Response(status=answer.status, body=await answer.read())
        except ClientError:
            # As without anything in between: who asked finds the connection cut.
            if request.transport:
                request.transport.abort()
            raise
        response.headers.clear()
        for name, text in kept:
            response.headers.add(name, text)
        return response


async def run(ways: list[tuple[str, int, int]]) -> None:
    """Serve these ways (service, port, Azurite's port) until the process ends."""
    connector = TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
    timeout = ClientTimeout(total=None)
    async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        storage = StrictStorage(session)
        for service, port, azurite in ways:
            await storage.serve(service, port, azurite)
        await asyncio.Event().wait()


def main(words: list[str]) -> None:
    """Read words such as `table=10002:34567`, and serve."""
    pairs = [(service, *ports.split(":")) for service, _, ports in (word.partition("=") for word in words)]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run([(service, int(port), int(azurite)) for service, port, azurite in pairs]))


if __name__ == "__main__":
    main(sys.argv[1:])

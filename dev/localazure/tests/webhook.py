"""A webhook endpoint on loopback that tests script: what it answers, and what it was sent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dev.testing.azure import Reply


@dataclass
class Webhook:
    """Answers `statuses` one after the other (the last one for ever) and keeps what was delivered.

    Attributes:
        handshake: How it answers the validation handshake: echo, silent, accepted (202) or refuse (401).
        slow: If set, deliveries are answered only when this event is.
    """

    statuses: list[int] = field(default_factory=lambda: [200])
    handshake: str = "echo"
    received: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    handshakes: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    slow: asyncio.Event | None = None
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?code=s3cret"

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events delivered so far, in the order of arrival."""
        return [e for _, body in self.received for e in (body if isinstance(body, list) else [body])]

    async def _handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.paths.append(request.raw_path)
        if request.method == "OPTIONS":
            self.handshakes.append((headers, None))
            allowed = {"WebHook-Allowed-Origin": headers["webhook-request-origin"]} if self.handshake == "echo" else {}
            return web.Response(headers=allowed)
        body = json.loads(await request.read())
        if headers["aeg-event-type"] == "SubscriptionValidation":
            self.handshakes.append((headers, body))
            code = body[0]["data"]["validationCode"]
            return {
                "echo": lambda: web.json_response({"validationResponse": code}),
                "silent": lambda: web.Response(status=200),
                "accepted": lambda: web.json_response({"validationResponse": code}, status=202),
                "refuse": lambda: web.Response(status=401),
            }[self.handshake]()
        self.received.append((headers, body))
        if self.slow:
            await self.slow.wait()
        status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
        return web.Response(status=status)

    async def __aenter__(self) -> Webhook:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()


async def until(condition: Any, timeout: float = 5.0) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(0.01)


def good(reply: Reply, *statuses: int) -> Reply:
    """Return a reply if its status is as expected."""
    assert reply.status in (statuses or (200, 201)), f"{reply.status}: {reply.text}"
    return reply

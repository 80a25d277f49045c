"""The TLS front door: journal, faults and latency for every request, then the service that owns the host name."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from dev.localazure.clock import Clock, iso
from dev.localazure.identity import Identity
from dev.localazure.journal import Entry, Fault, Journal
from dev.localazure.proxy import is_azure
from dev.localazure.tls import Authority

Service = Callable[[web.Request], Awaitable[web.StreamResponse]]

ENTRY: web.RequestKey[Entry] = web.RequestKey("journal_entry", Entry)


class Front:
    """Routes requests by Host header. Services register a host name, or a suffix that starts with a dot."""

    def __init__(self, clock: Clock, journal: Journal, identity: Identity, authority: Authority) -> None:
        """Start with no services."""
        self._clock, self._journal = clock, journal
        self._identity, self._authority = identity, authority
        self._services: dict[str, Service] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.faults: list[Fault] = []
        self.latency = 0.0
        self.jitter = 0.0

    def serve(self, host: str, service: Service) -> None:
        """Let a service answer for a host name, or for all names with a suffix (".azurecr.io")."""
        self._services[host] = service

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1 with TLS."""
        app = web.Application(client_max_size=1024**3)
        app.router.add_route("*", "/{tail:(?s:.*)}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=self._authority.server_context())
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    def _find(self, host: str) -> Service | None:
        if host in self._services:
            return self._services[host]
        return next((s for suffix, s in self._services.items() if suffix[0] == "." and host.endswith(suffix)), None)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        host = request.host.split(":")[0].lower()
        entry = self._journal.open(iso(self._clock.now()), request.method, host, request.path, request.query_string)
        entry.caller, entry.object_id = self._identity.name_of_caller(request)
        entry.traceparent = request.headers.get("traceparent", "")
        request[ENTRY] = entry
        started = time.monotonic()
        try:
            response = await self._answer(request, host, entry)
            entry.status = response.status
            return response
        finally:
            entry.seconds = time.monotonic() - started
            self._journal.close(entry)

    async def _answer(self, request: web.Request, host: str, entry: Entry) -> web.StreamResponse:
        service = self._find(host) if is_azure(host) else None
        if service is None:
            return web.Response(status=404, text=f"localazure has no service at {host}\n")
        if self.latency:
            # Not security relevant: spreads answers as a network does.
            await asyncio.sleep(max(0.0, self.latency + random.uniform(-self.jitter, self.jitter)))
        fault = next((f for f in self.faults if f.matches(entry)), None)
        if fault is None:
            return await service(request)
        entry.fault = True
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.reset == "after":
            await service(request)
        if fault.reset:
            if request.transport:
                request.transport.abort()
            raise ConnectionResetError("cut by a fault")
        if fault.status is None:
            return await service(request)
        body = fault.body
        if body is None:
            code = "SubscriptionRequestsThrottled" if fault.status == 429 else "InternalServerError"
            wait = fault.headers.get("Retry-After", "1")
            text = f"Please try again after '{wait}' seconds." if fault.status == 429 else "Injected by a test."
            body = {"error": {"code": code, "message": text}}
        return web.json_response(body, status=fault.status, headers=fault.headers)

"""The local endpoint: managed-identity tokens for apps, and the controls for tests and demos."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aiohttp import web

from localazure.clock import iso
from localazure.journal import Fault

if TYPE_CHECKING:
    from localazure.azure import Azure


class Control:
    """An http server on loopback. Everything under `/control` exists only in this local Azure."""

    def __init__(self, azure: Azure) -> None:
        """Work on this Azure."""
        self._azure = azure
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/msi/token", azure.identity.msi_token),
                web.get("/control/clock", self._get_clock),
                web.post("/control/clock", self._set_clock),
                web.post("/control/latency", self._set_latency),
                web.get("/control/faults", self._get_faults),
                web.post("/control/faults", self._add_fault),
                web.delete("/control/faults", self._clear_faults),
                web.get("/control/journal", self._get_journal),
                web.get("/control/journal/counts", self._get_counts),
                web.delete("/control/journal", self._clear_journal),
                web.post("/control/apps", self._create_app),
            ]
        )

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1."""
        self._runner = web.AppRunner(self.app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _get_clock(self, _: web.Request) -> web.Response:
        return web.json_response({"now": iso(self._azure.clock.now()), "scale": self._azure.clock.scale})

    async def _set_clock(self, request: web.Request) -> web.Response:
        body = await _object(request)
        if "scale" in body:
            self._azure.clock.set_scale(float(body["scale"]))
        if "advance" in body:
            self._azure.clock.advance(float(body["advance"]))
        return await self._get_clock(request)

    async def _set_latency(self, request: web.Request) -> web.Response:
        body = await _object(request)
        self._azure.front.latency = float(body.get("seconds", 0))
        self._azure.front.jitter = float(body.get("jitter", 0))
        return web.json_response(body)

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response([vars(fault) for fault in self._azure.front.faults])

    async def _add_fault(self, request: web.Request) -> web.Response:
        body = await _object(request)
        unknown = set(body) - {f.name for f in fields(Fault)}
        if unknown:
            raise web.HTTPBadRequest(text=f"unknown members: {', '.join(sorted(unknown))}\n")
        try:
            fault = Fault(**body)
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        self._azure.front.faults.append(fault)
        return web.json_response(vars(fault), status=201)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._azure.front.faults.clear()
        return web.Response(status=204)

    async def _get_journal(self, request: web.Request) -> web.Response:
        match = dict(request.query)
        since = int(match.pop("since", 0))
        entries = list(self._azure.journal.since(since, **match))
        return web.json_response({"last": self._azure.journal.last, "entries": entries})

    async def _get_counts(self, _: web.Request) -> web.Response:
        return web.json_response(self._azure.journal.counts())

    async def _clear_journal(self, _: web.Request) -> web.Response:
        self._azure.journal.clear()
        return web.Response(status=204)

    async def _create_app(self, request: web.Request) -> web.Response:
        app = self._azure.identity.create_app(str((await _object(request))["name"]))
        body = {"name": app.name, "principalId": app.system_assigned, "environment": self._azure.environment(app)}
        return web.json_response(body, status=201)


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"not JSON: {error}\n") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="a JSON object is expected\n")
    return body

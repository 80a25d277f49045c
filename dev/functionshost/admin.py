"""The admin endpoints of the host, all behind the master key.

See https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http for calling a function by hand and
https://learn.microsoft.com/rest/api/appservice/web-apps for the keys that they list.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from dev.functionshost.eventgrid import event_datum
from dev.functionshost.invoker import Invoker
from dev.functionshost.keys import MASTER_KEY, AccessLevel, Keys, new_key
from dev.functionshost.model import Function, InvocationError
from dev.functionshost.queues import manual_trigger_metadata
from dev.functionshost.wiring import Wiring

logger = logging.getLogger(__name__)

HOST_VERSION = "4.0.0"
RUNNING = "Running"


class AdminApi:
    """Tells the state of the host, lists keys and functions, runs functions by hand and drains the host.

    The host is ``Running`` even with an app that cannot be imported: only the log says so.
    """

    def __init__(self, wiring: Wiring, keys: Keys, invoker: Invoker, host_id: str) -> None:
        self._wiring = wiring
        self._keys = keys
        self._invoker = invoker
        self._started = time.monotonic()
        self._background: set[asyncio.Task[None]] = set()
        self._host_id = host_id
        self._draining = False
        self.worker_name = ""

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request below ``/admin``."""
        parts = [part for part in request.path.split("/") if part][1:]
        if parts == ["host", "ping"]:
            return web.Response()
        proof = self._keys.proof(request)
        if not proof.opens(AccessLevel.ADMIN):
            return proof.refusal()
        if request.method == "POST" and parts == ["host", "drain"]:
            return self._drain()
        if request.method == "POST" and len(parts) == 2 and parts[0] == "functions":
            return await self._run(parts[1], request)
        if request.method in ("POST", "PUT") and len(parts) == 3 and parts[0] == "host":
            return await self._set_host_key(parts[1], parts[2], request)
        if request.method != "GET":
            return web.Response(status=404)
        match parts:
            case ["host", "status"]:
                return web.json_response(self._status())
            case ["host", "drain", "status"]:
                return web.json_response(self._drain_status())
            case ["host", "keys" | "functionkeys" | "systemkeys" as kind, *name]:
                return self._host_keys(kind, name)
            case ["functions"]:
                return web.json_response(
                    [self._describe(function, request) for function in self._wiring.functions.values()]
                )
            case ["functions", name, *rest]:
                return self._function(name, rest, request)
        return web.Response(status=404)

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "id": self._host_id,
            "state": RUNNING,
            "version": HOST_VERSION,
            "versionDetails": f"localazure, {self.worker_name}",
            "processUptime": int((time.monotonic() - self._started) * 1000),
        }
        errors = [f"The '{name}' function is in error: {reason}" for name, reason in self._wiring.errors.items()]
        return status | ({"errors": errors} if errors else {})

    def _drain(self) -> web.Response:
        """Let the host take nothing more by itself; what is under way goes on, and HTTP is still served."""
        self._draining = True
        self._in_background(self._wiring.stop())
        return web.Response(status=202)

    def _drain_status(self) -> dict[str, Any]:
        running = self._invoker.running
        state = "Disabled" if not self._draining else "InProgress" if running else "Completed"
        return {"state": state, "outstandingInvocations": running, "outstandingRetries": 0}

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _host_keys(self, kind: str, name: list[str]) -> web.Response:
        keys = self._keys.system if kind == "systemkeys" else self._keys.host
        if name == [MASTER_KEY]:
            keys = {MASTER_KEY: self._keys.master}
        return _keys_response(keys, name)

    async def _set_host_key(self, kind: str, name: str, request: web.Request) -> web.Response:
        """Give a key a new value: a random one (POST), or the one in the body (PUT). The old one is refused at once.

        https://github.com/Azure/azure-functions-host/wiki/Key-management-API
        """
        keys = {"keys": self._keys.host, "functionkeys": self._keys.host, "systemkeys": self._keys.system}.get(kind)
        if keys is None or name == MASTER_KEY:
            return web.Response(status=404)
        keys[name] = new_key()
        if request.method == "PUT":
            try:
                keys[name] = str((await request.json())["value"])
            except (ValueError, KeyError, TypeError):
                return web.Response(status=400)
        return _keys_response(keys, [name])

    def _find(self, name: str) -> Function | None:
        return next((item for item in self._wiring.functions.values() if item.name.lower() == name.lower()), None)

    def _function(self, name: str, rest: list[str], request: web.Request) -> web.Response:
        function = self._find(name)
        if rest == ["status"]:
            if function is None and name not in self._wiring.errors:
                return web.Response(status=404)
            reason = self._wiring.errors.get(name)
            status: dict[str, Any] = {"isDisabled": name in self._wiring.disabled}
            return web.json_response(status | ({"errors": [reason]} if reason else {}))
        if function is None:
            return web.Response(status=404)
        if rest and rest[0] == "keys":
            return _keys_response(self._keys.functions.get(function.name, {}), rest[1:])
        return web.Response(status=404) if rest else web.json_response(self._describe(function, request))

    def _describe(self, function: Function, request: web.Request) -> dict[str, Any]:
        origin = str(request.url.origin())
        route = next((route for route in self._wiring.routes if route.function is function), None)
        return {
            "name": function.name,
            "language": "python",
            "isDisabled": function.name in self._wiring.disabled,
            "href": f"{origin}/admin/functions/{function.name}",
            "invoke_url_template": f"{origin}/{route.template}" if route else None,
            "config": {"bindings": [dict(binding.properties) for binding in function.bindings]},
        }

    async def _run(self, name: str, request: web.Request) -> web.Response:
        function = self._find(name)
        if function is None:
            return web.Response(status=404)
        if function.trigger.type == "httpTrigger":
            return web.Response(status=400, text="a function with an HTTP trigger is called by its URL")
        if request.content_type != "application/json":
            return web.Response(status=415)
        try:
            body = json.loads(await request.text())
        except ValueError:
            return web.Response(status=400)
        if not isinstance(body, dict):
            return web.Response(status=400)
        given = body.get("input")
        self._in_background(self._run_in_background(function, given if isinstance(given, str) else ""))
        return web.Response(status=202)

    async def _run_in_background(self, function: Function, text: str) -> None:
        metadata: dict[str, Datum] = {}
        if function.trigger.type == "eventGridTrigger":
            try:
                data = event_datum(json.loads(text))
            except ValueError as error:
                logger.error("Cannot run %s by hand: its input is no JSON text: %s", function.name, error)
                return
        elif function.trigger.type == "timerTrigger":
            data = self._wiring.timers[function.name].payload()
        else:
            data, metadata = Datum(text, "string"), manual_trigger_metadata(text)
        try:
            await self._invoker.invoke(function, data, reason="called by hand", trigger_metadata=metadata)
        except InvocationError:
            return  # already logged; the caller was answered before the run


def _keys_response(keys: Mapping[str, str], name: list[str]) -> web.Response:
    if not name:
        return web.json_response({"keys": [{"name": key, "value": value} for key, value in keys.items()], "links": []})
    if len(name) > 1 or name[0] not in keys:
        return web.Response(status=404)
    return web.json_response({"name": name[0], "value": keys[name[0]], "links": []})

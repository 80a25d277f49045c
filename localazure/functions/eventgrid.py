"""The Event Grid webhook, ``/runtime/webhooks/eventgrid``.

See https://learn.microsoft.com/azure/event-grid/receive-events and, for the details, HttpRequestProcessor in
github.com/Azure/azure-sdk-for-net (sdk/eventgrid/Microsoft.Azure.WebJobs.Extensions.EventGrid).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from localazure.functions.invoker import Invoker
from localazure.functions.keys import EVENT_GRID_KEY, AccessLevel, Keys, allows
from localazure.functions.model import Function, InvocationError

logger = logging.getLogger(__name__)

PATH = "/runtime/webhooks/eventgrid"


class EventGridWebhook:
    """Answers Event Grid: the validation handshake, notifications and unsubscriptions."""

    def __init__(self, functions: Mapping[str, Function], keys: Keys, invoker: Invoker) -> None:
        self._functions = functions
        self._keys = keys
        self._invoker = invoker

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one delivery. A single failed event fails the whole batch, which Event Grid then sends again."""
        level = self._keys.level_of(request, system_key=EVENT_GRID_KEY)
        if not allows(AccessLevel.SYSTEM, level):
            return web.Response(status=401)
        name = request.query.get("functionName", "")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return web.Response(status=202)
        if kind not in {"subscriptionvalidation", "notification"}:
            return web.Response(status=400)
        try:
            body = json.loads(await request.text())
            if kind == "subscriptionvalidation":
                logger.info("Event Grid validates the subscription of %s", name)
                return web.json_response({"validationResponse": _validation_code(body)})
        except (ValueError, LookupError, TypeError) as error:
            return web.Response(status=500, text=f"{type(error).__name__}: {error}")
        return await self._notify(function, body if isinstance(body, list) else [body], request)

    async def _notify(self, function: Function, events: list[Any], request: web.Request) -> web.Response:
        outcomes = await asyncio.gather(
            *(
                self._invoker.invoke(
                    function,
                    event_datum(event),
                    reason="Event Grid",
                    trace_parent=request.headers.get("traceparent"),
                    trace_state=request.headers.get("tracestate", ""),
                )
                for event in events
            ),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, InvocationError):
                text = f"Exception while executing function: Functions.{function.name}\n{outcome}"
                return web.Response(status=500, text=text)
            if isinstance(outcome, BaseException):
                raise outcome
        return web.Response(status=202)


def event_datum(event: Any) -> Datum:
    """Return an event as the worker gets it: the JSON of the single event."""
    return Datum(json.dumps(event), "json")


def _validation_code(body: Any) -> str:
    """Return the code to echo: Event Grid schema sends an array, CloudEvents an object whose data is JSON text."""
    event = body[0] if isinstance(body, list) else body
    data = event["data"]
    if isinstance(data, str):
        data = json.loads(data)
    return str(data["validationCode"])

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

from dev.functionshost.invoker import Invoker, child_trace_parent
from dev.functionshost.json_net import with_times_rewritten
from dev.functionshost.keys import EVENT_GRID_KEY, AccessLevel, Keys, query_value
from dev.functionshost.model import Function, InvocationError

logger = logging.getLogger(__name__)

PATH = "/runtime/webhooks/eventgrid"
ORIGINS = ("eventgrid.azure.net", "eventgrid.azure.us", "eventgrid.azure.cn")
"""Event Grid of each cloud, as it names itself in the handshake of the CloudEvents schema."""


class EventGridWebhook:
    """Answers Event Grid: the validation handshake, notifications and unsubscriptions."""

    def __init__(self, functions: Mapping[str, Function], keys: Keys, invoker: Invoker) -> None:
        self._functions = functions
        self._keys = keys
        self._invoker = invoker

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one delivery. A single failed event fails the whole batch, which Event Grid then sends again."""
        proof = self._keys.proof(request)
        if not proof.opens(AccessLevel.SYSTEM, EVENT_GRID_KEY):
            return proof.refusal()
        name = query_value(request, "functionName")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            return web.Response(headers={"Webhook-Allowed-Origin": _allowed_origin(request)})
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
                    trace_parent=child_trace_parent(request.headers.get("traceparent")),
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
    """Return an event as the worker gets it: the JSON of the single event, its times rewritten.

    Since version 3.4.3 the extension leaves the times of events from Event Grid alone. An app that is right about
    rewritten ones is right about both.
    https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/eventgrid/Microsoft.Azure.WebJobs.Extensions.EventGrid/CHANGELOG.md
    """
    return Datum(json.dumps(with_times_rewritten(event)), "json")


def _allowed_origin(request: web.Request) -> str:
    asked = request.headers.get("WebHook-Request-Origin", "")
    return asked if asked in ORIGINS else ORIGINS[0]


def _validation_code(body: Any) -> str:
    """Return the code to echo: Event Grid schema sends an array, CloudEvents an object whose data is JSON text."""
    event = body[0] if isinstance(body, list) else body
    data = event["data"]
    if isinstance(data, str):
        data = json.loads(data)
    return str(data["validationCode"])

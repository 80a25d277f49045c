"""HTTP triggers: keys, request and response conversion.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum
from multidict import CIMultiDict

from dev.functionshost.invoker import Invoker, child_trace_parent
from dev.functionshost.keys import AccessLevel, Keys
from dev.functionshost.model import InvocationError
from dev.functionshost.routing import Route, find_route

MAX_REQUEST_BODY = 104_857_600
"""Bytes; a longer body is never handed to a function."""


class HttpTriggers:
    """Answers requests to the app's own routes."""

    def __init__(self, routes: Sequence[Route], disabled: Collection[str], keys: Keys, invoker: Invoker) -> None:
        self._routes = routes
        self._disabled = disabled
        self._keys = keys
        self._invoker = invoker

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request.

        404 when path and method fit no route, 401 without a sufficient key, and 404 again for a disabled function,
        which runs for the master key alone.
        """
        found = find_route(self._routes, request.rel_url.raw_path, request.method)
        if found is None:
            return web.Response(status=404)
        route, parameters = found
        required = AccessLevel((route.function.trigger.text("authLevel") or "function").lower())
        proof = self._keys.proof(request, function=route.function.name)
        if not proof.opens(required):
            return web.Response(status=401)
        if route.function.name in self._disabled and proof.level is not AccessLevel.ADMIN:
            return web.Response(status=404)
        if (request.content_length or 0) > MAX_REQUEST_BODY:
            return web.Response(status=500)
        try:
            returned = await self._invoker.invoke(
                route.function,
                await request_datum(request, parameters),
                reason=f"{request.method} {request.path}",
                trace_parent=child_trace_parent(request.headers.get("traceparent")),
                trace_state=request.headers.get("tracestate", ""),
            )
        except InvocationError:
            return web.Response(status=500)
        return response(returned)


async def request_datum(request: web.Request, route_parameters: dict[str, str]) -> Datum:
    """Return a request as the worker gets it.

    Header names are lower-cased, empty query values dropped, repeated values joined, and a body is passed only when
    the request has a Content-Length above zero: a chunked body arrives empty.
    """
    body = await request.read() if (request.content_length or 0) > 0 else b""
    headers: dict[str, str] = {}
    for name in request.headers:
        headers[name.lower()] = ",".join(request.headers.getall(name))
    query = {name: ",".join(request.query.getall(name)) for name in request.query}
    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(str(request.url), "string"),
            "headers": _strings(headers),
            "query": _strings({name: value for name, value in query.items() if value}),
            "params": _strings(route_parameters),
            "body": Datum(body, "bytes"),
        },
        "http",
    )


def response(returned: Datum | None) -> web.Response:
    """Return the response for what an HTTP function returned; that must be something."""
    if returned is None or returned.type is None:
        return web.Response(status=500)
    if returned.type != "http":
        text = returned.value if isinstance(returned.value, str) else str(returned.value)
        return web.Response(text=text)
    value: dict[str, Any] = returned.value
    headers = CIMultiDict((name, datum.value) for name, datum in value["headers"].items())
    for jar in value.get("cookies") or ():
        for morsel in jar.values():
            headers.add("Set-Cookie", morsel.OutputString())
    return web.Response(status=int(value["status_code"].value), headers=headers, body=value["body"].value)


def _strings(values: dict[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}

"""The Resource Manager gateway at management.azure.com.

Every call passes, in ARM's order: token → route → api-version → throttling → subscription → authorization → resource
group → locks and policies → the provider's handler; a write that succeeded raises the subscription's resource event.
Providers register handlers with `Gateway.route`; they raise `ArmError` and return an `Answer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from dev.localazure.call import Answer, Call, Handler
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.front import ENTRY
from dev.localazure.rbac import forbidden
from dev.localazure.state import new_guid
from dev.localazure.tokens import ARM_AUDIENCES, InvalidToken


@dataclass
class Route:
    """One ARM operation."""

    method: str
    pattern: re.Pattern[str]
    action: str
    handler: Handler
    scope: str
    bucket: str
    raises_event: bool
    open: bool


class Gateway:
    """Routes ARM requests to providers.

    Attributes:
        on_success: Called after every operation that raises a resource event and succeeded.
    """

    def __init__(self, core: Core) -> None:
        """Start with no routes."""
        self._core = core
        self._routes: list[Route] = []
        self.on_success: list[Callable[[Call, Answer], None]] = []

    def route(
        self,
        method: str,
        template: str,
        action: str,
        handler: Handler,
        *,
        scope: str | None = None,
        bucket: str | None = None,
        raises_event: bool | None = None,
        open_to_all: bool = False,
    ) -> None:
        """Register an operation.

        Args:
            method: HTTP method.
            template: Path with `{name}` placeholders (one segment) or `{name:path}` (any number); literals match
                in any case.
            action: ARM action that the caller needs, e.g. `Microsoft.ContainerRegistry/registries/read`.
            handler: The provider's coroutine.
            scope: Template of the scope that the action is checked on (default: the path without a trailing POST
                action segment).
            bucket: `reads`, `writes` or `deletes` (default from the method; POST counts as a write).
            raises_event: Whether success raises a resource event (default: PUT, PATCH, DELETE, POST do).
            open_to_all: No permission needed beyond a valid token.
        """
        method = method.upper()
        if scope is None:
            scope = template.rpartition("/")[0] if method == "POST" else template
        pattern = re.compile(
            "".join(
                f"(?P<{part[1:-1].removesuffix(':path')}>{'.*?' if part.endswith(':path}') else '[^/]+'})"
                if part.startswith("{")
                else re.escape(part)
                for part in re.split(r"(\{[^}]+\})", template)
            ),
            re.IGNORECASE,
        )
        default = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(method, "writes")
        event = method in ("PUT", "PATCH", "DELETE", "POST") if raises_event is None else raises_event
        self._routes.append(Route(method, pattern, action, handler, scope, bucket or default, event, open_to_all))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to management.azure.com."""
        headers = {
            "cache-control": "no-cache", "pragma": "no-cache", "expires": "-1",
            "strict-transport-security": "max-age=31536000; includeSubDomains", "x-content-type-options": "nosniff",
            "x-ms-request-id": new_guid(),
            "x-ms-correlation-request-id": request.headers.get("x-ms-correlation-request-id") or new_guid(),
            "x-ms-routing-request-id": f"LOCALAZURE:{self._core.clock.now():%Y%m%dT%H%M%SZ}:{new_guid()}",
        }  # fmt: skip
        try:
            answer = await self._dispatch(request, headers)
        except ArmError as error:
            if error.gateway:  # The gateway's own answers announce no rate limits.
                headers = {name: text for name, text in headers.items() if "ratelimit" not in name}
                headers["x-ms-failure-cause"] = "gateway"
            headers.update(error.headers)
            answer = Answer(error.status, error.body())
        headers.update(answer.headers)
        if answer.body is None:
            return web.Response(status=answer.status, headers=headers)
        return web.json_response(answer.body, status=answer.status, headers=headers)

    def serves(self, path: str) -> bool:
        """Tell whether there is a GET for this path, so that a resource of that type can exist here."""
        return any(route.method == "GET" and route.pattern.fullmatch(path) for route in self._routes)

    def _match(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        seen = False
        for route in self._routes:
            if match := route.pattern.fullmatch(path):
                seen = True
                if route.method == method:
                    return route, match.groupdict()
        if seen:
            text = f"The requested resource does not support http method '{method}'."
            raise ArmError(405, "HttpMethodNotSupported", text, gateway=True)
        raise ArmError(404, "InvalidResourceType", f"localazure has no operation at '{path}'.", gateway=True)

    async def _dispatch(self, request: web.Request, headers: dict[str, str]) -> Answer:
        core = self._core
        try:
            principal = core.identity.caller(request, ARM_AUDIENCES)
        except InvalidToken as error:
            raise ArmError(401, "InvalidAuthenticationToken", str(error), gateway=True) from error
        # Resource Manager forgives empty segments: `az resource` writes one where a resource has no parent.
        path = re.sub("/{2,}", "/", f"/{request.path.strip('/')}")
        route, params = self._match(request.method, path)
        entry = request[ENTRY]
        entry.operation = route.action
        api_version = {k.lower(): v for k, v in request.query.items()}.get("api-version", "")
        if not api_version:
            raise ArmError(400, "MissingApiVersionParameter",
                           "The api-version query parameter (?api-version=) is required for all requests.",
                           gateway=True)  # fmt: skip
        scope = re.sub(r"\{([^}:]+)(?::path)?\}", lambda m: params[m.group(1)], route.scope)
        scope = "/" + scope.strip("/")
        headers.update(core.throttle.take(route.bucket, scope, principal.object_id))
        body = await _json_body(request)
        call = Call(
            core, request, params, dict(request.query), api_version, principal, scope, route.action, body,
            existed=core.state.get(scope) is not None, correlation_id=headers["x-ms-correlation-request-id"],
        )  # fmt: skip
        self._check_subscription(scope)
        if not route.open and not core.rbac.allows(principal.object_id, route.action, scope):
            raise forbidden(principal, route.action, scope)
        self._check_group(request.method, scope)
        core.restrictions.check(request.method, scope, body)
        reads = request.method in ("GET", "HEAD")
        if reads:
            core.replicas.check(scope, principal)
        answer = await route.handler(call)
        if reads:
            core.replicas.thin_out(answer.body, principal)
        elif request.method == "PUT" and answer.status < 300 and not call.existed:
            core.replicas.made(core.state.get(scope), principal)
        if route.raises_event and answer.status < 300:
            for announce in self.on_success:
                announce(call, answer)
        return answer

    def _check_subscription(self, scope: str) -> None:
        if not scope.lower().startswith("/subscriptions/"):
            return
        name = scope.split("/")[2]
        if self._core.state.get(f"/subscriptions/{name}") is None:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{name}' could not be found.",
                           gateway=True)  # fmt: skip

    def _check_group(self, method: str, scope: str) -> None:
        if not scope.lower().startswith("/subscriptions/"):
            return
        parts = scope.split("/")
        state = self._core.state
        creates_group = method in ("PUT", "HEAD") and len(parts) == 5
        if len(parts) > 4 and parts[3].lower() == "resourcegroups" and not creates_group:
            group = "/".join(parts[:5])
            if state.get(group) is None:
                raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{parts[4]}' could not be found.",
                               gateway=True)  # fmt: skip


async def _json_body(request: web.Request) -> Any:
    raw = await request.read()
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        text = f"The request content was invalid and could not be deserialized: {error}."
        raise ArmError(400, "InvalidRequestContent", text) from error

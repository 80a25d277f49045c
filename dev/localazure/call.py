"""One ARM request as a resource provider sees it, and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from dev.localazure import ids
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.state import Principal, Resource


@dataclass
class Answer:
    """What a provider answers.

    Attributes:
        body: JSON value, or None for an empty body.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One ARM request as a provider sees it.

    Attributes:
        params: Values of the `{placeholders}` of the route, as the caller spelt them.
        scope: The resource id (or scope) that the operation is authorized on.
        action: The ARM action, e.g. `Microsoft.ContainerRegistry/registries/write`.
        body: Parsed JSON body, or None.
        existed: Whether there was a resource at `scope` when the call came in.
        correlation_id: What ARM answers as `x-ms-correlation-request-id` and puts into events.
    """

    core: Core
    request: web.Request
    params: dict[str, str]
    query: dict[str, str]
    api_version: str
    principal: Principal
    scope: str
    action: str
    body: Any
    existed: bool
    correlation_id: str

    @property
    def now(self) -> datetime:
        """The present moment on Azure's clock."""
        return self.core.clock.now()

    def object_body(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            ArmError: 400 if it is anything else.
        """
        if not isinstance(self.body, dict):
            raise ArmError(400, "InvalidRequestContent", "The request content was invalid and could not be "
                           "deserialized: a JSON object is expected.")  # fmt: skip
        return self.body

    def require(self, action: str, scope: str) -> None:
        """Demand a further (linked) permission of the caller.

        Raises:
            ArmError: 403 `LinkedAuthorizationFailed`.
        """
        if not self.core.rbac.allows(self.principal.object_id, action, scope):
            raise ArmError(
                403,
                "LinkedAuthorizationFailed",
                f"The client '{self.principal.app_id}' with object id '{self.principal.object_id}' has permission to "
                f"perform action '{self.action}' on scope '{self.scope}'; however, it does not have permission to "
                f"perform action(s) '{action}' on the linked scope(s) '{scope}' (respectively) or the linked scope(s) "
                "are invalid.",
            )

    def resource(self, resource_id: str | None = None) -> Resource:
        """Return the resource that this call addresses.

        Raises:
            ArmError: 404 `ResourceNotFound`.
        """
        wanted = resource_id or self.scope
        found = self.core.state.get(wanted)
        if found is None:
            parsed = ids.parse(wanted)
            path = "/".join(part for pair in zip(parsed.types, parsed.names, strict=True) for part in pair)
            raise ArmError(
                404,
                "ResourceNotFound",
                f"The Resource '{parsed.namespace}/{path}' under resource group '{parsed.group}' was not found. "
                "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            )
        return found


Handler = Callable[[Call], Awaitable[Answer]]

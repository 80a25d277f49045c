"""Entra ID in small: principals, managed identities of apps and the managed-identity endpoint.

The endpoint speaks the App Service protocol
(https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference): the header
`X-IDENTITY-HEADER` tells which app asks, `client_id` and its siblings which of the app's identities it wants.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from aiohttp import web

from dev.localazure.clock import Clock, iso
from dev.localazure.state import App, Principal, State, new_guid
from dev.localazure.tokens import ARM_AUDIENCES, GRAPH_AUDIENCES, REGISTRY_AUDIENCES, InvalidToken, Tokens

# How a caller names one of the app's user-assigned identities.
_SELECTORS = {
    "client_id": "app_id", "principal_id": "object_id", "object_id": "object_id",
    "mi_res_id": "resource_id", "msi_res_id": "resource_id",
}  # fmt: skip
_ANY_AUDIENCE = (*ARM_AUDIENCES, *GRAPH_AUDIENCES, *REGISTRY_AUDIENCES)


class Identity:
    """The directory and the managed-identity endpoint."""

    def __init__(self, state: State, clock: Clock, tokens: Tokens) -> None:
        """Work on this state.

        Attributes:
            replication: How long the directory takes to know a new principal.
            strict: How long even a role assignment with `principalType`, which makes Azure trust the caller, fails.
        """
        self._state, self._clock, self._tokens = state, clock, tokens
        self.replication = timedelta(0)
        self.strict = timedelta(0)

    def find(self, object_id: str, *, trusted: bool = False) -> Principal | None:
        """Return a principal if the directory knows it by now.

        Args:
            object_id: The principal.
            trusted: The caller vouches for it (`principalType` in a role assignment): wait `strict` only.
        """
        principal = self._state.principals.get(object_id.lower())
        if principal is None:
            return None
        moment = datetime.fromisoformat(principal.visible_at) if principal.visible_at else self._clock.now()
        if trusted and principal.created_at:
            moment = min(moment, datetime.fromisoformat(principal.created_at) + self.strict)
        return principal if moment <= self._clock.now() else None

    def create_principal(self, name: str, *, resource_id: str = "", explicit: bool = False) -> Principal:
        """Create a service principal (for a managed identity if `resource_id` is given)."""
        now = self._clock.now()
        principal = Principal(
            new_guid(), new_guid(), name, resource_id=resource_id, explicit=explicit,
            visible_at=iso(now + self.replication), created_at=iso(now),
        )  # fmt: skip
        self._state.principals[principal.object_id] = principal
        return principal

    def create_user(self, name: str) -> Principal:
        """Create a person by user principal name, e.g. `ada@example.com`."""
        now = iso(self._clock.now())
        user = Principal(new_guid(), "", name, kind="User", visible_at=now, created_at=now)
        self._state.principals[user.object_id] = user
        return user

    def delete_principals_of(self, resource_id: str) -> None:
        """Remove the principals of a deleted resource."""
        for principal in list(self._state.principals.values()):
            if principal.resource_id and principal.resource_id.lower() == resource_id.lower():
                del self._state.principals[principal.object_id]

    def create_app(self, name: str) -> App:
        """Create a workload with a system-assigned identity and a managed-identity endpoint of its own."""
        app = App(name, secrets.token_urlsafe(24))
        app.system_assigned = self.create_principal(name).object_id
        self._state.apps[app.header] = app
        return app

    def assign_user_identity(self, app: App, principal: Principal) -> None:
        """Give an app a user-assigned identity, as an Azure app gets one in its `identity` block."""
        if principal.object_id not in app.user_assigned:
            app.user_assigned.append(principal.object_id)

    def caller(self, request: web.Request, audience: tuple[str, ...]) -> Principal:
        """Return the principal behind a request's bearer token.

        Raises:
            InvalidToken: No token, a bad one, or its principal is gone.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise InvalidToken("Authentication failed. The 'Authorization' header is missing.")
        return self.principal_of(token, audience)

    def principal_of(self, token: str, audience: tuple[str, ...]) -> Principal:
        """Return the principal of an Entra token.

        Raises:
            InvalidToken: The token is bad or its principal is gone.
        """
        claims = self._tokens.verify(token, audience)
        principal = self._state.principals.get(str(claims.get("oid")))
        if principal is None:
            raise InvalidToken("The principal of this token does not exist any more.")
        return principal

    def name_of_caller(self, request: web.Request) -> tuple[str, str]:
        """Return (name, object id) of a request's caller for the journal; empty strings when unknown."""
        try:
            principal = self.caller(request, _ANY_AUDIENCE)
        except InvalidToken:
            return "", ""
        return principal.name, principal.object_id

    async def msi_token(self, request: web.Request) -> web.Response:
        """Answer `GET {IDENTITY_ENDPOINT}?api-version=2019-08-01&resource=…[&client_id=…]`."""
        app = self._state.apps.get(request.headers.get("X-IDENTITY-HEADER", ""))
        if app is None:
            return _refuse(401, "The X-IDENTITY-HEADER does not belong to an app.")
        version = request.query.get("api-version", "")
        if version != "2019-08-01":
            return _refuse(400, f"The api-version '{version}' is not supported; use 2019-08-01.")
        resource = request.query.get("resource", "")
        if not resource:
            return _refuse(400, "The query parameter 'resource' is missing.")
        wanted = {name: request.query[name] for name in _SELECTORS if request.query.get(name)}
        if len(wanted) > 1:
            return _refuse(400, f"Only one of {', '.join(wanted)} can be given.")
        principal = self._choose(app, wanted)
        if principal is None:
            which = "No User Assigned or Delegated Managed Identity" if wanted else "No Managed Identity"
            return _refuse(400, f"{which} found for specified ClientId/ResourceId/PrincipalId.")
        token, expires = self._tokens.for_principal(principal, resource)
        return web.json_response(
            {
                "access_token": token, "expires_on": str(int(expires.timestamp())), "resource": resource,
                "token_type": "Bearer", "client_id": principal.app_id,
            }
        )  # fmt: skip

    def _choose(self, app: App, wanted: dict[str, str]) -> Principal | None:
        principals = self._state.principals
        if not wanted:
            return principals.get(app.system_assigned or "")
        ((selector, text),) = wanted.items()
        field = _SELECTORS[selector]
        candidates = [principals[object_id] for object_id in app.user_assigned if object_id in principals]
        return next((p for p in candidates if str(getattr(p, field)).lower() == text.lower()), None)


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message, "correlationId": new_guid()}, status=status)

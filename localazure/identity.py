"""Entra ID in small: principals, managed identities of apps and the managed-identity endpoint.

The endpoint speaks the App Service protocol
(https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference): the header
`X-IDENTITY-HEADER` tells which app asks, `client_id` and its siblings which of the app's identities it wants.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from localazure.clock import iso
from localazure.state import App, Principal, new_guid
from localazure.tokens import ARM_AUDIENCES, GRAPH_AUDIENCES, REGISTRY_AUDIENCES, InvalidToken

if TYPE_CHECKING:
    from localazure.azure import Azure

_ANY_AUDIENCE = (*ARM_AUDIENCES, *GRAPH_AUDIENCES, *REGISTRY_AUDIENCES)


class Identity:
    """The directory and the managed-identity endpoint."""

    def __init__(self, azure: Azure) -> None:
        """Work on this Azure's state. `replication` is how long the directory takes to know a new principal."""
        self._azure = azure
        self.replication = timedelta(0)

    def create_principal(self, name: str, *, resource_id: str = "", explicit: bool = False) -> Principal:
        """Create a service principal (for a managed identity if `resource_id` is given)."""
        principal = Principal(
            new_guid(), new_guid(), name, resource_id=resource_id, explicit=explicit,
            visible_at=iso(self._azure.clock.now() + self.replication),
        )  # fmt: skip
        self._azure.state.principals[principal.object_id] = principal
        return principal

    def delete_principals_of(self, resource_id: str) -> None:
        """Remove the principals of a deleted resource."""
        for principal in list(self._azure.state.principals.values()):
            if principal.resource_id and principal.resource_id.lower() == resource_id.lower():
                del self._azure.state.principals[principal.object_id]

    def create_app(self, name: str) -> App:
        """Create a workload with a system-assigned identity and a managed-identity endpoint of its own."""
        app = App(name, secrets.token_urlsafe(24))
        app.system_assigned = self.create_principal(name).object_id
        self._azure.state.apps[app.header] = app
        return app

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
        claims = self._azure.tokens.verify(token, audience)
        principal = self._azure.state.principals.get(str(claims.get("oid")))
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
        app = self._azure.state.apps.get(request.headers.get("X-IDENTITY-HEADER", ""))
        if app is None:
            return _refuse(401, "The X-IDENTITY-HEADER does not belong to an app.")
        resource = request.query.get("resource", "")
        if not resource:
            return _refuse(400, "The query parameter 'resource' is missing.")
        principal = self._choose(app, request)
        if principal is None:
            return _refuse(400, "No managed identity of this app matches the request.")
        token, expires = self._azure.tokens.for_principal(principal, resource)
        return web.json_response(
            {
                "access_token": token, "expires_on": str(int(expires.timestamp())), "resource": resource,
                "token_type": "Bearer", "client_id": principal.app_id,
            }
        )  # fmt: skip

    def _choose(self, app: App, request: web.Request) -> Principal | None:
        query, state = request.query, self._azure.state
        wanted = {
            "client_id": query.get("client_id") or query.get("clientid"),
            "object_id": query.get("object_id") or query.get("principal_id"),
            "resource_id": query.get("mi_res_id") or query.get("msi_res_id"),
        }
        if not any(wanted.values()):
            return state.principals.get(app.system_assigned or "")
        candidates = [state.principals.get(oid) for oid in app.user_assigned]
        for principal in candidates:
            if principal and (
                principal.app_id == wanted["client_id"]
                or principal.object_id == wanted["object_id"]
                or (wanted["resource_id"] or "").lower() == principal.resource_id.lower() != ""
            ):
                return principal
        return None


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message, "correlationId": new_guid()}, status=status)

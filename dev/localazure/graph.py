"""Microsoft Graph at graph.microsoft.com: the look-ups that role assignments need, and no more.

Like a real tenant it refuses workloads (https://learn.microsoft.com/graph/permissions-reference): an app's managed
identity has no directory permission unless it is given one, so only users, the owner and `readers` may ask.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from dev.localazure.core import Core
from dev.localazure.state import Principal, new_guid
from dev.localazure.tokens import GRAPH_AUDIENCES, InvalidToken

_METADATA = "https://graph.microsoft.com/v1.0/$metadata#"
_HEADERS = {
    "Content-Type": "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;"
    "charset=utf-8",
    "odata-version": "4.0",
    "cache-control": "no-cache",
    "strict-transport-security": "max-age=31536000",
    "x-ms-resource-unit": "1",
    "x-ms-ags-diagnostic": json.dumps({"ServerInfo": {"DataCenter": "localazure", "Slice": "E", "Ring": "0"}}),
}
_ODATA_TYPES = {"User": "#microsoft.graph.user", "ServicePrincipal": "#microsoft.graph.servicePrincipal"}
_TYPE_NAMES = {"user": "User", "serviceprincipal": "ServicePrincipal"}
_NULLS = (
    "deletedDateTime", "appDisplayName", "appDescription", "applicationTemplateId", "appOwnerOrganizationId",
    "createdByAppId", "description", "disabledByMicrosoftStatus", "homepage", "isDisabled", "loginUrl", "logoutUrl",
    "notes", "preferredSingleSignOnMode", "preferredTokenSigningKeyThumbprint", "samlSingleSignOnSettings",
    "servicePrincipalName", "signInAudience", "tokenEncryptionKeyId",
)  # fmt: skip

_Handler = Callable[[web.Request, "re.Match[str]"], Awaitable[Any]]


class GraphError(Exception):
    """A refusal in Graph's form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """See https://learn.microsoft.com/graph/errors for the codes."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Graph:
    """The directory's API.

    Attributes:
        readers: Object ids of apps that were given permission to read the directory.
    """

    def __init__(self, core: Core) -> None:
        """Show the principals in the state."""
        self._core = core
        self.readers: set[str] = set()
        self._routes: list[tuple[str, re.Pattern[str], _Handler]] = [
            (method, re.compile(f"/(?:v1.0|beta){pattern}", re.IGNORECASE), handler)
            for method, pattern, handler in (
                ("GET", r"/servicePrincipals", self._list("ServicePrincipal", "servicePrincipals")),
                ("GET", r"/servicePrincipals/(?P<id>[^/]+)", self._get),
                ("GET", r"/servicePrincipals\(appId='(?P<id>[^']+)'\)", self._get),
                ("GET", r"/users", self._list("User", "users")),
                ("GET", r"/users/(?P<id>[^/]+)", self._get),
                ("GET", r"/groups", self._list("Group", "groups")),
                ("GET", r"/directoryObjects/(?P<id>[^/]+)", self._get),
                ("POST", r"/directoryObjects/getByIds", self._get_by_ids),
                ("GET", r"/me", self._me),
            )
        ]

    def reset(self) -> None:
        """Take back all permissions."""
        self.readers.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to graph.microsoft.com."""
        headers = {**_HEADERS, "request-id": new_guid(), "client-request-id": new_guid()}
        try:
            status, body = 200, await self._dispatch(request)
            if request.method == "POST":
                headers["location"] = "https://graph.microsoft.com"
        except GraphError as error:
            inner = {"request-id": headers["request-id"], "client-request-id": headers["client-request-id"]}
            status = error.status
            body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    async def _dispatch(self, request: web.Request) -> Any:
        try:
            caller = self._core.identity.caller(request, GRAPH_AUDIENCES)
        except InvalidToken as error:
            raise GraphError(401, "InvalidAuthenticationToken", str(error)) from error
        trusted = self.readers | {self._core.owner.system_assigned}
        if caller.kind != "User" and caller.object_id not in trusted:
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path.rstrip("/"))
            if match and method == request.method:
                return await handler(request, match)
        raise GraphError(400, "BadRequest", f"localazure does not serve {request.method} {request.path}.")

    def _known(self) -> list[Principal]:
        identity = self._core.identity
        return [p for p in self._core.state.principals.values() if identity.find(p.object_id)]

    def _list(self, kind: str, path: str) -> _Handler:
        async def answer(request: web.Request, _: re.Match[str]) -> Any:
            holds = _filter(request.query.get("$filter", ""))
            shown = [self._view(p) for p in self._known() if p.kind == kind and holds(p)]
            return {"@odata.context": f"{_METADATA}{path}", "value": shown}

        return answer

    async def _get(self, _: web.Request, match: re.Match[str]) -> Any:
        wanted = match["id"].lower()
        for principal in self._known():
            if wanted in (principal.object_id, principal.app_id) or (
                principal.kind == "User" and wanted == principal.name.lower()
            ):
                return self._view(principal)
        raise GraphError(
            404, "Request_ResourceNotFound",
            f"Resource '{match['id']}' does not exist or one of its queried reference-property objects are not "
            "present.",
        )  # fmt: skip

    async def _me(self, request: web.Request, _: re.Match[str]) -> Any:
        caller = self._core.identity.caller(request, GRAPH_AUDIENCES)
        if caller.kind != "User":
            raise GraphError(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
        return self._view(caller)

    async def _get_by_ids(self, request: web.Request, _: re.Match[str]) -> Any:
        try:
            body = json.loads(await request.read() or b"{}")
            wanted = {str(object_id).lower() for object_id in body["ids"]}
            kinds = {_TYPE_NAMES.get(str(kind).lower(), "") for kind in body.get("types") or _TYPE_NAMES}
        except (ValueError, KeyError, TypeError) as error:
            raise GraphError(400, "Request_BadRequest", "The body must hold 'ids'.") from error
        shown = [
            {"@odata.type": _ODATA_TYPES[p.kind], **self._view(p)}
            for p in self._known()
            if p.object_id in wanted and p.kind in kinds
        ]
        return {"@odata.context": f"{_METADATA}directoryObjects", "value": shown}

    def _view(self, principal: Principal) -> dict[str, Any]:
        if principal.kind == "User":
            return {
                "id": principal.object_id, "businessPhones": [], "displayName": principal.name.partition("@")[0],
                "givenName": None, "jobTitle": None, "mail": None, "mobilePhone": None, "officeLocation": None,
                "preferredLanguage": None, "surname": None, "userPrincipalName": principal.name,
            }  # fmt: skip
        group = re.sub("/resourceGroups/", "/resourcegroups/", principal.resource_id, flags=re.IGNORECASE)
        mark = base64.b64encode(hashlib.sha256(principal.object_id.encode()).digest()).decode()
        return {
            "id": principal.object_id, **dict.fromkeys(_NULLS), "accountEnabled": True,
            "alternativeNames": [f"isExplicit={principal.explicit}", group] if group else [],
            "appId": principal.app_id, "appRoleAssignmentRequired": False, "createdDateTime": principal.created_at,
            "displayName": principal.name, "notificationEmailAddresses": [], "replyUrls": [],
            "servicePrincipalNames": [principal.app_id, f"https://identity.azure.net/{mark}"],
            "servicePrincipalType": "ManagedIdentity", "tags": [], "info": None, "keyCredentials": [],
            "passwordCredentials": [], "addIns": [], "appRoles": [], "oauth2PermissionScopes": [],
            "resourceSpecificApplicationPermissions": [],
            "verifiedPublisher": {"displayName": None, "verifiedPublisherId": None, "addedDateTime": None},
        }  # fmt: skip


_FILTER = re.compile(
    r"servicePrincipalNames/any\(\s*(?P<v>\w+)\s*:\s*(?P=v)\s+eq\s+'(?P<spn>[^']*)'\s*\)"
    r"|(?P<name>appId|id|displayName|userPrincipalName)\s+eq\s+'(?P<value>[^']*)'"
    r"|startswith\(\s*displayName\s*,\s*'(?P<start>[^']*)'\s*\)",
    re.IGNORECASE,
)


def _filter(text: str) -> Callable[[Principal], bool]:
    """Compile the part of `$filter` that is served.

    Raises:
        GraphError: 400 for anything else.
    """
    if not text:
        return lambda _: True
    match = _FILTER.fullmatch(text.strip())
    if match is None:
        raise GraphError(400, "Request_UnsupportedQuery", f'localazure does not understand the filter "{text}".')
    if match["spn"] is not None:
        wanted = match["spn"].lower()
        return lambda p: p.app_id.lower() == wanted
    if match["start"] is not None:
        start = match["start"].lower()
        return lambda p: p.name.lower().startswith(start)
    field = {"appid": "app_id", "id": "object_id"}.get(match["name"].lower(), "name")
    value = match["value"].lower()
    return lambda p: str(getattr(p, field)).lower() == value


def register(core: Core) -> Graph:
    """Serve graph.microsoft.com."""
    graph = Graph(core)
    core.front.serve("graph.microsoft.com", graph.handle)
    return graph

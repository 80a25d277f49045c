"""Registry tokens: challenge, exchange, scopes (https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

from dev.localazure.core import Core
from dev.localazure.front import ENTRY
from dev.localazure.registry.content import Registries
from dev.localazure.registry.errors import RegistryError, json_response
from dev.localazure.state import Principal, Resource
from dev.localazure.tokens import REGISTRY_AUDIENCES, InvalidToken

NO_USER = "00000000-0000-0000-0000-000000000000"
ANONYMOUS = "acr_anon_pull"

_ISSUER = "Azure Container Registry"
_REFRESH_LIFETIME = timedelta(seconds=11700)
_ACCESS_LIFETIME = timedelta(seconds=4500)
_ANONYMOUS_LIFETIME = timedelta(seconds=1200)
_ACTIONS = ("pull", "push", "delete", "metadata_read", "metadata_write")
_PERMISSIONS = {
    "pull": "read", "push": "write", "delete": "delete", "metadata_read": "metadata/read",
    "metadata_write": "metadata/write",
}  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """What a request needs or a token grants, e.g. `repository:hello-world:pull,push`."""

    type: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        """Return the form of the wire."""
        return f"{self.type}:{self.name}:{','.join(self.actions)}"


CATALOG = Scope("registry", "catalog", ("*",))


def parse_scopes(values: Sequence[str]) -> list[Scope]:
    """Read scopes, repeated or separated by spaces.

    Raises:
        RegistryError: 400 for one that is malformed.
    """
    scopes = []
    for text in " ".join(values).split():
        kind, _, rest = text.partition(":")
        name, separator, actions = rest.rpartition(":")
        if not separator or not name:
            raise RegistryError(400, "SCOPE_INVALID", f"invalid scope '{text}'")
        scopes.append(Scope(kind.partition("(")[0], name, tuple(a for a in actions.split(",") if a)))
    return scopes


class Auth:
    """Issues and checks the tokens of all registries. A token is bound to its principal and its registry."""

    def __init__(self, core: Core, registries: Registries) -> None:
        """Issue what the roles of principals allow in these registries."""
        self._core, self._registries = core, registries

    def refresh_token(self, principal: Principal, registry: Resource) -> str:
        """Return a refresh token.

        Raises:
            RegistryError: 401 when the principal has no right on the registry's data plane.
        """
        rights = [_PERMISSIONS[a] for a in _ACTIONS if self._registries.may(principal, registry, "*", a)]
        if not rights and not self._registries.may(principal, registry, "", "catalog"):
            raise _unauthorized(registry, challenge=False)
        claims = {
            "sub": principal.object_id, "iss": _ISSUER, "aud": _login_server(registry), "version": "1.0",
            "rid": _registry_state(registry), "grant_type": "refresh_token", "appid": principal.app_id,
            "tenant": self._core.state.tenant, "permissions": {"actions": rights}, "roles": [],
        }  # fmt: skip
        return self._core.tokens.sign(claims, _REFRESH_LIFETIME)

    def access_token(self, principal: Principal, registry: Resource, scopes: Sequence[Scope]) -> str:
        """Return an access token for as much of the scopes as the principal may do (possibly nothing)."""
        access = []
        for scope in scopes:
            granted = self._grant(principal, registry, scope)
            if granted:
                access.append({"type": scope.type, "name": scope.name, "actions": granted})
        claims = {
            "sub": principal.object_id, "iss": _ISSUER, "aud": _login_server(registry), "version": "2.0",
            "rid": _registry_state(registry), "grant_type": "access_token", "appid": principal.app_id,
            "access": access, "roles": [],
        }  # fmt: skip
        return self._core.tokens.sign(claims, _ACCESS_LIFETIME)

    def _grant(self, principal: Principal, registry: Resource, scope: Scope) -> list[str]:
        if scope.type == "registry":
            may = scope.name == "catalog" and self._registries.may(principal, registry, "", "catalog")
            return ["*"] if may and "*" in scope.actions else []
        if scope.type != "repository":
            return []
        wanted = _ACTIONS if "*" in scope.actions else scope.actions
        return [a for a in wanted if self._registries.may(principal, registry, scope.name, a)]

    def _anonymous_token(self, registry: Resource) -> str:
        if not registry.properties.get("anonymousPullEnabled"):
            raise _unauthorized(registry, challenge=False)
        claims = {
            "sub": ANONYMOUS, "iss": _ISSUER, "aud": _login_server(registry), "version": "1.0",
            "rid": _registry_state(registry), "grant_type": "access_token",
            "access": [{"Type": "repository", "Name": "*", "Actions": ["pull"]}], "roles": [],
        }  # fmt: skip
        return self._core.tokens.sign(claims, _ANONYMOUS_LIFETIME)

    def _claims(self, token: str, registry: Resource, kind: str) -> dict[str, Any]:
        """Return the claims of a registry token of one kind for this registry in its present state."""
        claims = self._core.tokens.verify(token, _login_server(registry))
        if claims.get("grant_type") != kind or claims.get("rid") != _registry_state(registry):
            raise InvalidToken("The token is of another kind, or the registry changed since it was issued.")
        return claims

    def _principal(self, object_id: str) -> Principal:
        principal = self._core.state.principals.get(object_id)
        if principal is None:
            raise InvalidToken("The principal of this token does not exist any more.")
        return principal

    def _entra(self, token: str, registry: Resource) -> Principal:
        """Return the principal of an Entra token that this registry accepts.

        Tokens for ARM's audience are accepted unless the registry's azureADAuthenticationAsArmPolicy is disabled
        (https://learn.microsoft.com/azure/container-registry/container-registry-disable-authentication-as-arm).
        """
        policy = (registry.properties.get("policies") or {}).get("azureADAuthenticationAsArmPolicy") or {}
        audiences = REGISTRY_AUDIENCES if policy.get("status", "enabled") == "enabled" else REGISTRY_AUDIENCES[:1]
        return self._core.identity.principal_of(token, audiences)

    def log_in(self, user: str, password: str, registry: Resource) -> Principal:
        """Return the principal behind a user name and password as `docker login` sends them.

        The user is the all-zero GUID, the password a refresh token of this registry or an Entra token.

        Raises:
            RegistryError: 401 for anything else.
        """
        try:
            if user != NO_USER:
                raise InvalidToken("localazure has no registry passwords.")
            try:
                return self._principal(self._claims(password, registry, "refresh_token")["sub"])
            except InvalidToken:
                principal = self._entra(password, registry)
                self.refresh_token(principal, registry)
                return principal
        except InvalidToken as error:
            raise _unauthorized(registry, challenge=False) from error

    async def exchange(self, request: web.Request, registry: Resource) -> web.Response:
        """Answer `POST /oauth2/exchange`: an Entra token becomes a refresh token of this registry."""
        form = {key: str(value) for key, value in (await request.post()).items()}
        kind = form.get("grant_type", "")
        if kind not in ("access_token", "access_token_refresh_token", "refresh_token"):
            raise RegistryError(400, "UNSUPPORTED", f"The grant_type '{kind}' is not supported.")
        self._check_service(form, registry)
        token = form.get("refresh_token" if kind == "refresh_token" else "access_token", "")
        try:
            principal = self._entra(token, registry)
        except InvalidToken as error:
            raise _unauthorized(registry, challenge=False) from error
        _note(request, principal)
        headers = {"x-ms-ratelimit-remaining-calls-per-second": "149"}
        return json_response({"refresh_token": self.refresh_token(principal, registry)}, headers=headers)

    async def token(self, request: web.Request, registry: Resource) -> web.Response:
        """Answer `/oauth2/token`: a GET with basic authentication, or a POST with a refresh token or password."""
        if request.method == "GET":
            form, scopes = dict(request.query), request.query.getall("scope", [])
            user, password = _basic(request)
        else:
            posted = await request.post()
            form = {key: str(value) for key, value in posted.items()}
            scopes = [str(value) for value in posted.getall("scope", [])]
            user, password = form.get("username", ""), form.get("password", "")
        self._check_service(form, registry)
        headers = {"x-ms-ratelimit-remaining-calls-per-second": "333.316667"}
        kind = form.get("grant_type", "password")
        if kind == "refresh_token":
            try:
                principal = self._principal(self._claims(form.get("refresh_token", ""), registry, kind)["sub"])
            except InvalidToken as error:
                raise _unauthorized(registry, challenge=False) from error
        elif kind != "password":
            raise RegistryError(400, "UNSUPPORTED", f"The grant_type '{kind}' is not supported.")
        elif not user and not password:
            return json_response({"access_token": self._anonymous_token(registry)}, headers=headers)
        else:
            principal = self.log_in(user, password, registry)
        _note(request, principal)
        token = self.access_token(principal, registry, parse_scopes(scopes))
        return json_response({"access_token": token}, headers=headers)

    def _check_service(self, form: Mapping[str, str], registry: Resource) -> None:
        named = form.get("service", "")
        if named and self._registries.find(named) is not registry:
            raise RegistryError(400, "UNSUPPORTED", f"The service '{named}' is not this registry.")

    def authorize(self, request: web.Request, registry: Resource, *needs: Scope) -> Principal | None:
        """Demand that a request's token grants what it needs and that its principal still may do it.

        Returns:
            The principal, or None for an anonymous pull.

        Raises:
            RegistryError: 401 with the challenge that tells which token is needed.
        """
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            principal = self.log_in(*_basic(request), registry)
            _note(request, principal)
            self._demand(principal, registry, needs, None)
            return principal
        if scheme.lower() != "bearer":
            raise _unauthorized(registry, needs)
        try:
            claims = self._claims(credentials, registry, "access_token")
            if claims["sub"] == ANONYMOUS:
                if not registry.properties.get("anonymousPullEnabled"):
                    raise InvalidToken("Anonymous pull is switched off.")
                if any(need.type != "repository" or set(need.actions) - {"pull"} for need in needs):
                    raise _unauthorized(registry, needs, error="insufficient_scope")
                return None
            principal = self._principal(claims["sub"])
        except InvalidToken as error:
            raise _unauthorized(registry, needs, error="invalid_token") from error
        _note(request, principal)
        self._demand(principal, registry, needs, claims["access"])
        return principal

    def _demand(
        self, principal: Principal, registry: Resource, needs: Sequence[Scope], access: list[dict[str, Any]] | None
    ) -> None:
        for need in needs:
            in_token = access is None or any(
                entry["type"] == need.type
                and entry["name"] in (need.name, "*")
                and set(need.actions) <= set(entry["actions"])
                for entry in access
            )
            if not in_token or len(self._grant(principal, registry, need)) < len(need.actions):
                raise _unauthorized(registry, needs, error="insufficient_scope")


def _unauthorized(
    registry: Resource, needs: Sequence[Scope] = (), *, error: str = "", challenge: bool = True
) -> RegistryError:
    login = _login_server(registry)
    detail = [{"Type": n.type, "Name": n.name, "Action": action} for n in needs for action in n.actions]
    header = f'Bearer realm="https://{login}/oauth2/token",service="{login}"'
    if needs:
        header += f',scope="{" ".join(str(n) for n in needs)}"'
    if error:
        header += f',error="{error}"'
    return RegistryError(
        401, "UNAUTHORIZED",
        "authentication required, visit https://aka.ms/acr/authorization for more information.",
        detail or None, {"WWW-Authenticate": header} if challenge else {},
    )  # fmt: skip


def _login_server(registry: Resource) -> str:
    return str(registry.properties["loginServer"])


def _registry_state(registry: Resource) -> str:
    """Return what tokens are bound to: a registry made anew, or in another mode, takes none of the old ones."""
    properties = registry.properties
    facts = (registry.id.lower(), properties.get("creationDate"), properties.get("roleAssignmentMode"))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _basic(request: web.Request) -> tuple[str, str]:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", "invalid"
    return user, password


def _note(request: web.Request, principal: Principal) -> None:
    """Tell the journal who calls: registry tokens mean nothing to the front."""
    request[ENTRY].caller, request[ENTRY].object_id = principal.name, principal.object_id

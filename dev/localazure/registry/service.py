"""Azure Container Registry's data plane at its host names."""

from __future__ import annotations

import logging

from aiohttp import web
from multidict import CIMultiDict

from dev.localazure.core import Core
from dev.localazure.events import Events
from dev.localazure.front import ENTRY
from dev.localazure.registry import network
from dev.localazure.registry.acr import Metadata
from dev.localazure.registry.auth import Auth
from dev.localazure.registry.content import REGISTRY, Registries
from dev.localazure.registry.errors import PageNotFound, RegistryError
from dev.localazure.registry.v2 import Distribution
from dev.localazure.state import Principal, Resource, new_guid

log = logging.getLogger("localazure.registry")


class RegistryService(Registries):
    """All registries' data planes, at `*.azurecr.io` and in this process."""

    def __init__(self, core: Core, published: Events) -> None:
        """Serve the login servers of the registries in the state."""
        super().__init__(core, published)
        self.auth = Auth(core, self)
        self._distribution = Distribution(self, self.auth)
        self._metadata = Metadata(self, self.auth)
        core.front.serve(".azurecr.io", self.handle)
        core.on_forget.append(self._end_uploads)

    def _end_uploads(self, resource: Resource) -> None:
        if resource.type.lower() == REGISTRY.lower():
            self._distribution.forget(resource)

    def exchange(self, principal: Principal, registry: Resource) -> str:
        """Return an ACR refresh token for a principal.

        Raises:
            RegistryError: 401 when the principal has no right whatever on the registry's data plane.
        """
        return self.auth.refresh_token(principal, registry)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to a login server."""
        host = request.host.split(":")[0].lower()
        registry = self.find(host)
        if registry is None:
            # In Azure the name would not resolve: the client must see a failed connection, not an answer.
            log.warning("no registry has the login server %s", host)
            if request.transport:
                request.transport.abort()
            raise ConnectionResetError(f"no registry at {host}")
        try:
            _check_network(request, registry)
            response = await self._dispatch(request, registry)
        except RegistryError as error:
            response = error.response()
        response.headers.extend(_headers())
        return response

    async def _dispatch(self, request: web.Request, registry: Resource) -> web.StreamResponse:
        path, entry = request.path, request[ENTRY]
        if path == "/oauth2/exchange" and request.method == "POST":
            entry.operation = "token/exchange"
            return await self.auth.exchange(request, registry)
        if path == "/oauth2/token" and request.method in ("GET", "POST"):
            entry.operation = "token/issue"
            return await self.auth.token(request, registry)
        if path == "/v2" or path.startswith("/v2/"):
            return await self._distribution.handle(request, registry)
        if path.startswith("/acr/v1/"):
            return await self._metadata.handle(request, registry)
        raise PageNotFound


def _headers() -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name in ("Docker-Content-Digest", "WWW-Authenticate", "Link", "X-Ms-Correlation-Request-Id"):
        headers.add("access-control-expose-headers", name)
    headers["docker-distribution-api-version"] = "registry/2.0"
    headers["server"] = "AzureContainerRegistry"
    headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"
    headers["x-content-type-options"] = "nosniff"
    headers["x-ms-correlation-request-id"] = new_guid()
    return headers


def _check_network(request: web.Request, registry: Resource) -> None:
    """Refuse what the registry's firewall refuses.

    Raises:
        RegistryError: 403 `DENIED` (https://aka.ms/acr/firewall).
    """
    address = request.remote or "127.0.0.1"
    if not network.admits(registry, address):
        raise RegistryError(403, "DENIED", network.denial(address))

"""login.microsoftonline.com: the discovery documents. Tokens come from the managed-identity endpoint alone.

Shapes: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.state import new_guid

HOST = "login.microsoftonline.com"
_CONFIGURATION = re.compile(r"/([^/]+)/(v2\.0/)?\.well-known/openid-configuration")
_TOKEN = re.compile(r"/([^/]+)/oauth2/(v2\.0/)?token")
_KEYS = re.compile(r"/([^/]+)/discovery/(v2\.0/)?keys")


class Login:
    """The sign-in service as far as clients read about it."""

    def __init__(self, core: Core) -> None:
        """Answer for the tenant in the state."""
        self._core = core

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to login.microsoftonline.com."""
        if match := _CONFIGURATION.fullmatch(request.path):
            return web.json_response(self._configuration(match[1], "v2.0/" if match[2] else ""))
        if request.path == "/common/discovery/instance":
            return web.json_response(self._instances(request.query.get("authorization_endpoint", "")))
        if _KEYS.fullmatch(request.path):
            # Tokens are signed with a secret of this process: nobody else can check them, and nobody has to.
            return web.json_response({"keys": []})
        if _TOKEN.fullmatch(request.path):
            return self._refuse_token()
        return web.Response(status=404, text=f"localazure has nothing at {request.path}\n")

    def _tenant(self, name: str) -> str:
        return self._core.state.tenant if name in ("common", "organizations", "consumers") else name

    def _configuration(self, name: str, version: str) -> dict[str, Any]:
        base, tenant = f"https://{HOST}/{name}", self._tenant(name)
        issuer = f"https://{HOST}/{tenant}/v2.0" if version else f"https://sts.windows.net/{tenant}/"
        return {
            "token_endpoint": f"{base}/oauth2/{version}token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{base}/discovery/{version}keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"], "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"], "issuer": issuer,
            "request_uri_parameter_supported": False, "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "authorization_endpoint": f"{base}/oauth2/{version}authorize",
            "device_authorization_endpoint": f"{base}/oauth2/{version}devicecode", "http_logout_supported": True,
            "frontchannel_logout_supported": True, "end_session_endpoint": f"{base}/oauth2/{version}logout",
            "tenant_region_scope": "WW", "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net", "msgraph_host": "graph.microsoft.com",
            "rbac_url": "https://pas.windows.net",
        }  # fmt: skip

    def _instances(self, authorization_endpoint: str) -> dict[str, Any]:
        match = re.match(r"https://[^/]+/([^/]+)/", authorization_endpoint)
        tenant = match[1] if match else self._core.state.tenant
        return {
            "tenant_discovery_endpoint": f"https://{HOST}/{tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [
                {
                    "preferred_network": HOST, "preferred_cache": "login.windows.net",
                    "aliases": [HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"],
                }
            ],
        }  # fmt: skip

    def _refuse_token(self) -> web.Response:
        trace, correlation = new_guid(), new_guid()
        when = iso(self._core.clock.now(), zulu=True)
        text = (
            "AADSTS7000215: localazure knows no client secrets, certificates or passwords; ask the managed-identity "
            f"endpoint (IDENTITY_ENDPOINT). Trace ID: {trace} Correlation ID: {correlation} Timestamp: {when}"
        )
        body = {
            "error": "invalid_client", "error_description": text, "error_codes": [7000215], "timestamp": when,
            "trace_id": trace, "correlation_id": correlation,
            "error_uri": f"https://{HOST}/error?code=7000215",
        }  # fmt: skip
        return web.json_response(body, status=401)


def register(core: Core) -> Login:
    """Serve login.microsoftonline.com."""
    login = Login(core)
    core.front.serve(HOST, login.handle)
    return login

"""Microsoft.Web/sites in small: function apps that run elsewhere on this machine, under Azure's names for them.

A Functions host is made known through the control endpoint. From then on the site and its functions are ARM resources,
`https://{app}.azurewebsites.net` leads to the host, and Event Grid finds its functions.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from dev.localazure import ids
from dev.localazure.call import Answer, Call
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.state import Resource

SITE = "Microsoft.Web/sites"
FUNCTION = "Microsoft.Web/sites/functions"
_RUNTIME = {"name": "python", "version": "3.13"}
# What aiohttp would add of its own: a type, for one, says that there is a body.
_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "content-length",
                         "content-encoding", "proxy-authorization", "proxy-authenticate"))  # fmt: skip


class Sites:
    """Knows function apps and leads requests to them."""

    def __init__(self, core: Core, gateway: Gateway) -> None:
        """Register the ARM operations and the host names."""
        self._core = core
        self._session: aiohttp.ClientSession | None = None
        route = gateway.route
        sites = "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.Web/sites"
        route("GET", "/subscriptions/{sub}/providers/Microsoft.Web/sites", f"{SITE}/read", self._list_sites)
        route("GET", sites, f"{SITE}/read", self._list_sites)
        route("GET", sites + "/{site}", f"{SITE}/read", self._get)
        route("GET", sites + "/{site}/functions", f"{FUNCTION}/read", self._list_functions)
        route("GET", sites + "/{site}/functions/{function}", f"{FUNCTION}/read", self._get)
        route("POST", sites + "/{site}/stop", f"{SITE}/stop/action", self._stop_site, scope=sites + "/{site}")
        route("POST", sites + "/{site}/start", f"{SITE}/start/action", self._start_site, scope=sites + "/{site}")
        route("POST", sites + "/{site}/host/default/listkeys", f"{SITE}/host/listkeys/action", self._list_keys,
              scope=sites + "/{site}", raises_event=False)  # fmt: skip
        route("PUT", sites + "/{site}/host/default/{kind}/{key}", f"{SITE}/host/functionKeys/write", self._set_key,
              scope=sites + "/{site}", raises_event=False)  # fmt: skip
        route("POST", sites + "/{site}/config/appsettings/list", f"{SITE}/config/list/action", self._settings,
              scope=sites + "/{site}", raises_event=False)  # fmt: skip
        route("PUT", sites + "/{site}/config/appsettings", f"{SITE}/config/write", self._set_settings,
              scope=sites + "/{site}")  # fmt: skip
        route("GET", "/providers/Microsoft.Web/locations/{location}/functionAppStacks",
              "Microsoft.Web/locations/functionAppStacks/read", self._list_stacks, open_to_all=True)  # fmt: skip
        core.front.serve(".azurewebsites.net", self.handle)

    async def stop(self) -> None:
        """Close open connections."""
        if self._session:
            await self._session.close()
        self._session = None

    def register(
        self, resource_id: str, url: str, event_grid_key: str, functions: list[dict[str, str]], function_key: str = "",
        master_key: str = "",
    ) -> Resource:  # fmt: skip
        """Make a Functions host known, or replace what is known of it.

        Args:
            resource_id: The id that the app has in Azure; its resource group must exist.
            url: Where the host listens: http on loopback.
            event_grid_key: Its system key `eventgrid_extension`.
            functions: `{"name", "type"}` of each function, type being that of its trigger binding.
            function_key: Its host key `default`.
            master_key: Its master key, with which its keys can be changed.

        Raises:
            ValueError: The id is not one of a site, its resource group is missing or the URL is not on loopback.
        """
        parsed = ids.parse(resource_id)
        if parsed.type.lower() != SITE.lower():
            raise ValueError(f"resourceId must be one of a {SITE}: {resource_id}")
        group = self._core.state.get(f"/subscriptions/{parsed.subscription}/resourceGroups/{parsed.group}")
        if group is None:
            raise ValueError(f"resource group {parsed.group!r} does not exist; create it first")
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"url must be http on 127.0.0.1: {url}")
        known = self._core.state.get(resource_id)
        for resource in self._core.state.remove(resource_id):
            self._core.forget(resource)
        host = f"{parsed.name.lower()}.azurewebsites.net"
        site = self._core.state.put(Resource(resource_id, SITE, parsed.name, group.location, properties={
            "state": "Running", "hostNames": [host], "enabledHostNames": [host], "defaultHostName": host,
            "serverFarmId": f"{group.id}/providers/Microsoft.Web/serverfarms/{parsed.name}",
            "sku": "FlexConsumption", "reserved": True, "functionAppConfig": {"runtime": _RUNTIME},
            "url": url.rstrip("/"), "eventGridKey": event_grid_key, "functionKey": function_key,
            "masterKey": master_key, "settings": known.properties["settings"] if known else {},
        }))  # fmt: skip
        for function in functions:
            name = function["name"]
            self._core.state.put(Resource(f"{resource_id}/functions/{name}", FUNCTION, f"{parsed.name}/{name}",
                                           properties=dict(function)))  # fmt: skip
        return site

    def known(self) -> list[dict[str, Any]]:
        """Return id, host name, URL and functions of each known site."""
        return [
            {"id": s.id, "host": s.properties["defaultHostName"], "url": s.properties["url"],
             "functions": [f.properties for f in self._core.state.of_type(FUNCTION, s.id)]}
            for s in self._core.state.of_type(SITE)
        ]  # fmt: skip

    def function(self, resource_id: str) -> dict[str, Any] | None:
        """Return name and trigger type of a function by its resource id."""
        found = self._core.state.get(resource_id)
        return found.properties if found is not None and found.type == FUNCTION else None

    def event_grid_url(self, function_id: str) -> str | None:
        """Return the address at which a function takes events, with its key; None if it is not there."""
        function = self.function(function_id)
        site = self._core.state.get(function_id.lower().rpartition("/functions/")[0])
        if function is None or site is None:
            return None
        query = urlencode({"functionName": function["name"], "code": site.properties["eventGridKey"]})
        return f"{site.properties['url']}/runtime/webhooks/eventgrid?{query}"

    def is_stopped(self, function_id: str) -> bool:
        """Tell whether somebody stopped the app of a function."""
        site = self._core.state.get(function_id.lower().rpartition("/functions/")[0])
        return site is not None and _is_stopped(site)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request for `{app}.azurewebsites.net` on to the app's host.

        A stopped app answers 403, one whose host does not answer (it is starting, say) 503:
        https://learn.microsoft.com/archive/blogs/waws/azure-web-apps-error-403-this-web-app-is-stopped
        """
        host = request.host.partition(":")[0].lower()
        site = next((s for s in self._core.state.of_type(SITE) if s.properties["defaultHostName"] == host), None)
        if site is None:
            return web.Response(status=404, text="404 Web Site not found.")
        if _is_stopped(site):
            return web.Response(status=403, text="Error 403 - This web app is stopped.")
        self._session = self._session or aiohttp.ClientSession(auto_decompress=False)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers.update({"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Original-URL": request.path_qs})
        url = site.properties["url"] + request.raw_path
        try:
            async with self._session.request(
                request.method, URL(url, encoded=True), headers=headers, data=await request.read(),
                allow_redirects=False, skip_auto_headers=_ADDED,
            ) as answer:  # fmt: skip
                kept = [(n, v) for n, v in answer.headers.items()
                        if n.lower() not in _HOP_BY_HOP - {"content-encoding"}]  # fmt: skip
                return web.Response(status=answer.status, body=await answer.read(), headers=CIMultiDict(kept))
        except (OSError, aiohttp.ClientError, TimeoutError):
            return web.Response(status=503, text="The service is unavailable.")

    async def _list_sites(self, call: Call) -> Answer:
        scope = call.scope.lower().partition("/providers/")[0]
        return Answer(body={"value": [_view(s) for s in self._core.state.of_type(SITE, scope)]})

    async def _list_functions(self, call: Call) -> Answer:
        site = call.resource(call.scope.rpartition("/")[0])
        return Answer(body={"value": [_view(f) for f in self._core.state.of_type(FUNCTION, site.id)]})

    async def _list_keys(self, call: Call) -> Answer:
        """https://learn.microsoft.com/rest/api/appservice/web-apps/list-host-keys."""
        properties = call.resource(call.scope).properties
        keys = {"functionKeys": {"default": properties["functionKey"]},
                "systemKeys": {"eventgrid_extension": properties["eventGridKey"]}}  # fmt: skip
        return Answer(body={"masterKey": None, **keys})

    async def _set_key(self, call: Call) -> Answer:
        """https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret."""
        properties = call.resource(call.scope).properties
        kind, name = call.params["kind"], call.params["key"]
        value = (call.object_body().get("properties") or {}).get("value")
        self._session = self._session or aiohttp.ClientSession(auto_decompress=False)
        url = f"{properties['url']}/admin/host/{kind.lower()}/{name}"
        headers = {"x-functions-key": properties["masterKey"]}
        body = {"name": name, "value": value} if value else None
        async with self._session.request("PUT" if value else "POST", url, json=body, headers=headers) as reply:
            if reply.status != 200:
                raise ArmError(502, "BadGateway", f"The host answered {reply.status}.")
            key = {"name": name, "value": (await reply.json())["value"]}
        for known, holder in (("default", "functionKey"), ("eventgrid_extension", "eventGridKey")):
            if name == known:
                properties[holder] = key["value"]
        return Answer(body={"id": f"{call.scope}/host/default/{kind}/{name}", "name": name,
                            "type": f"{SITE}/host/{kind}", "properties": key})  # fmt: skip

    async def _settings(self, call: Call) -> Answer:
        """https://learn.microsoft.com/rest/api/appservice/web-apps/list-application-settings."""
        return Answer(body=_settings_view(call.resource(call.scope)))

    async def _set_settings(self, call: Call) -> Answer:
        """Keep the settings (https://learn.microsoft.com/rest/api/appservice/web-apps/update-application-settings).

        Its host is started elsewhere: whoever did restarts it with them.
        """
        site = call.resource(call.scope)
        site.properties["settings"] = dict(call.object_body().get("properties") or {})
        return Answer(body=_settings_view(site))

    async def _list_stacks(self, _: Call) -> Answer:
        """https://learn.microsoft.com/rest/api/appservice/provider/get-function-app-stacks-for-location."""
        supported = {"isSupported": True}
        runtime = {"Sku": [{"skuCode": "FC1"}], "appSettingsDictionary": {"FUNCTIONS_WORKER_RUNTIME": "python"},
                   "appInsightsSettings": supported, "gitHubActionSettings": supported}  # fmt: skip
        minor = {"value": _RUNTIME["version"], "stackSettings": {"linuxRuntimeSettings": runtime}}
        major = {"value": "3", "minorVersions": [minor]}
        return Answer(body={"value": [{"name": _RUNTIME["name"], "properties": {"majorVersions": [major]}}]})

    async def _stop_site(self, call: Call) -> Answer:
        """Stop an app (https://learn.microsoft.com/rest/api/appservice/web-apps/stop). Its host is ended elsewhere."""
        call.resource(call.scope).properties["state"] = "Stopped"
        return Answer()

    async def _start_site(self, call: Call) -> Answer:
        """https://learn.microsoft.com/rest/api/appservice/web-apps/start."""
        call.resource(call.scope).properties["state"] = "Running"
        return Answer()

    async def _get(self, call: Call) -> Answer:
        return Answer(body=_view(call.resource()))


def _is_stopped(site: Resource) -> bool:
    return bool(site.properties["state"] == "Stopped")


def _settings_view(site: Resource) -> dict[str, Any]:
    return {"id": f"{site.id}/config/appsettings", "name": "appsettings", "properties": site.properties["settings"]}


def _view(resource: Resource) -> dict[str, Any]:
    base: dict[str, Any] = {"id": resource.id, "name": resource.name, "type": resource.type}
    if resource.type == FUNCTION:
        name, trigger = resource.properties["name"], resource.properties.get("type", "")
        config = {"name": name, "bindings": [{"type": trigger, "direction": "in"}]}
        return {**base, "properties": {"name": name, "config": config, "isDisabled": False}}
    hidden = ("url", "eventGridKey", "functionKey", "masterKey", "settings")
    shown = {k: v for k, v in resource.properties.items() if k not in hidden}
    return {**base, "kind": "functionapp,linux", "location": resource.location, "properties": shown}

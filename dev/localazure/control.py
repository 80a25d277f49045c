"""The local endpoint: managed-identity tokens for apps, and the controls for tests and demos."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dev.localazure import settings
from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.eventgrid.delivery import EventGrid, dead_letter_container
from dev.localazure.events import Events
from dev.localazure.journal import Entry, Fault
from dev.localazure.restrictions import Restriction
from dev.localazure.sites import Sites
from dev.localazure.state import App, new_guid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


RUN = "Microsoft.ContainerRegistry/registries/runs"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Clock(_Body):
    scale: Annotated[float, Field(gt=0)] | None = None
    advance: Annotated[float, Field(ge=0)] | None = None


class _Latency(_Body):
    seconds: Annotated[float, Field(ge=0)] = 0.0
    jitter: Annotated[float, Field(ge=0)] = 0.0


class _NewApp(_Body):
    name: Annotated[str, Field(min_length=1)]
    systemAssigned: bool = True  # noqa: N815 - the wire's spelling
    userAssigned: list[str] = []  # noqa: N815


class _NewSubscription(_Body):
    subscriptionId: str | None = None  # noqa: N815
    displayName: str = "Another subscription"  # noqa: N815


class _NewEvent(_Body):
    source: Annotated[str, Field(min_length=1)]
    event: dict[str, Any]


class _Function(_Body):
    name: str
    type: str = "eventGridTrigger"


class _NewSite(_Body):
    resourceId: str  # noqa: N815
    url: str
    eventGridKey: str = ""  # noqa: N815
    functionKey: str = ""  # noqa: N815
    masterKey: str = ""  # noqa: N815
    functions: list[_Function] = []


_Model = TypeVar("_Model", bound=_Body)
_FAULT = TypeAdapter(Fault)


class Control:
    """An http server on loopback. Everything under `/control` exists only in this local Azure."""

    def __init__(
        self,
        core: Core,
        events: Events,
        eventgrid: EventGrid,
        sites: Sites,
        environment: Callable[[App], dict[str, str]],
        reset: Callable[[], Awaitable[None]],
    ) -> None:
        """Control what these services do.

        Args:
            core: The state, clock, traffic and restrictions to read and to change.
            events: Where events from outside come in.
            eventgrid: Whose deliveries are shown.
            sites: Where Functions hosts are made known.
            environment: Tells an app's environment variables.
            reset: Brings the empty world back.
        """
        self._core, self._events, self._eventgrid, self._sites = core, events, eventgrid, sites
        self._environment, self._reset_all = environment, reset
        self._runner: web.AppRunner | None = None
        self._initial: settings.Settings = {}
        self.port = 0
        self.app = web.Application(middlewares=[_plain_errors])
        self.app.add_routes(
            [
                web.get("/msi/token", core.identity.msi_token),
                web.get("/control/clock", self._get_clock),
                web.post("/control/clock", self._set_clock),
                web.post("/control/latency", self._set_latency),
                web.get("/control/settings", self._get_settings),
                web.patch("/control/settings", self._patch_settings),
                web.get("/control/faults", self._get_faults),
                web.post("/control/faults", self._add_fault),
                web.delete("/control/faults", self._clear_faults),
                web.get("/control/restrictions", self._get_restrictions),
                web.post("/control/restrictions", self._add_restriction),
                web.delete("/control/restrictions", self._clear_restrictions),
                web.get("/control/journal", self._get_journal),
                web.get("/control/journal/counts", self._get_counts),
                web.delete("/control/journal", self._clear_journal),
                web.get("/control/events", self._get_events),
                web.post("/control/events", self._publish),
                web.get("/control/deliveries", self._get_deliveries),
                web.get("/control/deadletters", self._get_dead_letters),
                web.get("/control/apps", self._get_apps),
                web.post("/control/apps", self._create_app),
                web.get("/control/sites", self._get_sites),
                web.post("/control/sites", self._register_site),
                web.post("/control/subscriptions", self._create_subscription),
                web.delete("/control/subscriptions/{subscription}", self._delete_subscription),
                web.get("/control/state", self._get_state),
                web.get("/control/idle", self._wait_until_idle),
                web.post("/control/reset", self._reset),
            ]
        )

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1."""
        self._initial = settings.read(self._core)
        self._runner = web.AppRunner(self.app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    # -- time, latency, settings -----------------------------------------------------------------------------------

    async def _get_clock(self, _: web.Request) -> web.Response:
        return web.json_response({"now": iso(self._core.clock.now()), "scale": self._core.clock.scale})

    async def _set_clock(self, request: web.Request) -> web.Response:
        body = await _read(request, _Clock)
        if body.scale is not None:
            self._core.clock.set_scale(body.scale)
        if body.advance is not None:
            self._core.clock.advance(body.advance)
        return await self._get_clock(request)

    async def _set_latency(self, request: web.Request) -> web.Response:
        body = await _read(request, _Latency)
        self._core.front.latency, self._core.front.jitter = body.seconds, body.jitter
        return web.json_response(body.model_dump())

    async def _get_settings(self, _: web.Request) -> web.Response:
        return web.json_response(settings.read(self._core))

    async def _patch_settings(self, request: web.Request) -> web.Response:
        settings.change(self._core, await _json(request))
        return await self._get_settings(request)

    # -- faults and journal ----------------------------------------------------------------------------------------

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response([vars(fault) for fault in self._core.front.faults])

    async def _add_fault(self, request: web.Request) -> web.Response:
        body = await _json(request)
        if not isinstance(body, dict):
            raise ValueError("a JSON object is expected")
        if unknown := set(body) - {f.name for f in fields(Fault)}:
            raise ValueError(f"unknown members: {', '.join(sorted(unknown))}")
        for name in ("method", "host", "path", "caller"):
            if body.get(name) is not None:
                _pattern(name, body[name])
        fault = _FAULT.validate_python(body)
        self._core.front.faults.append(fault)
        return web.json_response(vars(fault), status=201)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._core.front.faults.clear()
        return web.Response(status=204)

    async def _get_restrictions(self, _: web.Request) -> web.Response:
        return web.json_response([one.model_dump(by_alias=True) for one in self._core.restrictions.all])

    async def _add_restriction(self, request: web.Request) -> web.Response:
        restriction = Restriction.model_validate(await _json(request))
        self._core.restrictions.all.append(restriction)
        return web.json_response(restriction.model_dump(by_alias=True), status=201)

    async def _clear_restrictions(self, _: web.Request) -> web.Response:
        self._core.restrictions.reset()
        return web.Response(status=204)

    async def _get_journal(self, request: web.Request) -> web.Response:
        match = dict(request.query)
        since = _number(match.pop("since", "0"), "since")
        if unknown := set(match) - {f.name for f in fields(Entry)}:
            raise ValueError(f"entries of the journal have no {', '.join(sorted(unknown))}")
        for name, text in match.items():
            _pattern(name, text)
        entries = list(self._core.journal.since(since, **match))
        return web.json_response({"last": self._core.journal.last, "entries": entries})

    async def _get_counts(self, _: web.Request) -> web.Response:
        return web.json_response(self._core.journal.counts())

    async def _clear_journal(self, _: web.Request) -> web.Response:
        self._core.journal.clear()
        return web.Response(status=204)

    # -- events ----------------------------------------------------------------------------------------------------

    async def _get_events(self, request: web.Request) -> web.Response:
        events = self._events
        return web.json_response({"last": events.count, "events": _newer(request, events.published)})

    async def _publish(self, request: web.Request) -> web.Response:
        """Publish an event as it is; what every event has (id, eventTime) is added only where it is missing."""
        body = await _read(request, _NewEvent)
        now = iso(self._core.clock.now(), zulu=True)
        event = {"id": new_guid(), "eventTime": now, "dataVersion": "1.0", **body.event}
        self._events.publish(body.source, event)
        return web.json_response(event, status=202)

    async def _get_deliveries(self, request: web.Request) -> web.Response:
        grid = self._eventgrid
        body = {"pending": grid.pending, "counts": grid.counts(), "attempts": _newer(request, grid.attempts)}
        return web.json_response(body)

    async def _get_dead_letters(self, _: web.Request) -> web.Response:
        containers = {dead_letter_container(s.properties) for s in self._eventgrid.subscriptions()} - {""}
        blobs = self._core.state.blobs.items()
        letters = [{"blob": path, "events": json.loads(blob.body)} for path, blob in blobs
                   if path.partition("/")[0] in containers and path.endswith(".json")]  # fmt: skip
        return web.json_response(letters)

    # -- apps, sites, subscriptions --------------------------------------------------------------------------------

    def _app_view(self, app: App) -> dict[str, Any]:
        principals = self._core.state.principals
        return {
            "name": app.name, "principalId": app.system_assigned,
            "userAssigned": [principals[p].resource_id for p in app.user_assigned if p in principals],
            "environment": self._environment(app),
        }  # fmt: skip

    async def _get_apps(self, _: web.Request) -> web.Response:
        return web.json_response([self._app_view(app) for app in self._core.state.apps.values()])

    async def _create_app(self, request: web.Request) -> web.Response:
        """Create an app, or give the app of that name further user-assigned identities."""
        body, core = await _read(request, _NewApp), self._core
        found = []
        for resource_id in body.userAssigned:
            wanted = resource_id.rstrip("/").lower()
            principal = next((p for p in core.state.principals.values() if p.resource_id.lower() == wanted), None)
            if principal is None or not principal.explicit:
                raise ValueError(f"userAssigned: there is no user-assigned identity {resource_id}")
            found.append(principal)
        app = next((a for a in core.state.apps.values() if a.name == body.name), None)
        status = 200 if app else 201
        app = app or core.identity.create_app(body.name)
        if status == 201 and not body.systemAssigned:
            del core.state.principals[app.system_assigned or ""]
            app.system_assigned = None
        for principal in found:
            core.identity.assign_user_identity(app, principal)
        return web.json_response(self._app_view(app), status=status)

    async def _get_sites(self, _: web.Request) -> web.Response:
        return web.json_response(self._sites.known())

    async def _register_site(self, request: web.Request) -> web.Response:
        body = await _read(request, _NewSite)
        functions = [function.model_dump() for function in body.functions]
        site = self._sites.register(
            body.resourceId, body.url, body.eventGridKey, functions, body.functionKey, body.masterKey
        )
        return web.json_response({"id": site.id, "host": site.properties["defaultHostName"]}, status=201)

    async def _create_subscription(self, request: web.Request) -> web.Response:
        body = await _read(request, _NewSubscription)
        subscription = body.subscriptionId or new_guid()
        if self._core.state.get(f"/subscriptions/{subscription}"):
            raise ValueError(f"subscription {subscription} exists already")
        created = self._core.create_subscription(subscription, body.displayName)
        return web.json_response({"id": created.id, "subscriptionId": subscription}, status=201)

    async def _delete_subscription(self, request: web.Request) -> web.Response:
        """Delete a subscription with all that is in it, as Azure does some time after it was canceled."""
        name = request.match_info["subscription"]
        if not self._core.state.remove(f"/subscriptions/{name}"):
            raise ValueError(f"there is no subscription {name}")
        return web.Response(status=204)

    # -- the whole -------------------------------------------------------------------------------------------------

    async def _get_state(self, _: web.Request) -> web.Response:
        """Summarise what there is."""
        state = self._core.state
        content = {
            server: {name: {tag.name: tag.digest for tag in repository.tags.values()}
                     for name, repository in registry.repositories.items()}
            for server, registry in state.content.items()
        }  # fmt: skip
        return web.json_response({
            "resources": dict(sorted(Counter(r.type for r in state.resources.values()).items())),
            "principals": len(state.principals), "apps": [app.name for app in state.apps.values()],
            "content": content, "blobs": len(state.blobs), **self._unfinished(),
        })  # fmt: skip

    def _unfinished(self) -> dict[str, int]:
        runs = [r for r in self._core.state.of_type(RUN)
                if r.properties.get("status") in ("Queued", "Started", "Running")]  # fmt: skip
        return {"runs": len(runs), "pendingEvents": self._eventgrid.pending}

    async def _wait_until_idle(self, request: web.Request) -> web.Response:
        """Wait up to `timeout` real seconds until no run is under way and no event waits for its delivery."""
        timeout = float(_number(request.query.get("timeout", "30"), "timeout"))
        try:
            async with asyncio.timeout(timeout):
                while any(self._unfinished().values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)  # polls: runs and deliveries end in many places
        except TimeoutError:
            pass
        left = self._unfinished()
        return web.json_response({"idle": not any(left.values()), **left})

    async def _reset(self, _: web.Request) -> web.Response:
        await self._reset_all()
        settings.change(self._core, self._initial)
        return web.Response(status=204)


@web.middleware
async def _plain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn what is wrong with a request into a sentence with status 400."""
    try:
        return await handler(request)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
        return web.Response(status=400, text=f"{wrong}\n")
    except ValueError as error:
        return web.Response(status=400, text=f"{error}\n")


async def _json(request: web.Request) -> Any:
    raw = await request.read()
    try:
        return json.loads(raw or b"{}")
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


async def _read(request: web.Request, model: type[_Model]) -> _Model:
    return model.model_validate(await _json(request))


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{name} must be a whole number")
    return int(text)


def _pattern(name: str, text: Any) -> None:
    try:
        re.compile(text)
    except (re.error, TypeError) as error:
        raise ValueError(f"{name} is not a regular expression: {error}") from error


def _newer(request: web.Request, items: Any) -> list[dict[str, Any]]:
    since = _number(request.query.get("since", "0"), "since")
    return [item for item in items if item["number"] > since]

"""The host: loads one app, serves it, and stops it in good order."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from dev.functionshost import eventgrid
from dev.functionshost.admin import RUNNING, AdminApi
from dev.functionshost.eventgrid import EventGridWebhook
from dev.functionshost.host_blobs import HostBlobs
from dev.functionshost.http import MAX_REQUEST_BODY, HttpTriggers
from dev.functionshost.invoker import Invoker
from dev.functionshost.keys import DEFAULT_KEY, EVENT_GRID_KEY, Keys
from dev.functionshost.logs import InvocationLog, configure_logging
from dev.functionshost.model import Function
from dev.functionshost.outputs import QueueOutputs
from dev.functionshost.queues import DEFAULT_LEASE
from dev.functionshost.settings import AppSettings, load_app_settings, load_host_json
from dev.functionshost.storage import QueueAccounts
from dev.functionshost.wiring import Wiring
from dev.functionshost.worker import worker_kind
from dev.functionshost.worker_channel import WorkerChannel
from dev.functionshost.worker_messages import Start

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class HostOptions:
    """How to run one app.

    ``queue_lease`` and the two times of grace are seconds; ``port`` 0 takes a free one.
    """

    app_dir: Path
    port: int = 7071
    settings_file: Path | None = None
    keys: Keys = field(default_factory=Keys)
    queue_lease: int = DEFAULT_LEASE
    request_grace: float = 30.0
    grace: float = 10.0
    worker: str = "auto"
    log_json: bool = False


class Host:
    """One app, in a process of its own beside the host's.

    Raises:
        SettingsError: host.json or the settings file cannot be used.
        ModuleNotFoundError: The worker that was asked for is not installed.
    """

    def __init__(self, options: HostOptions) -> None:
        app_dir = options.app_dir
        self._options = options
        skipped = _load_settings(options)
        settings = AppSettings(os.environ)
        host_json = load_host_json(app_dir, settings)

        start = Start(
            app_dir,
            worker_kind(options.worker),
            log_json=options.log_json,
            log_levels=host_json.log_levels,
            debug=settings.get("PYTHON_ENABLE_DEBUG_LOGGING") == "1",
        )
        configure_logging(
            as_json=start.log_json, invocations=InvocationLog(), log_levels=start.log_levels, debug=start.debug
        )
        for name in skipped:
            logger.info("Setting %s of the settings file is not used: the environment has it already", name)

        self.ended = asyncio.Event()
        """The worker crashed too often: the host has to end."""
        self._worker = WorkerChannel(start, self.ended.set)
        self._accounts = QueueAccounts(settings)
        outputs = QueueOutputs(base64_encoded=host_json.queues.base64, notify=lambda url: self.wiring.notify(url))
        host_id = _host_id(settings, app_dir)
        self.wiring = Wiring(
            host_json, settings, self._accounts, outputs, HostBlobs(settings), host_id, options.queue_lease
        )
        self._invoker = Invoker(
            self._worker, outputs.write, host_json.function_timeout, open_telemetry=host_json.open_telemetry
        )
        self._admin = AdminApi(self.wiring, options.keys, self._invoker, host_id)
        self._runner: web.AppRunner | None = None
        self._requests = 0
        self._no_request = asyncio.Event()
        self._no_request.set()
        self.errors: list[str] = []
        """Why the app could not be indexed, empty when it could."""
        self.url = ""

    async def start(self) -> None:
        """Index the app, serve HTTP and begin to listen to queues and timers.

        An app that cannot be indexed has no functions, and the host runs without them, as in Azure.

        Raises:
            OSError: the port is taken.
            WorkerGoneError: the app ends its process whenever it is imported.
        """
        self.wiring.connect(await self._index(), self._invoker)
        self._options.keys.add_functions(route.function.name for route in self.wiring.routes)
        for name, reason in self.wiring.errors.items():
            logger.error("The '%s' function is in error: %s", name, reason)
        await self._serve()
        self.wiring.start()

    async def stop(self) -> None:
        """Close the port, give requests their time, then stop listening and give other invocations theirs.

        Queues are read and timers fire while requests are waited for. Messages whose invocation did not finish stay
        leased and come back when the lease ends.
        """
        if self._runner:
            for site in list(self._runner.sites):
                await site.stop()
            if self._runner.server:
                self._runner.server.pre_shutdown()
        finished = await _within(self._options.request_grace, self._no_request.wait())
        await self.wiring.stop()
        finished &= await _within(self._options.grace, self._settled())
        if not finished:
            logger.warning("%d invocations did not finish in time", self._invoker.running)
        await self._worker.close(gently=finished)
        if self._runner:
            await self._runner.cleanup()
        await self._accounts.close()

    def ready_document(self) -> dict[str, Any]:
        """Return what a program that started the host needs in order to use it."""
        keys = self._options.keys
        return {
            "url": self.url,
            "state": RUNNING,
            "errors": [*self.errors, *(f"{name}: {reason}" for name, reason in self.wiring.errors.items())],
            "masterKey": keys.master,
            "functionKey": keys.host[DEFAULT_KEY],
            "eventGridKey": keys.system[EVENT_GRID_KEY],
            "worker": self._admin.worker_name,
            "pid": os.getpid(),
            "functions": sorted(self.wiring.functions.keys() - self.wiring.disabled),
        }

    async def _index(self) -> list[Function]:
        indexed = await self._worker.start()
        self._admin.worker_name = indexed.worker
        if indexed.error:
            details = indexed.details.rstrip()
            logger.error("Worker failed to index functions, so none is loaded: %s\n%s", indexed.error, details)
            self.errors.append(f"Worker failed to index functions: {indexed.error}")
        elif not indexed.functions:
            logger.warning("No functions found in %s", self._options.app_dir)
        return indexed.functions

    async def _settled(self) -> None:
        await self._invoker.wait_until_idle()
        for listener in self.wiring.listeners:
            await listener.wait_for_running()

    async def _serve(self) -> None:
        keys = self._options.keys
        http = HttpTriggers(self.wiring.routes, self.wiring.disabled, keys, self._invoker)
        webhook = EventGridWebhook(self.wiring.event_grid, keys, self._invoker)

        async def dispatch(request: web.Request) -> web.StreamResponse:
            path = request.path.lower()
            if path == "/admin" or path.startswith("/admin/"):
                return await self._admin.handle(request)
            if path == eventgrid.PATH or path.startswith(f"{eventgrid.PATH}/"):
                return await webhook.handle(request)
            if path == "/" and not any(route.match("") is not None for route in self.wiring.routes):
                return web.Response(text="Your function app is up and running")
            return await http.handle(request)

        async def counted(request: web.Request) -> web.StreamResponse:
            self._requests += 1
            self._no_request.clear()
            try:
                return await dispatch(request)
            except web.HTTPRequestEntityTooLarge:
                return web.Response(status=500)
            finally:
                self._requests -= 1
                if not self._requests:
                    self._no_request.set()

        application = web.Application(client_max_size=MAX_REQUEST_BODY)
        application.router.add_route("*", "/{path:(?s:.*)}", counted)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, ADDRESS, self._options.port).start()
        self.url = f"http://{ADDRESS}:{self._runner.addresses[0][1]}"


async def _within(seconds: float, condition: Coroutine[Any, Any, object]) -> bool:
    """Wait for something, at most so many seconds, and tell whether it came true."""
    try:
        await asyncio.wait_for(condition, seconds)
    except TimeoutError:
        return False
    return True


def _host_id(settings: AppSettings, app_dir: Path) -> str:
    """Return under what name the host keeps its state: the site's, or on a machine one for each app's folder."""
    machine = "".join(filter(str.isalnum, platform.node()))
    local = f"{machine[:20]}-{hashlib.sha256(str(app_dir).encode()).hexdigest()[:8]}"
    return (settings.get("WEBSITE_SITE_NAME") or local).lower()


def _load_settings(options: HostOptions) -> list[str]:
    path = options.settings_file or options.app_dir / "local.settings.json"
    if options.settings_file is None and not path.exists():
        return []
    return load_app_settings(path)

"""The host: loads one app, serves it, and stops it in good order."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from localazure.functions import eventgrid
from localazure.functions.admin import AdminApi
from localazure.functions.eventgrid import EventGridWebhook
from localazure.functions.http import HttpTriggers
from localazure.functions.invoker import Invoker
from localazure.functions.keys import DEFAULT_KEY, EVENT_GRID_KEY, Keys
from localazure.functions.logs import InvocationLog, configure_logging
from localazure.functions.model import Function, IndexingError
from localazure.functions.outputs import QueueOutputs
from localazure.functions.queues import DEFAULT_LEASE
from localazure.functions.settings import AppSettings, load_app_settings, load_host_json
from localazure.functions.storage import QueueAccounts
from localazure.functions.wiring import Wiring
from localazure.functions.worker import AppExitError, AppLoop, create_worker, put_app_on_path

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
MAX_REQUEST_BODY = 210_000_000
"""Bytes; the limit of the Functions host in Azure."""


@dataclass(frozen=True)
class HostOptions:
    """How to run one app.

    ``queue_lease`` and ``grace`` are seconds; ``port`` 0 takes a free one.
    """

    app_dir: Path
    port: int = 7071
    settings_file: Path | None = None
    keys: Keys = field(default_factory=Keys)
    queue_lease: int = DEFAULT_LEASE
    grace: float = 5.0
    worker: str = "auto"
    log_json: bool = False


class Host:
    """One app in one process.

    Raises:
        SettingsError: host.json or the settings file cannot be used.
    """

    def __init__(self, options: HostOptions) -> None:
        app_dir = options.app_dir
        self._options = options
        host_json = load_host_json(app_dir)
        skipped = _load_settings(options)
        settings = AppSettings(os.environ)

        put_app_on_path(app_dir)
        self._worker = create_worker(options.worker)
        self._app_loop = AppLoop()
        invocations = InvocationLog(self._worker.current_invocation_id)
        configure_logging(
            as_json=options.log_json,
            invocations=invocations,
            log_levels=host_json.log_levels,
            debug=settings.get("PYTHON_ENABLE_DEBUG_LOGGING") == "1",
        )
        for name in skipped:
            logger.info("Setting %s of the settings file is not used: the environment has it already", name)

        self._accounts = QueueAccounts(settings)
        outputs = QueueOutputs(base64_encoded=host_json.queues.base64, notify=lambda url: self.wiring.notify(url))
        self.wiring = Wiring(host_json, settings, self._accounts, outputs, options.queue_lease)
        self._invoker = Invoker(
            self._worker, self._app_loop, invocations, outputs.write, timeout=host_json.function_timeout
        )
        self._admin = AdminApi(self.wiring, options.keys, self._invoker, self._worker.name)
        self._runner: web.AppRunner | None = None
        self.url = ""

    @property
    def errors(self) -> list[str]:
        """Return why the app could not be indexed, empty when it could."""
        return self._admin.errors

    async def start(self) -> None:
        """Index the app, serve HTTP and begin to listen to queues and timers.

        An app that cannot be indexed has no functions: the host stays up in state Error, as in Azure.

        Raises:
            OSError: the port is taken.
        """
        self.wiring.connect(await self._index(), self._invoker)
        self._options.keys.add_functions(route.function.name for route in self.wiring.routes)
        for name, reason in self.wiring.errors.items():
            logger.error("The '%s' function is in error: %s", name, reason)
        await self._serve()
        for listener in self.wiring.listeners:
            listener.start()
        for timer in self.wiring.timers.values():
            timer.start()

    async def stop(self) -> bool:
        """Stop listening, give running invocations the grace time, and tell whether all of them finished.

        Messages whose invocation did not finish stay leased and come back when the lease ends.
        """
        deadline = time.monotonic() + self._options.grace
        for timer in self.wiring.timers.values():
            await timer.stop()
        for listener in self.wiring.listeners:
            await listener.stop()
        if self._runner:
            for site in list(self._runner.sites):
                await site.stop()
        finished = await self._invoker.wait_until_idle(max(0.0, deadline - time.monotonic()))
        for listener in self.wiring.listeners:
            finished &= await listener.wait_for_running(max(0.0, deadline - time.monotonic()))
        if not finished:
            logger.warning("%d invocations did not finish in time", self._invoker.running)
            return False
        if self._runner:
            await self._runner.cleanup()
        await self._accounts.close()
        self._app_loop.close()
        return True

    def ready_document(self) -> dict[str, Any]:
        """Return what a program that started the host needs in order to use it."""
        keys = self._options.keys
        return {
            "url": self.url,
            "state": self._admin.state,
            "errors": [*self.errors, *(f"{name}: {reason}" for name, reason in self.wiring.errors.items())],
            "masterKey": keys.master,
            "functionKey": keys.host[DEFAULT_KEY],
            "eventGridKey": keys.system[EVENT_GRID_KEY],
            "worker": self._worker.name,
            "pid": os.getpid(),
            "functions": sorted(self.wiring.functions),
        }

    async def _index(self) -> list[Function]:
        try:
            functions = await self._app_loop.run(self._worker.index(self._options.app_dir))
        except (AppExitError, IndexingError) as error:
            details = getattr(error, "details", "").rstrip()
            logger.error("Worker failed to index functions, so none is loaded: %s\n%s", error, details)
            self._admin.errors.append(f"Worker failed to index functions: {error}")
            return []
        if not functions:
            logger.warning("No functions found in %s", self._options.app_dir)
        return functions

    async def _serve(self) -> None:
        keys = self._options.keys
        http = HttpTriggers(self.wiring.routes, keys, self._invoker)
        webhook = EventGridWebhook(self.wiring.event_grid, keys, self._invoker)

        async def dispatch(request: web.Request) -> web.StreamResponse:
            path = request.path.lower()
            if path == "/admin" or path.startswith("/admin/"):
                return await self._admin.handle(request)
            if self.errors:
                return web.Response(status=503, text="Function host is not running.")
            if path == eventgrid.PATH or path.startswith(f"{eventgrid.PATH}/"):
                return await webhook.handle(request)
            if path == "/" and not any(route.match("") is not None for route in self.wiring.routes):
                return web.Response(text="Your function app is up and running")
            return await http.handle(request)

        application = web.Application(client_max_size=MAX_REQUEST_BODY)
        application.router.add_route("*", "/{path:(?s:.*)}", dispatch)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=self._options.grace)
        await self._runner.setup()
        await web.TCPSite(self._runner, ADDRESS, self._options.port).start()
        self.url = f"http://{ADDRESS}:{self._runner.addresses[0][1]}"


def _load_settings(options: HostOptions) -> list[str]:
    path = options.settings_file or options.app_dir / "local.settings.json"
    if options.settings_file is None and not path.exists():
        return []
    return load_app_settings(path)

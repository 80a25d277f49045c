"""Puts the services together into one local Azure."""

from __future__ import annotations

import inspect
import tempfile
from dataclasses import fields
from pathlib import Path

from dev.localazure import graph, login
from dev.localazure.agent.agent import Agent
from dev.localazure.arm import (
    authorization,
    eventgrid,
    groups,
    identities,
    importing,
    moves,
    operations,
    registries,
    replications,
    runs,
    tags,
    tasks,
    topictypes,
)
from dev.localazure.arm.operations import Operations
from dev.localazure.blobs import Blobs
from dev.localazure.clock import Clock
from dev.localazure.control import Control
from dev.localazure.core import Core
from dev.localazure.eventgrid.delivery import EventGrid
from dev.localazure.events import Events
from dev.localazure.gateway import Gateway
from dev.localazure.persistence import Store
from dev.localazure.proxy import Proxy
from dev.localazure.rbac import OWNER
from dev.localazure.registry.service import RegistryService
from dev.localazure.sites import Sites
from dev.localazure.state import DEFAULT_SUBSCRIPTION, App, State
from dev.localazure.tls import Authority


class Azure(Core):
    """One local Azure: its state, its services and its servers."""

    def __init__(self, clock: Clock | None = None, authority: Authority | None = None) -> None:
        """Assemble the services; nothing listens before `start`. Arguments as for `Core`."""
        super().__init__(clock, authority)
        self._store: Store | None = None
        self.arm = Gateway(self)
        self.operations = Operations(self.clock)
        self.front.serve("management.azure.com", self.arm.handle)
        self.sites = Sites(self, self.arm)
        self.eventgrid = EventGrid(self, self.sites)
        self.events = Events(self, self.eventgrid)
        self.arm.on_success.append(self.events.resource_event)
        self.control = Control(self, self.events, self.eventgrid, self.sites, self.environment, self.reset)
        groups.register(self.arm)
        topictypes.register(self.arm)
        eventgrid.register(self, self.arm, self.eventgrid.endpoints)
        authorization.register(self.arm)
        self.graph = graph.register(self)
        login.register(self)
        operations.register(self.arm, self.operations)
        identities.register(self.arm)
        registries.register(self, self.arm, self.operations)
        moves.register(self.arm, self.operations)
        tags.register(self.arm)
        tasks.register(self.arm)
        self.registries = RegistryService(self, self.events)
        replications.register(self.arm, self.registries)
        importing.register(self.arm, self.operations, self.registries)
        self.blobs = Blobs(self)
        self.agent = Agent(self, self.registries, self.blobs, self.control.app.router)
        runs.register(self.arm, self.agent)

    async def start(self, *, proxy_port: int = 0, control_port: int = 0, data: Path | None = None) -> None:
        """Start all servers on loopback.

        Args:
            proxy_port: Port of the CONNECT proxy; 0 takes a free one.
            control_port: Port of the local endpoint; 0 takes a free one.
            data: Directory to load the state from and to keep it in; None keeps it in memory.

        Raises:
            StoreError: The directory cannot be used.
            OSError: A port is in use.
        """
        if data is not None:
            self._store = Store(data)
            if self._store.load(self):
                self.owner = next(app for app in self.state.apps.values() if app.name == self.owner.name)
        self._folder = tempfile.TemporaryDirectory(prefix="localazure-")
        self.authority.write_bundle(self.ca_bundle)
        await self.front.start()
        self.proxy = Proxy(self.front.port)
        await self.proxy.start(proxy_port)
        await self.control.start(control_port)
        self.eventgrid.resume()
        if self._store:
            self._store.start(self)

    async def stop(self) -> None:
        """Stop all servers and remove the CA certificate."""
        await self.operations.stop()
        await self.agent.stop()
        await self.eventgrid.stop()
        await self.sites.stop()
        await self.control.stop()
        await self.proxy.stop()
        await self.front.stop()
        if self._store:
            await self._store.stop(self)
        if self._folder:
            self._folder.cleanup()

    async def reset(self) -> None:
        """Go back to the empty world with the same owner; ports, clock and settings stay as they are.

        A service that keeps more than the state (buckets, running work) forgets it in a `reset` of its own, which may
        be a coroutine function.
        """
        for service in list(vars(self).values()):
            forget = getattr(service, "reset", None)
            result = forget() if callable(forget) else None
            if inspect.isawaitable(result):
                await result
        owner = self.owner
        principal = self.state.principals[owner.system_assigned or ""]
        for field in fields(State):
            if isinstance(value := getattr(self.state, field.name), dict):
                value.clear()
        owner.user_assigned.clear()
        self.state.apps[owner.header] = owner
        self.state.principals[principal.object_id] = principal
        self.create_subscription(DEFAULT_SUBSCRIPTION, "Local subscription")
        self.grant(principal.object_id, OWNER, "/")
        self.journal.clear()
        self.front.faults.clear()

    def environment(self, app: App | None = None) -> dict[str, str]:
        """Return the environment variables that make any Azure client talk to this Azure as `app` (default: owner)."""
        bundle = str(self.ca_bundle)
        proxy = f"http://127.0.0.1:{self.proxy.port}"
        return {
            "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "CURL_CA_BUNDLE": bundle,
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.control.port}/msi/token",
            "IDENTITY_HEADER": (app or self.owner).header,
            "LOCALAZURE_CONTROL": f"http://127.0.0.1:{self.control.port}",
        }  # fmt: skip

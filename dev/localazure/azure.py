"""Puts the services together into one local Azure."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from dev.localazure import graph, login
from dev.localazure.agent.agent import Agent
from dev.localazure.arm import (
    authorization,
    eventgrid,
    groups,
    identities,
    moves,
    operations,
    registries,
    runs,
    tags,
    tasks,
    topictypes,
)
from dev.localazure.arm.gateway import Gateway
from dev.localazure.arm.restrictions import Restrictions
from dev.localazure.blobs import Blobs
from dev.localazure.clock import Clock, iso
from dev.localazure.control import Control
from dev.localazure.eventgrid.delivery import EventGrid
from dev.localazure.events import Events
from dev.localazure.front import Front
from dev.localazure.identity import Identity
from dev.localazure.journal import Journal
from dev.localazure.persistence import Store
from dev.localazure.proxy import Proxy
from dev.localazure.rbac import OWNER, ROLE_ASSIGNMENT, Rbac
from dev.localazure.registry.service import RegistryService
from dev.localazure.sites import Sites
from dev.localazure.state import DEFAULT_SUBSCRIPTION, App, Resource, State, new_guid
from dev.localazure.throttle import Throttle
from dev.localazure.tls import Authority
from dev.localazure.tokens import Tokens


class Azure:
    """One local Azure: its state, its services and its servers.

    Services reach each other through this object. `owner` is the workload that set it up: it is Owner of
    everything, as the person who creates a subscription is.
    """

    def __init__(self, clock: Clock | None = None, authority: Authority | None = None) -> None:
        """Assemble the services around an empty state; nothing listens before `start`.

        Args:
            clock: Azure's clock (default: real time).
            authority: The certificate authority. Clients read its bundle once, when their HTTP library is imported,
                so tests that share a process make it first and hand it to every Azure.
        """
        self.clock = clock or Clock()
        self.state = State()
        self.journal = Journal()
        self.tokens = Tokens(self.clock, self.state.tenant)
        self.rbac = Rbac(self.state, self.clock)
        self.identity = Identity(self)
        self.throttle = Throttle(self.clock)
        self.events = Events(self)
        self.restrictions = Restrictions()
        self.arm = Gateway(self)
        self.operations = operations.Operations(self)
        self.authority = authority or Authority()
        self.front = Front(self)
        self.proxy = Proxy(0)
        self.control = Control(self)
        self.on_forget: list[Callable[[Resource], None]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._store: Store | None = None
        self.front.serve("management.azure.com", self.arm.handle)
        self.eventgrid = EventGrid(self)
        self.sites = Sites(self)
        groups.register(self)
        topictypes.register(self)
        eventgrid.register(self)
        authorization.register(self)
        self.graph = graph.register(self)
        login.register(self)
        operations.register(self)
        identities.register(self)
        registries.register(self)
        moves.register(self)
        tags.register(self)
        tasks.register(self)
        self.registries = RegistryService(self)
        self.blobs = Blobs(self)
        self.agent = Agent(self)
        runs.register(self)
        self.owner = self._create_world()

    def _create_world(self) -> App:
        self.create_subscription(DEFAULT_SUBSCRIPTION, "Local subscription")
        owner = self.identity.create_app("owner")
        assert owner.system_assigned  # noqa: S101 - create_app always makes one
        self.grant(owner.system_assigned, OWNER, "/")
        return owner

    def create_subscription(self, subscription: str, name: str) -> Resource:
        """Create an empty subscription."""
        resource_id = f"/subscriptions/{subscription}"
        return self.state.put(
            Resource(resource_id, groups.SUBSCRIPTION, subscription, properties={"displayName": name})
        )

    def grant(self, object_id: str, role: str, scope: str) -> Resource:
        """Assign a role at once, past ARM and with no delay (for setting the scene)."""
        name, now = new_guid(), iso(self.clock.now())
        prefix = "" if scope == "/" else scope
        return self.state.put(
            Resource(
                f"{prefix}/providers/{ROLE_ASSIGNMENT}/{name}", ROLE_ASSIGNMENT, name,
                properties={
                    "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
                    "principalId": object_id, "principalType": "ServicePrincipal", "scope": scope,
                    "condition": None, "conditionVersion": None, "createdOn": now, "updatedOn": now,
                    "effectiveAt": now,
                },
            )
        )  # fmt: skip

    def forget(self, resource: Resource) -> None:
        """Clean up behind a removed resource: its principals, data plane, … (services add to `on_forget`)."""
        self.identity.delete_principals_of(resource.id)
        for clean_up in self.on_forget:
            clean_up(resource)

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

    @property
    def ca_bundle(self) -> Path:
        """Where the CA certificate lies while servers run."""
        if self._folder is None:
            raise RuntimeError("localazure is not running")
        return Path(self._folder.name) / "ca.pem"

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

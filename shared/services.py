"""What the handlers work with: settings, policy, fleet, Azure, queues and ledger, made on first use."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from azure.mgmt.core.tools import parse_resource_id

from shared import policy as policies
from shared import settings as all_settings
from shared.arm import Arm
from shared.clients import Clients
from shared.errors import ConfigurationError
from shared.ledger import Ledger
from shared.policy import Policy
from shared.queues import Queues
from shared.registries import Registry
from shared.settings import Settings

APP_FOLDER = Path(__file__).resolve().parent.parent


class Fleet:
    """All registries of the configured subscriptions, listed at most once in `seconds`, by one caller at a time."""

    def __init__(self, arm: Arm, subscriptions: tuple[str, ...], seconds: float) -> None:
        self._arm, self._subscriptions, self._seconds = arm, subscriptions, seconds
        self._lock = asyncio.Lock()
        self._listed: tuple[float, tuple[Registry, ...]] | None = None
        self._by_id: dict[str, tuple[float, Registry | None]] = {}

    async def registries(self, *, fresh: bool = False) -> tuple[Registry, ...]:
        """Return all registries; `fresh` lists them now."""
        asked = time.monotonic()
        async with self._lock:
            if self._listed and (self._listed[0] >= asked or (not fresh and asked - self._listed[0] < self._seconds)):
                return self._listed[1]
            lists = await asyncio.gather(*(self._arm.list_registries(s) for s in self._subscriptions))
            self._listed = time.monotonic(), tuple(registry for found in lists for registry in found)
            return self._listed[1]

    async def find(self, name: str) -> Registry | None:
        """Return the registry with this name or ARM id, in any casing; one that is not known is looked for afresh."""
        if "/" in name:
            return await self._find_by_id(name)
        for fresh in (False, True):
            for registry in await self.registries(fresh=fresh):
                if registry.name.lower() == name.lower():
                    return registry
        return None

    async def _find_by_id(self, resource_id: str) -> Registry | None:
        listed = self._by_id.get(resource_id.lower())
        if listed and time.monotonic() - listed[0] < self._seconds:
            return listed[1]
        parts = parse_resource_id(resource_id)
        found = await self._arm.get_registry(
            str(parts["subscription"]), str(parts["resource_group"]), str(parts["name"])
        )
        self._by_id[resource_id.lower()] = time.monotonic(), found
        return found


class Services:
    """The app's connections. One object serves all invocations of a worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clients = Clients(settings)
        self.arm = Arm(self.clients)
        self.queues = Queues(self.clients)
        self.ledger = Ledger(self.clients, settings.ledger_table)
        self.fleet = Fleet(self.arm, settings.subscriptions, settings.fleet_cache_seconds)

    @property
    def policy(self) -> Policy:
        """The policy, read again when its file has changed.

        Raises:
            ConfigurationError: It is missing or wrong.
        """
        return policies.load(APP_FOLDER / self.settings.policy)

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    async def base_registry(self, policy: Policy) -> Registry:
        """Return the base registry that the policy names.

        Raises:
            ConfigurationError: The app cannot see such a registry.
        """
        base = await self.fleet.find(policy.base_registry)
        if base is None:
            raise ConfigurationError(
                f"The base registry {policy.base_registry!r} does not exist in the subscriptions "
                f"{', '.join(self.settings.subscriptions)}, or the app may not read it: see baseRegistry in the "
                "policy, GROUNDSWELL_SUBSCRIPTIONS, and the roles in infra/app-roles.json."
            )
        return base

    async def close(self) -> None:
        """Close all connections."""
        await self.clients.close()


_current: Services | None = None


def current() -> Services:
    """Return the worker's services. Nothing is read or connected before the first call.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """
    global _current
    if _current is None:
        _current = Services(all_settings.load())
    return _current

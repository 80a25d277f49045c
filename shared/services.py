"""What the handlers work with: settings, policy, fleet, Azure, queues and ledger, made on first use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared import settings as all_settings
from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.cache import Cache
from shared.adapters.clients import Clients
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Ledger
from shared.adapters.policy_file import PolicyFile
from shared.adapters.queues import Queues
from shared.adapters.registry_images import RegistryImages
from shared.adapters.run_logs import RunLogs
from shared.domain.errors import ConfigurationError
from shared.domain.images import BaseImage
from shared.domain.pacing import Pacer
from shared.domain.policy import Policy
from shared.domain.registries import Registry
from shared.settings import Settings

_NEWEST_SECONDS = 2.0
APP_FOLDER = Path(__file__).resolve().parent.parent


class Services:
    """The app's connections. One object serves all invocations of a worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._policy = PolicyFile(APP_FOLDER / settings.policy)
        self.pacer = Pacer()
        self.clients = Clients(settings, self.pacer)
        self.arm = Arm(self.clients)
        self.images = RegistryImages(self.clients)
        self.run_logs = RunLogs(self.arm)
        self.queues = Queues(self.clients)
        self.ledger = Ledger(self.clients, settings.ledger_table, timedelta(seconds=settings.claim_seconds))
        self._newest: Cache[tuple[str, datetime] | None] = Cache(_NEWEST_SECONDS)
        self.fleet = Fleet(self.arm, settings.subscriptions, settings.fleet_cache_seconds)

    @property
    def policy(self) -> Policy:
        """The policy, read again when its file has changed.

        Raises:
            ConfigurationError: It is missing or wrong.
        """
        return self._policy.load()

    async def newest(self, image: BaseImage) -> tuple[str, datetime] | None:
        """Return the newest digest that was pushed under an image's tag and when; a few seconds old at the most."""
        return await self._newest.get(image.name, lambda: self.ledger.newest(image))

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
                f"The base registry {policy.base_registry!r} does not exist in the subscriptions that Groundswell "
                "watches, or the app may not read it: see baseRegistry in the policy, GROUNDSWELL_SUBSCRIPTIONS, and "
                "the roles in infra/app-roles.json."
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
        with telemetry.preparing("settings"):
            _current = Services(all_settings.load())
    return _current

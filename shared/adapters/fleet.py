"""The fleet as lists tell it: registries, tasks, role assignments, read in a few pages for all and reused for seconds.

A thousand registries cost a handful of reads this way; asked for one by one they would cost several each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.azure_errors import NONSENSE
from shared.adapters.cache import Cache
from shared.domain.desired import UserIdentity
from shared.domain.errors import ConfigurationError, GroundswellError, PermanentError, TemporaryError, all_of
from shared.domain.grants import Assignments
from shared.domain.moments import moment
from shared.domain.policy import SPEC_TAG, Policy
from shared.domain.registries import Registry, RegistryId
from shared.logs import Log
from shared.together import both

log = Log("fleet")


@dataclass(frozen=True)
class ListedTask:
    """A task as the list of a subscription's resources shows it: no content, but what Groundswell wrote on its tag.

    Attributes:
        tags: Its ARM tags.
        principal_id: Principal of its system-assigned identity, or "".
        modified: Its last change, as far as the list knows (it may lag by minutes).
    """

    id: str
    tags: Mapping[str, str]
    principal_id: str
    modified: datetime | None

    @property
    def spec(self) -> str:
        """Fingerprint of the task that Groundswell wrote, or ""."""
        return self.tags.get(SPEC_TAG, "")


@dataclass(frozen=True)
class Listing:
    """The registries of those subscriptions that could be read, and why the others could not."""

    registries: tuple[Registry, ...]
    read: tuple[str, ...]
    unread: Mapping[str, GroundswellError]


class Fleet:
    """Lists, each read at most once in `seconds`."""

    def __init__(
        self, arm: Arm, subscriptions: tuple[str, ...], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._arm = arm
        # Each once, however it is spelt.
        self._subscriptions = tuple({subscription.lower(): subscription for subscription in subscriptions}.values())
        self._registries: Cache[Mapping[str, Registry]] = Cache(seconds, clock)
        self._registry: Cache[Registry | None] = Cache(seconds, clock)
        self._tasks: Cache[Mapping[str, ListedTask]] = Cache(seconds, clock)
        self._assignments: Cache[Assignments] = Cache(seconds, clock)
        self._identities: Cache[UserIdentity | None] = Cache(seconds, clock)
        self._states: Cache[Mapping[str, str]] = Cache(seconds, clock)
        self._places: dict[str, str] = {}
        self._unread: dict[str, GroundswellError] = {}
        self._disabled: dict[str, GroundswellError] = {}

    @property
    def unread(self) -> Mapping[str, GroundswellError]:
        """The subscriptions that could not be read, or are disabled, as of the last attempt at each, and why."""
        return {**self._disabled, **self._unread}

    async def registries(self, *, max_age: float | None = None) -> tuple[Registry, ...]:
        """Return all registries of the subscriptions that can be read, from lists not older than `max_age` seconds."""
        return (await self._look(self._subscriptions, max_age)).registries

    async def listing(self, subscriptions: tuple[str, ...] | None = None, *, max_age: float | None = None) -> Listing:
        """Return the registries that can be rebuilt: of all subscriptions, or of those of these that are watched.

        A subscription that cannot be read, or that is disabled, keeps no other from being listed.
        """
        among = {s.lower() for s in subscriptions} if subscriptions is not None else None
        wanted = tuple(s for s in self._subscriptions if among is None or s.lower() in among)
        found, states = await both(self._look(wanted, max_age), self._subscription_states(max_age))
        for subscription in wanted:
            # Its resources can be read, and nothing else
            # (https://learn.microsoft.com/azure/cost-management-billing/manage/subscription-states).
            if states.get(subscription.lower()) in ("Disabled", "Deleted"):
                text = (
                    f"Subscription {subscription} is disabled: enable it, or take it out of GROUNDSWELL_SUBSCRIPTIONS."
                )
                self._disabled[subscription] = self._failed(subscription, PermanentError(text))
            else:
                self._disabled.pop(subscription, None)
        unread = {s: error for s, error in {**self._disabled, **found.unread}.items() if s in wanted}
        read = tuple(s for s in found.read if s not in unread)
        among = {s.lower() for s in read}
        return Listing(tuple(r for r in found.registries if r.subscription.lower() in among), read, unread)

    async def _look(self, subscriptions: tuple[str, ...], max_age: float | None = None) -> Listing:
        """Read the lists of these subscriptions, each for itself."""

        async def read(subscription: str) -> Mapping[str, Registry] | GroundswellError:
            try:
                return await self._of(subscription, max_age)
            except GroundswellError as error:
                return error

        found = dict(zip(subscriptions, await asyncio.gather(*map(read, subscriptions)), strict=True))
        unread = {s: result for s, result in found.items() if isinstance(result, GroundswellError)}
        lists = {s: result.values() for s, result in found.items() if not isinstance(result, GroundswellError)}
        return Listing(tuple(registry for known in lists.values() for registry in known), tuple(lists), unread)

    async def _of(self, subscription: str, max_age: float | None = None) -> Mapping[str, Registry]:
        """Return a subscription's registries by their ids in lower case."""

        async def make() -> Mapping[str, Registry]:
            try:
                found = await self._arm.list_registries(subscription)
            except GroundswellError as error:
                self._unread[subscription] = self._failed(subscription, error)
                raise
            self._unread.pop(subscription, None)
            return {registry.id.lower(): registry for registry in found}

        return await self._registries.get(subscription.lower(), make, max_age=max_age)

    @staticmethod
    def _failed(subscription: str, error: GroundswellError) -> GroundswellError:
        telemetry.part_failed("subscription", subscription, error)
        log.warning("subscription fails", subscription=subscription, reason=error)
        return error

    async def _subscription_states(self, max_age: float | None) -> Mapping[str, str]:
        """Return the states of subscriptions; empty if they cannot be read: a write finds out as well.

        Where there is but one, no other has to go on without it.
        """
        if len(self._subscriptions) == 1:
            return {}
        try:
            return await self._states.get("", self._arm.subscription_states, max_age=max_age)
        except GroundswellError as error:
            log.info("states of subscriptions not read", reason=error)
            return {}

    async def find(self, name: str, *, fresh: bool = False) -> Registry | None:
        """Return the registry with this name or ARM id, in any casing; one that is not listed is looked for afresh.

        Args:
            fresh: Of an ARM id: look it up now.

        Raises:
            GroundswellError: It is not in what could be read, and not everything could be.
        """
        wanted = name.lower()
        if "/" not in name:
            return (await self._find_by_name(wanted))[0]
        own = next((s for s in self._subscriptions if f"/subscriptions/{s}/".lower() in wanted), None)
        if own and not fresh:
            with suppress(GroundswellError):  # The list only saves calls.
                if known := (await self._of(own)).get(wanted):
                    return known
        return await self._registry.get(wanted, lambda: self._get(name), max_age=0 if fresh else None)

    async def _find_by_name(self, wanted: str) -> tuple[Registry | None, bool]:
        """Return a registry, and whether it was read at this moment."""
        # First where it was found before, so that no other subscription is asked on its behalf.
        place = tuple(s for s in self._subscriptions if s.lower() == self._places.get(wanted))
        for subscriptions, age in ((place, None), (self._subscriptions, None), (self._subscriptions, 0.0)):
            found = await self._look(subscriptions, age)
            for registry in found.registries:
                if registry.name.lower() == wanted:
                    self._places[wanted] = registry.subscription.lower()
                    return registry, age is not None
        if found.unread:
            # It may be there all the same.
            raise all_of(f"{wanted!r} is not among the registries that could be read.", found.unread)
        return None, True

    async def base(self, policy: Policy) -> Registry:
        """Return the base registry that a policy names.

        Raises:
            ConfigurationError: The app cannot see such a registry.
        """
        base = await self.find(policy.base_registry)
        if base is None:
            raise ConfigurationError(
                f"The base registry {policy.base_registry!r} does not exist in the subscriptions that Groundswell "
                "watches, or the app may not read it: see baseRegistry in the policy, GROUNDSWELL_SUBSCRIPTIONS, and "
                "the roles in infra/app-roles.json."
            )
        return base

    async def base_or_why_not(self, policy: Policy) -> tuple[Registry | None, GroundswellError | None]:
        """Return the base registry, or why it cannot be read: much can be done and shown without it.

        Raises:
            ConfigurationError: There is no such registry.
        """
        try:
            return await self.base(policy), None
        except (PermanentError, TemporaryError) as error:
            return None, error

    async def find_now(self, name: str) -> Registry | None:
        """Return the registry with this name as it is at this moment, with its tags; one read if the list is known.

        Raises:
            GroundswellError: It is not in what could be read, and not everything could be.
        """
        known, fresh = await self._find_by_name(name.lower())
        if known is None or fresh:
            return known
        return await self._arm.get_registry(known.address)

    async def _get(self, resource_id: str) -> Registry | None:
        try:
            address = RegistryId.parse(resource_id)
        except ValueError:  # No registry can have it.
            return None
        return await self._arm.get_registry(address)

    async def task(self, registry: Registry, name: str) -> ListedTask | None:
        """Return a task as the list shows it, or None if it is not listed (yet)."""

        async def make() -> Mapping[str, ListedTask]:
            found = {}
            for item in await self._arm.list_tasks(registry.subscription):
                with suppress(*NONSENSE):  # One that is not listed is looked at closely.
                    found[str(item["id"]).lower()] = _listed_task(item)
            return found

        tasks = await self._tasks.get(registry.subscription.lower(), make)
        return tasks.get(f"{registry.id}/tasks/{name}".lower())

    async def assignments(self, scope: str) -> Assignments:
        """Return the role assignments that apply at a scope or below it."""
        return await self._assignments.get(scope.lower(), lambda: self._arm.assignments(scope))

    async def identity(self, subscription: str, group: str, name: str, *, fresh: bool = False) -> UserIdentity | None:
        """Return a user-assigned identity, or None if it does not exist."""
        key = f"{subscription}/{group}/{name}".lower()
        age = 0.0 if fresh else None
        found = await self._identities.get(key, lambda: self._arm.get_identity(subscription, group, name), max_age=age)
        if found is None:
            # Somebody is about to create it.
            self._identities.forget(key)
        return found

    def created(self, subscription: str, group: str, name: str, identity: UserIdentity) -> None:
        """Note an identity that was created: nobody has to look for it any more."""
        self._identities.put(f"{subscription}/{group}/{name}".lower(), identity)


def _listed_task(item: Mapping[str, Any]) -> ListedTask:
    identity, system = item.get("identity") or {}, item.get("systemData") or {}
    tags = {str(key): str(value or "") for key, value in (item.get("tags") or {}).items()}
    return ListedTask(
        str(item["id"]), tags, str(identity.get("principalId") or ""), moment(system.get("lastModifiedAt"))
    )

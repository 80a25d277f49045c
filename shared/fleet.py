"""The fleet as lists tell it: registries, tasks, role assignments, read in a few pages for all and reused for seconds.

A thousand registries cost a handful of reads this way; asked for one by one they would cost several each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from azure.mgmt.core.tools import parse_resource_id

from shared.arm import Arm, Assignments
from shared.cache import Cache
from shared.desired import UserIdentity
from shared.policy import SPEC_TAG
from shared.registries import Registry


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


class Fleet:
    """Lists, each read at most once in `seconds`."""

    def __init__(self, arm: Arm, subscriptions: tuple[str, ...], seconds: float) -> None:
        self._arm, self._subscriptions = arm, subscriptions
        self._registries: Cache[Mapping[str, Registry]] = Cache(seconds)
        self._registry: Cache[Registry | None] = Cache(seconds)
        self._tasks: Cache[Mapping[str, ListedTask]] = Cache(seconds)
        self._assignments: Cache[Assignments] = Cache(seconds)
        self._identities: Cache[UserIdentity | None] = Cache(seconds)

    async def registries(self, *, max_age: float | None = None) -> tuple[Registry, ...]:
        """Return all registries of the configured subscriptions, from a list not older than `max_age` seconds."""
        return tuple((await self._by_id(max_age)).values())

    async def _by_id(self, max_age: float | None = None) -> Mapping[str, Registry]:
        async def make() -> Mapping[str, Registry]:
            lists = await asyncio.gather(*(self._arm.list_registries(s) for s in self._subscriptions))
            return {registry.id.lower(): registry for found in lists for registry in found}

        return await self._registries.get("", make, max_age=max_age)

    async def find(self, name: str, *, fresh: bool = False) -> Registry | None:
        """Return the registry with this name or ARM id, in any casing; one that is not listed is looked for afresh.

        Args:
            fresh: Of an ARM id: look it up now.
        """
        wanted = name.lower()
        if "/" not in name:
            for age in (None, 0.0):
                for registry in await self.registries(max_age=age):
                    if registry.name.lower() == wanted:
                        return registry
            return None
        if not fresh and any(f"/subscriptions/{s}/".lower() in wanted for s in self._subscriptions):
            known = (await self._by_id()).get(wanted)
            if known:
                return known
        return await self._registry.get(wanted, lambda: self._get(name), max_age=0 if fresh else None)

    async def find_now(self, name: str) -> Registry | None:
        """Return the registry with this name as it is at this moment, with its tags; one read if the list is known."""
        listed = {registry.name.lower(): registry for registry in await self.registries()}
        if known := listed.get(name.lower()):
            return await self._arm.get_registry(known.subscription, known.group, known.name)
        fresh = await self.registries(max_age=0)
        return next((registry for registry in fresh if registry.name.lower() == name.lower()), None)

    async def _get(self, resource_id: str) -> Registry | None:
        parts = parse_resource_id(resource_id)
        return await self._arm.get_registry(
            str(parts["subscription"]), str(parts["resource_group"]), str(parts["name"])
        )

    async def task(self, registry: Registry, name: str) -> ListedTask | None:
        """Return a task as the list shows it, or None if it is not listed (yet)."""

        async def make() -> Mapping[str, ListedTask]:
            found = {}
            for item in await self._arm.list_tasks(registry.subscription):
                identity, system = item.get("identity") or {}, item.get("systemData") or {}
                stamp = system.get("lastModifiedAt")
                found[str(item["id"]).lower()] = ListedTask(
                    str(item["id"]), item.get("tags") or {},
                    str(identity.get("principalId") or ""), datetime.fromisoformat(stamp) if stamp else None,
                )  # fmt: skip
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

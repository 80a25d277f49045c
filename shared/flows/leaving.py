"""Sees targets off that leave the fleet: removes what Groundswell made for them, and nothing that others use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared.adapters.arm import Arm
from shared.adapters.fleet import Fleet
from shared.adapters.fleet_state import FleetState, target_key
from shared.adapters.rows import Row
from shared.domain.errors import GroundswellError, NotPermitted
from shared.domain.grants import Grant, ever
from shared.domain.moments import Clock
from shared.domain.policy import SPEC_TAG, Policy
from shared.domain.registries import RegistryId
from shared.domain.state import leaving
from shared.domain.state.known import Known
from shared.domain.state.steps import Do, Step, Wanted
from shared.domain.targets import system_principal
from shared.flows.onboarding import Onboarding
from shared.flows.waking import Waking
from shared.logs import Log

log = Log("leaving")

_AGAIN = timedelta(minutes=30)

STEPS = (Do.NOTE, Do.LOOK_FOR_REGISTRY, Do.OFFBOARD)
"""The steps that are taken here."""


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Takes the steps of targets that leave."""

    policy: Callable[[], Policy]
    fleet: Fleet
    arm: Arm
    onboarding: Onboarding
    state: FleetState
    waking: Waking
    clock: Clock

    async def take(self, known: Known, wanted: Wanted, step: Step) -> Known | None:
        """Take a step; return what is known then, or None if nothing is to be remembered any more."""
        if step.do is Do.NOTE:
            return leaving.noted(known, self.clock(), stays=wanted.stays)
        try:
            if step.do is Do.LOOK_FOR_REGISTRY:
                return await self._look(known)
            await self._remove(known, wanted)
        except GroundswellError as error:
            log.warning("step failed", registry=known.registry, task=known.task, step=step.do, reason=error)
            return replace(known, look=self.clock() + _AGAIN)
        log.info("target removed", registry=known.registry, task=known.task, reason=step.reason)
        return None

    async def _look(self, known: Known) -> Known | None:
        """Look for a registry that its list does not have: it may have moved, or the list may lag."""
        address = RegistryId.parse(known.registry)
        listing = await self.fleet.listing()
        for unread in listing.unread.values():
            raise unread  # It may be there.
        same = (team for team in listing.registries if team.name.lower() == address.name.lower())
        moved = next((team for team in same if team.created == known.created), None)
        if moved and moved.subscription.lower() != address.subscription.lower():
            if await self.state.target(moved.subscription, known.task, moved.name) is None:
                there = replace(known, registry=moved.id, missing_since=None, look=None)
                await self.state.write(moved.subscription, None, [Row(target_key(known.task, moved.name), there)])
            await self.waking.raise_one(moved.subscription)
            log.info("registry has moved", registry=moved.id, task=known.task)
            return None
        found = moved or await self.arm.get_registry(address)
        if found is not None and found.created == known.created:
            return replace(known, missing_since=None, look=self.clock() + _AGAIN)
        return leaving.missed(known, self.clock())

    async def _remove(self, known: Known, wanted: Wanted) -> None:
        """Remove a task, the grants of its identity, and with the task the identity that it has for itself."""
        policy, address = self.policy(), RegistryId.parse(known.registry)
        base = await self.fleet.base(policy)
        task = await self._task(known, wanted, address)
        if task is not None and SPEC_TAG not in (task.get("tags") or {}):
            log.warning("task is somebody else's now: it is kept", registry=address.name, task=known.task)
            return
        if task is not None:
            await self.arm.delete_task(address, known.task)
        grants = ever(known.registry, base.id)
        for principal in {known.armed.principal, system_principal(task)} - {""}:
            await revoke(self.arm, principal, grants)
        identity = await self.onboarding.find_identity(policy)
        if identity and not wanted.gone and not wanted.shared:
            # The whole fleet pulls with it: only its rights on this registry end.
            await revoke(self.arm, identity.principal_id, (grant for grant in grants if grant.scope != base.id))

    async def _task(self, known: Known, wanted: Wanted, address: RegistryId) -> Mapping[str, Any] | None:
        try:
            return None if wanted.gone else await self.arm.get_task(address, known.task)
        except NotPermitted as error:
            if not wanted.dropped:
                raise
            # Whoever takes a subscription out of the fleet may take the app's rights there too.
            log.warning("task not reached: it is kept", registry=address.name, task=known.task, reason=error)
            return None


async def revoke(arm: Arm, principal: str, grants: Iterable[Grant]) -> None:
    """Take back what Groundswell granted to a principal; what others granted stays."""
    for grant in grants:
        held = await arm.assignments(grant.scope, principal)
        if (principal.lower(), grant.scope.lower(), grant.role) in held.entries:
            await arm.revoke(grant, principal)

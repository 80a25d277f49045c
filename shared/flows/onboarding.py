"""Brings one registry to its desired state: observe, compare, apply. Doing it twice writes nothing the second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from shared.adapters.arm import Arm
from shared.adapters.fleet import Fleet
from shared.domain import conditions, desired
from shared.domain.conditions import Observed
from shared.domain.desired import UserIdentity
from shared.domain.errors import GroundswellError, NotFound, PermanentError
from shared.domain.grants import Grant
from shared.domain.moments import moment
from shared.domain.policy import Policy, SystemAssigned, UserAssigned
from shared.domain.targets import State, Target, Verified, system_principal
from shared.logs import Log
from shared.together import both

log = Log("onboarding")


@dataclass(frozen=True)
class Applied:
    """A registry in its desired state.

    Attributes:
        task_id: ARM id of the task.
        writes: What had to be written, e.g. `grant AcrPull`; empty when nothing had to.
        checked: Azure was asked; otherwise the fleet's lists say so, which may be a little old.
        principal: Of the identity that the task has for itself, or "".
    """

    task_id: str
    writes: tuple[str, ...]
    checked: bool = True
    principal: str = ""


@dataclass(frozen=True)
class Glance:
    """What the fleet's lists tell of a registry.

    Attributes:
        spec: Fingerprint of the task as it should be; "" while the identity that it names does not exist.
        armed: Identity, grants, task and credential are as they should be; False also means: look closer.
    """

    spec: str
    armed: bool


class Verifications(Protocol):
    """Where it is kept which tasks' credentials were seen to be right."""

    async def verified(self, registry: str, task: str) -> Verified | None:
        """Return what was seen of a task, or None."""

    async def set_verified(self, registry: str, task: str, verified: Verified) -> None:
        """Keep what was seen of a task."""


@dataclass(frozen=True, kw_only=True)
class Onboarding:
    """Looks at targets and brings them to their desired state."""

    policy: Callable[[], Policy]
    fleet: Fleet
    arm: Arm
    ledger: Verifications

    async def find_target(self, registry: str, task: str) -> Target | None:
        """Return a registry's task as it should be by now; None if either is gone, or the task is broken."""
        policy = self.policy()
        wanted, team = policy.task(task), await self.fleet.find(registry, fresh=True)
        if wanted is None or wanted.problem or team is None:
            return None
        base = await self.fleet.base(policy)
        base = await self.fleet.find(base.id, fresh=True) or base
        return Target(policy, wanted, team, base)

    async def settled(self, target: Target) -> Applied | None:
        """Tell from the fleet's lists alone that a registry is in its desired state; None means: look closer."""
        try:
            known = await self.ledger.verified(target.team.name, target.task.name)
        except GroundswellError as error:
            log.warning("ledger not read", registry=target.team.name, reason=error)
            return None
        if known is None:
            return None
        glance = await self.glance(target, known)
        return Applied(target.task_id, (), checked=False) if glance.armed else None

    async def glance(self, target: Target, known: Verified | None) -> Glance:
        """Look at a registry by the fleet's lists alone.

        The task's tag says what Groundswell wrote last; a change since then shows in the list's date, a little late.
        What the lists do not know yet is found out by the run: if it cannot log in, everything is checked.

        Args:
            known: The task whose credential was seen to be right, or None.
        """
        try:
            identity = await self.find_identity(target.policy)
            body = target.body(identity)
            if body is None:
                return Glance("", armed=False)
            return Glance(desired.spec_of(body), armed=await self._is_armed(target, body, identity, known))
        except GroundswellError as error:
            # The lists only save calls: whatever is wrong with them, it works without.
            log.warning("lists not read", registry=target.team.name, reason=error)
            return Glance("", armed=False)

    async def _is_armed(
        self, target: Target, body: Mapping[str, Any], identity: UserIdentity | None, known: Verified | None
    ) -> bool:
        since, spec = moment(known.modified) if known else None, desired.spec_of(body)
        if known is None or since is None or known.fingerprint != spec:
            return False
        listed = await self.fleet.task(target.team, target.task.name)
        if listed is None or listed.spec != spec or (listed.modified and listed.modified > since):
            return False
        if not desired.tags_hold(body, listed.tags):
            return False
        principal = identity.principal_id if identity else listed.principal_id
        for grant in target.grants:
            # Grants on team registries are read for the whole subscription at once.
            scope = grant.scope if grant.scope == target.base.id else f"/subscriptions/{target.team.subscription}"
            if not (await self.fleet.assignments(scope)).holds(principal, grant):
                return False
        return True

    async def observe(self, target: Target, *, newborn: bool = False, fresh: bool = False) -> State:
        """Look closely at what is there. Reads only (Resource Manager counts one of them, listDetails, as a write).

        Args:
            newborn: The registry was created a moment ago: it has no task that nobody has written.
            fresh: Take nothing from a cache.
        """
        team, name = target.team, target.task.name

        async def find_task() -> tuple[Mapping[str, Any] | None, Verified | None]:
            known = await self.ledger.verified(team.name, name)
            return (None if newborn and known is None else await self.arm.get_task(team.address, name)), known

        identity, (task, known) = await both(self.find_identity(target.policy, fresh=fresh), find_task())
        principal = identity.principal_id if identity else system_principal(task) if target.system_assigned else ""
        held = await self._held(target, principal) if principal else {}
        granted = max((made for made in held.values() if made), default=None)
        observed = Observed(identity, task, principal_id=principal, held=frozenset(held), granted=granted)
        body = target.body(identity)
        if task is None or body is None:
            return State(target, observed, verified=False)
        verified = known is not None and known.covers(body, task)
        if conditions.credential_problem(body, observed, verified=verified) is None:
            observed = replace(observed, details=await self.arm.task_details(team.address, name))
            if conditions.credential_problem(body, observed, verified=False) == "":
                await self._note_verified(target, body, task)
                verified = True
        return State(target, observed, verified)

    async def _held(self, target: Target, principal_id: str) -> dict[Grant, datetime | None]:
        """Return the grants that a principal holds, and since when."""
        held = {}
        for grant in target.grants:
            assignments = await self.arm.assignments(grant.scope, principal_id)
            if assignments.holds(principal_id, grant):
                held[grant] = assignments.since(principal_id, grant)
        return held

    async def ensure(self, target: Target, *, newborn: bool = False, fresh: bool = False) -> Applied:
        """Bring a registry to its desired state.

        Args:
            newborn: The registry was created a moment ago.
            fresh: Take nothing from a cache.

        Raises:
            PermanentError: Azure refuses for good, e.g. a right is missing.
            TemporaryError: Trying again later may work, e.g. a new identity is not known everywhere yet.
        """
        state = await self.observe(target, newborn=newborn, fresh=fresh)
        observed, writes = state.observed, list[str]()
        wanted = target.policy.identity
        if isinstance(wanted, UserAssigned) and observed.identity is None:
            identity = await self._create_identity(target, wanted)
            observed = replace(observed, identity=identity, principal_id=identity.principal_id)
            writes.append(f"create identity {identity.id.rpartition('/')[2]}")
        body = target.body_with(observed.identity)
        state = replace(state, observed=observed)
        if target.system_assigned:
            task, written = await self._write_task(body, state)
            writes += written
            principal = system_principal(task)
            if principal != observed.principal_id:
                observed = replace(observed, principal_id=principal, held=frozenset())
            writes += await self._grant(target, observed)
        else:
            # Side by side: somebody may be waiting, and the sooner the grant is written, the sooner it works.
            granted, (task, written) = await both(self._grant(target, observed), self._write_task(body, state))
            writes += [*granted, *written]
        if writes:
            log.info("registry brought to its desired state", registry=target.team.name, task=target.task.name,
                     writes="; ".join(writes))  # fmt: skip
        return Applied(str(task["id"]), tuple(writes), principal=system_principal(task))

    async def _write_task(self, body: dict[str, Any], state: State) -> tuple[Mapping[str, Any], list[str]]:
        """Write the task if it has to be; return it and what was written."""
        target, task = state.target, state.observed.task
        if task is not None and not state.needs_write(body):
            return task, []
        task = await self.arm.put_task(target.team.address, target.task.name, desired.with_tags_kept(body, task))
        await self._note_verified(target, body, task)
        return task, [f"write task {target.task.name}"]

    async def _note_verified(self, target: Target, body: Mapping[str, Any], task: Mapping[str, Any]) -> None:
        """Record that the task's credential is right. The record only saves calls."""
        name = target.task.name
        try:
            await self.ledger.set_verified(target.team.name, name, Verified.of(body, task))
        except GroundswellError as error:
            log.warning("credential not recorded", registry=target.team.name, task=name, reason=error)

    async def find_identity(self, policy: Policy, *, fresh: bool = False) -> UserIdentity | None:
        """Return the fleet's identity, or None if there is none."""
        wanted = policy.identity
        if isinstance(wanted, SystemAssigned):
            return None
        subscription = await self._identity_subscription(policy, wanted)
        return await self.fleet.identity(subscription, wanted.resource_group, wanted.name, fresh=fresh)

    async def _create_identity(self, target: Target, wanted: UserAssigned) -> UserIdentity:
        subscription = await self._identity_subscription(target.policy, wanted)
        try:
            made = await self.arm.create_identity(
                subscription, wanted.resource_group, wanted.name, target.base.location, target.policy.tags
            )
        except NotFound as error:
            raise PermanentError(
                f"{error} Create the resource group {wanted.resource_group!r} in subscription {subscription}, "
                "or name another one under identity.resourceGroup in the policy."
            ) from error
        self.fleet.created(subscription, wanted.resource_group, wanted.name, made)
        return made

    async def _identity_subscription(self, policy: Policy, wanted: UserAssigned) -> str:
        return wanted.subscription or (await self.fleet.base(policy)).subscription

    async def _grant(self, target: Target, observed: Observed) -> list[str]:
        writes = []
        for grant in target.grants:
            if grant in observed.held:
                continue
            registry = target.base if grant.scope == target.base.id else target.team
            if await self.arm.grant(grant, registry.subscription, observed.principal_id):
                writes.append(f"grant {grant.role_name} on {registry.name}")
                if registry is target.team and not target.system_assigned:
                    # Builds of all teams have the fleet's identity.
                    log.warning(
                        "every team's builds may push to this registry now; system-assigned identities would not",
                        registry=registry.name,
                    )
        return writes

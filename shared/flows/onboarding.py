"""Brings one registry to its desired state: observe, compare, apply. Doing it twice writes nothing the second time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.domain import conditions, desired, grants, network
from shared.domain.conditions import Condition, Observed
from shared.domain.desired import UserIdentity
from shared.domain.errors import GroundswellError, NotFound, PermanentError
from shared.domain.grants import Grant
from shared.domain.moments import moment
from shared.domain.policy import Policy, SystemAssigned, TaskPolicy, UserAssigned, Values
from shared.domain.registries import Registry
from shared.logs import Log
from shared.services import Services
from shared.together import both

log = Log("onboarding")


@dataclass(frozen=True)
class Target:
    """A task that a team registry must have."""

    policy: Policy
    task: TaskPolicy
    team: Registry
    base: Registry

    @property
    def system_assigned(self) -> bool:
        """Whether the task has an identity of its own."""
        return isinstance(self.policy.identity, SystemAssigned)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The roles that the task's identity must hold."""
        return grants.grants(self.team, self.base, system_assigned=self.system_assigned)

    @property
    def network(self) -> Condition:
        """Whether the task reaches both registries."""
        return network.condition(self.team, self.base, system_assigned=self.system_assigned)

    def body(self, identity: UserIdentity | None) -> dict[str, Any] | None:
        """Return the desired task, or None while the identity that it names does not exist."""
        if identity is None and not self.system_assigned:
            return None
        return desired.task_body(self.task, self.team, self.base, self.values.values, identity, self.policy.tags)

    @property
    def values(self) -> Values:
        """The task's values for this registry, and what is wrong with the team's."""
        return self.policy.values(self.task, self.team.tags)

    @property
    def refusal(self) -> str:
        """Why nothing may be written or run, or ""."""
        return "; ".join(self.values.problems)


async def find_target(services: Services, registry: str, task: str) -> Target | None:
    """Return a registry's task as it should be by now, or None if the registry or the task is gone, or it is broken."""
    policy = services.policy
    wanted, team = policy.task(task), await services.fleet.find(registry, fresh=True)
    if wanted is None or wanted.problem or team is None:
        return None
    base = await services.base_registry(policy)
    base = await services.fleet.find(base.id, fresh=True) or base
    return Target(policy, wanted, team, base)


@dataclass(frozen=True)
class State:
    """What was seen of a target, and whether its credential is known to be right."""

    target: Target
    observed: Observed
    verified: bool

    @property
    def desired(self) -> dict[str, Any] | None:
        """The desired task, or None while its identity is missing."""
        return self.target.body(self.observed.identity)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions."""
        return *self.mendable, self.target.network, conditions.of_values(self.target.values.problems)

    @property
    def mendable(self) -> tuple[Condition, ...]:
        """The conditions that `ensure` brings about."""
        return conditions.of(
            self.desired, self.observed, self.target.grants,
            system_assigned=self.target.system_assigned, verified=self.verified,
            told=not self.target.refusal,
        )  # fmt: skip


@dataclass(frozen=True)
class Applied:
    """A registry in its desired state.

    Attributes:
        task_id: ARM id of the task.
        writes: What had to be written, e.g. `grant AcrPull`; empty when nothing had to.
        checked: Azure was asked; otherwise the fleet's lists say so, which may be a little old.
    """

    task_id: str
    writes: tuple[str, ...]
    checked: bool = True


async def settled(services: Services, target: Target) -> Applied | None:
    """Tell from the fleet's lists alone that a registry is in its desired state; None means: look closer.

    The task's tag says what Groundswell wrote last; a change since then shows in the list's date, a little late. What
    the lists do not know yet is found out by the run: if it cannot log in, everything is checked.
    """
    try:
        return await _settled(services, target)
    except GroundswellError as error:
        # The lists only save calls: whatever is wrong with them, it works without.
        log.warning("lists not read", registry=target.team.name, reason=error)
        return None


async def _settled(services: Services, target: Target) -> Applied | None:
    team, task = target.team, target.task.name
    spec, modified = await services.ledger.verified(team.name, task)
    known = moment(modified)
    if not spec or known is None:
        return None
    identity = await _find_identity(services, target.policy)
    body = target.body(identity)
    listed = await services.fleet.task(team, task)
    if body is None or listed is None or listed.spec != desired.spec_of(body):
        return None
    if not desired.tags_hold(body, listed.tags):
        return None
    principal = identity.principal_id if identity else listed.principal_id
    for grant in target.grants:
        # Grants on team registries are read for the whole subscription at once.
        scope = grant.scope if grant.scope == target.base.id else f"/subscriptions/{team.subscription}"
        if not (await services.fleet.assignments(scope)).holds(principal, grant):
            return None
    if spec != listed.spec or (listed.modified and listed.modified > known):
        return None
    return Applied(listed.id, (), checked=False)


async def observe(services: Services, target: Target, *, newborn: bool = False, fresh: bool = False) -> State:
    """Look closely at what is there. Reads only (Resource Manager counts one of them, listDetails, as a write).

    Args:
        newborn: The registry was created a moment ago: it has no task that nobody has written.
        fresh: Take nothing from a cache.
    """
    team, name = target.team, target.task.name

    async def find_task() -> tuple[Mapping[str, Any] | None, tuple[str, str]]:
        known = await services.ledger.verified(team.name, name)
        return (None if newborn and not any(known) else await services.arm.get_task(team.address, name)), known

    identity, (task, known) = await both(_find_identity(services, target.policy, fresh=fresh), find_task())
    principal = identity.principal_id if identity else _system_principal(task) if target.system_assigned else ""
    held = await _held(services, target, principal) if principal else {}
    granted = max((made for made in held.values() if made), default=None)
    observed = Observed(identity, task, principal_id=principal, held=frozenset(held), granted=granted)
    body = target.body(identity)
    if task is None or body is None:
        return State(target, observed, verified=False)
    verified = known == (desired.spec_of(body), _last_modified(task)) and all(known)
    if conditions.credential_problem(body, observed, verified=verified) is None:
        observed = replace(observed, details=await services.arm.task_details(team.address, name))
        if conditions.credential_problem(body, observed, verified=False) == "":
            await _note_verified(services, target, body, task)
            verified = True
    return State(target, observed, verified)


async def _held(services: Services, target: Target, principal_id: str) -> dict[Grant, datetime | None]:
    """Return the grants that a principal holds, and since when."""
    held = {}
    for grant in target.grants:
        assignments = await services.arm.assignments(grant.scope, principal_id)
        if assignments.holds(principal_id, grant):
            held[grant] = assignments.since(principal_id, grant)
    return held


async def ensure(services: Services, target: Target, *, newborn: bool = False, fresh: bool = False) -> Applied:
    """Bring a registry to its desired state.

    Args:
        newborn: The registry was created a moment ago.
        fresh: Take nothing from a cache.

    Raises:
        PermanentError: Azure refuses for good, e.g. a right is missing.
        TemporaryError: Trying again later may work, e.g. a new identity is not known everywhere yet.
    """
    state = await observe(services, target, newborn=newborn, fresh=fresh)
    observed, writes = state.observed, list[str]()
    identity = observed.identity
    if identity is None and not target.system_assigned:
        identity = await _create_identity(services, target)
        observed = replace(observed, identity=identity, principal_id=identity.principal_id)
        writes.append(f"create identity {identity.id.rpartition('/')[2]}")
    body = target.body(identity)
    if body is None:
        raise PermanentError("The identity is missing and could not be created.")
    state = replace(state, observed=observed)
    if target.system_assigned:
        task, written = await _write_task(services, body, state)
        writes += written
        principal = _system_principal(task)
        if principal != observed.principal_id:
            observed = replace(observed, principal_id=principal, held=frozenset())
        writes += await _grant(services, target, observed)
    else:
        # Side by side: somebody may be waiting, and the sooner the grant is written, the sooner it works.
        granted, (task, written) = await both(_grant(services, target, observed), _write_task(services, body, state))
        writes += [*granted, *written]
    if writes:
        log.info("registry brought to its desired state", registry=target.team.name, task=target.task.name,
                 writes="; ".join(writes))  # fmt: skip
    return Applied(str(task["id"]), tuple(writes))


async def _write_task(services: Services, body: dict[str, Any], state: State) -> tuple[Mapping[str, Any], list[str]]:
    """Write the task if it has to be; return it and what was written."""
    target, task = state.target, state.observed.task
    if task is not None and not _needs_write(body, state):
        return task, []
    task = await services.arm.put_task(target.team.address, target.task.name, desired.with_tags_kept(body, task))
    await _note_verified(services, target, body, task)
    return task, [f"write task {target.task.name}"]


async def _note_verified(services: Services, target: Target, body: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    """Record that the task's credential is right. The record only saves calls."""
    name = target.task.name
    try:
        await services.ledger.set_verified(target.team.name, name, desired.spec_of(body), _last_modified(task))
    except GroundswellError as error:
        log.warning("credential not recorded", registry=target.team.name, task=name, reason=error)


def _needs_write(body: Mapping[str, Any], state: State) -> bool:
    task = state.observed.task
    return (
        task is None
        or bool(conditions.task_differences(body, task))
        or conditions.credential_problem(body, state.observed, verified=state.verified) != ""
    )


async def _find_identity(services: Services, policy: Policy, *, fresh: bool = False) -> UserIdentity | None:
    wanted = policy.identity
    if isinstance(wanted, SystemAssigned):
        return None
    subscription = await _identity_subscription(services, policy, wanted)
    return await services.fleet.identity(subscription, wanted.resource_group, wanted.name, fresh=fresh)


async def _create_identity(services: Services, target: Target) -> UserIdentity:
    wanted = target.policy.identity
    assert isinstance(wanted, UserAssigned)  # noqa: S101 - the callers have made sure; this tells the type checker
    subscription = await _identity_subscription(services, target.policy, wanted)
    try:
        made = await services.arm.create_identity(
            subscription, wanted.resource_group, wanted.name, target.base.location, target.policy.tags
        )
    except NotFound as error:
        raise PermanentError(
            f"{error} Create the resource group {wanted.resource_group!r} in subscription {subscription}, "
            "or name another one under identity.resourceGroup in the policy."
        ) from error
    services.fleet.created(subscription, wanted.resource_group, wanted.name, made)
    return made


async def _identity_subscription(services: Services, policy: Policy, wanted: UserAssigned) -> str:
    return wanted.subscription or (await services.base_registry(policy)).subscription


async def _grant(services: Services, target: Target, observed: Observed) -> list[str]:
    writes = []
    for grant in target.grants:
        if grant in observed.held:
            continue
        registry = target.base if grant.scope == target.base.id else target.team
        if await services.arm.grant(grant, registry.subscription, observed.principal_id):
            writes.append(f"grant {grant.role_name} on {registry.name}")
            if registry is target.team and not target.system_assigned:
                # Builds of all teams have the fleet's identity.
                log.warning("every team's builds may push to this registry now; system-assigned identities would not",
                            registry=registry.name)  # fmt: skip
    return writes


def _system_principal(task: Mapping[str, Any] | None) -> str:
    return str(((task or {}).get("identity") or {}).get("principalId") or "")


def _last_modified(task: Mapping[str, Any]) -> str:
    """Return the task's last change, in a form that survives different ways to write the same moment."""
    return str((task.get("systemData") or {}).get("lastModifiedAt") or "").replace("+00:00", "Z")

"""A task that a team registry must have, and what was seen of it. Pure: nothing here asks Azure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from shared.domain import conditions, desired, grants, network
from shared.domain.conditions import Condition, Observed
from shared.domain.desired import UserIdentity
from shared.domain.grants import Grant
from shared.domain.policy import Policy, Selection, SystemAssigned, TaskPolicy, Values, select
from shared.domain.registries import Registry


@dataclass(frozen=True)
class Target:
    """A task that a team registry must have."""

    policy: Policy
    task: TaskPolicy
    team: Registry
    base: Registry

    @property
    def selection(self) -> Selection:
        """Whether the policy gives the registry the task."""
        return select(self.policy, self.task, self.team.name, self.team.tags)

    @property
    def task_id(self) -> str:
        """ARM id of the task."""
        return f"{self.team.id}/tasks/{self.task.name}"

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

    @property
    def values(self) -> Values:
        """The task's values for this registry, and what is wrong with the team's."""
        return self.policy.values(self.task, self.team.tags)

    @property
    def refusal(self) -> str:
        """Why nothing may be written or run, or ""."""
        return "; ".join(self.values.problems)

    def body(self, identity: UserIdentity | None) -> dict[str, Any] | None:
        """Return the desired task, or None while the identity that it names does not exist."""
        return None if identity is None and not self.system_assigned else self.body_with(identity)

    def body_with(self, identity: UserIdentity | None) -> dict[str, Any]:
        """Return the desired task with this identity; None stands for one of its own."""
        return desired.task_body(self.task, self.team, self.base, self.values.values, identity, self.policy.tags)


@dataclass(frozen=True)
class Verified:
    """A task whose credential was seen to be right.

    Attributes:
        fingerprint: Of what the task was to be.
        modified: Its last change, as Resource Manager writes it; "" if that is not known.
    """

    fingerprint: str
    modified: str

    @classmethod
    def of(cls, body: Mapping[str, Any], task: Mapping[str, Any]) -> Self:
        """Return what is to be remembered of a desired task and the one that was seen."""
        # Resource Manager has two ways to write the same moment.
        modified = str((task.get("systemData") or {}).get("lastModifiedAt") or "").replace("+00:00", "Z")
        return cls(desired.spec_of(body), modified)

    def covers(self, body: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
        """Tell whether nothing has changed since: neither what the task is to be nor the task."""
        return self.modified != "" and self == Verified.of(body, task)


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
        """The conditions that onboarding brings about."""
        return conditions.of(
            self.desired, self.observed, self.target.grants,
            system_assigned=self.target.system_assigned, verified=self.verified,
            told=not self.target.refusal,
        )  # fmt: skip

    def needs_write(self, body: Mapping[str, Any]) -> bool:
        """Tell whether the task has to be written to be as desired."""
        task = self.observed.task
        return (
            task is None
            or bool(conditions.task_differences(body, task))
            or conditions.credential_problem(body, self.observed, verified=self.verified) != ""
        )


def system_principal(task: Mapping[str, Any] | None) -> str:
    """Return the principal of a task's system-assigned identity, or ""."""
    return str(((task or {}).get("identity") or {}).get("principalId") or "")

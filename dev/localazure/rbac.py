"""Authorization: what a principal may do, worked out from role assignments as Azure does.

An assignment counts at its scope and below, from the moment it has spread; a removed one goes on counting for as
long (https://learn.microsoft.com/azure/role-based-access-control/troubleshooting#symptom---role-assignment-changes-are-not-being-detected).
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta

from dev.localazure import conditions, ids
from dev.localazure.clock import Clock
from dev.localazure.conditions import Attributes, Facts
from dev.localazure.errors import ArmError
from dev.localazure.roles import OWNER, ROLES, RoleDefinition
from dev.localazure.state import Principal, Resource, State

__all__ = ["OWNER", "ROLES", "ROLE_ASSIGNMENT", "Decision", "Rbac", "RoleDefinition", "forbidden", "role_of"]

ROLE_ASSIGNMENT = "Microsoft.Authorization/roleAssignments"


class Decision(enum.Enum):
    """What role assignments say about an action."""

    ALLOWED = "allowed"
    NO_ROLE = "no role contains the action"
    CONDITION = "only roles contain the action whose condition is not fulfilled"


class Rbac:
    """Answers "may this principal do this here?".

    Attributes:
        delay: How long a new assignment waits before it counts, and a removed one goes on counting. Azure documents
            up to ten minutes.
        limit: Role assignments that one subscription can hold
            (https://learn.microsoft.com/azure/role-based-access-control/troubleshoot-limits).
    """

    def __init__(self, state: State, clock: Clock) -> None:
        """Work on this state."""
        self._state, self._clock = state, clock
        self.delay = timedelta(0)
        self.limit = 4000
        self._retired: list[tuple[datetime, Resource]] = []

    def assignments_at(self, scope: str) -> list[Resource]:
        """Return the role assignments that apply at a scope: its own and inherited ones."""
        return [
            assignment
            for assignment in self._state.of_type(ROLE_ASSIGNMENT)
            if ids.covers(assignment.properties["scope"], scope)
        ]

    def retire(self, assignment: Resource) -> None:
        """Let an assignment that was removed or replaced go on counting for `delay`."""
        if self.delay > timedelta(0):
            self._retired.append((self._clock.now() + self.delay, assignment))

    def reset(self) -> None:
        """Forget what was removed."""
        self._retired.clear()

    def allows(
        self, object_id: str, action: str, scope: str, *, data: bool = False, request: Attributes | None = None
    ) -> bool:
        """Tell whether a principal may do an action (`data`: a data action) at a scope, now; see `decide`."""
        return self.decide(object_id, action, scope, data=data, request=request) is Decision.ALLOWED

    def decide(
        self,
        object_id: str,
        action: str,
        scope: str,
        *,
        data: bool = False,
        request: Attributes | None = None,
        resource: Attributes | None = None,
    ) -> Decision:
        """Work out whether a principal may do an action at a scope, now.

        Args:
            object_id: The principal.
            action: E.g. `Microsoft.ContainerRegistry/registries/pull/read`.
            scope: The resource id that the action is about.
            data: Look for a data action.
            request: Attributes of the request for conditions, by full name in lower case.
            resource: Attributes of the resource for conditions, likewise.
        """
        facts = Facts(action, request or {}, resource or {})
        refused = Decision.NO_ROLE
        for assignment in self._effective(object_id):
            properties = assignment.properties
            if not ids.covers(properties["scope"], scope):
                continue
            role = role_of(assignment)
            if role is None or not role.grants(action, data=data):
                continue
            condition = properties.get("condition")
            if not condition or conditions.parse(condition)(facts):
                return Decision.ALLOWED
            refused = Decision.CONDITION
        return refused

    def _effective(self, object_id: str) -> list[Resource]:
        now = self._clock.now()
        self._retired = [(until, assignment) for until, assignment in self._retired if until > now]
        everything = [*self._state.of_type(ROLE_ASSIGNMENT), *(assignment for _, assignment in self._retired)]
        return [
            assignment
            for assignment in everything
            if assignment.properties["principalId"].lower() == object_id.lower()
            and datetime.fromisoformat(assignment.properties["effectiveAt"]) <= now
        ]


def role_of(assignment: Resource) -> RoleDefinition | None:
    """Return the role that an assignment gives."""
    return ROLES.get(assignment.properties["roleDefinitionId"].rsplit("/", 1)[-1].lower())


def forbidden(principal: Principal, action: str, scope: str, decision: Decision = Decision.NO_ROLE) -> ArmError:
    """Return ARM's 403 `AuthorizationFailed`."""
    why = "or an ABAC condition not fulfilled " if decision is Decision.CONDITION else ""
    return ArmError(
        403,
        "AuthorizationFailed",
        f"The client '{principal.app_id}' with object id '{principal.object_id}' does not have authorization {why}"
        f"to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, "
        "please refresh your credentials.",
    )

"""Authorization: what a principal may do, worked out from role assignments as Azure does.

The role definitions are the built-in ones (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles)
with their real actions and data actions.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import datetime, timedelta

from localazure import ids
from localazure.clock import Clock
from localazure.state import Resource, State

ROLE_ASSIGNMENT = "Microsoft.Authorization/roleAssignments"

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


@dataclass(frozen=True)
class RoleDefinition:
    """A built-in role."""

    id: str
    name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def grants(self, action: str, *, data: bool) -> bool:
        """Tell whether the role contains an action (or data action)."""
        allowed, denied = (self.data_actions, self.not_data_actions) if data else (self.actions, self.not_actions)
        return _any(allowed, action) and not _any(denied, action)


def _any(patterns: tuple[str, ...], action: str) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


ROLES: dict[str, RoleDefinition] = {
    role.id: role for role in (RoleDefinition(OWNER, "Owner", "Grants full access to manage all resources.", ("*",)),)
}


class Rbac:
    """Answers "may this principal do this here?"."""

    def __init__(self, state: State, clock: Clock) -> None:
        """Work on this state; new assignments wait `delay` before they count."""
        self._state, self._clock = state, clock
        self.delay = timedelta(0)

    def assignments_at(self, scope: str) -> list[Resource]:
        """Return the role assignments that apply at a scope: its own and inherited ones."""
        return [
            assignment
            for assignment in self._state.of_type(ROLE_ASSIGNMENT)
            if ids.covers(assignment.properties["scope"], scope)
        ]

    def allows(self, object_id: str, action: str, scope: str, *, data: bool = False) -> bool:
        """Tell whether a principal may do an action at a scope, now."""
        now = self._clock.now()
        for assignment in self.assignments_at(scope):
            properties = assignment.properties
            if properties["principalId"].lower() != object_id.lower():
                continue
            if datetime.fromisoformat(properties["effectiveAt"]) > now:
                continue
            role = ROLES.get(properties["roleDefinitionId"].rsplit("/", 1)[-1].lower())
            if role and role.grants(action, data=data):
                return True
        return False

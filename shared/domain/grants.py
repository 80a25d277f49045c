"""Which roles a task's identity must hold, and which it holds. Pure functions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain.registries import Registry

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/containers
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ACR_PUSH = "8311e382-0749-4cb8-b61a-304f252e45ec"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
REPOSITORY_WRITER = "2a1e307c-b015-4ebd-883e-5b7698a07328"
ROLE_NAMES = {
    ACR_PULL: "AcrPull",
    ACR_PUSH: "AcrPush",
    REPOSITORY_READER: "Container Registry Repository Reader",
    REPOSITORY_WRITER: "Container Registry Repository Writer",
}

_ASSIGNMENT_NAMES = uuid.UUID("8d5f3a4e-6f0b-5c8e-9c53-2f7f0f2b6a11")


@dataclass(frozen=True)
class Grant:
    """A role on a registry that the task's identity must hold."""

    scope: str
    role: str

    @property
    def role_name(self) -> str:
        """The role's display name."""
        return ROLE_NAMES[self.role]

    def assignment_name(self, principal_id: str) -> str:
        """Return the assignment's name: the same for the same (scope, principal, role), so creating it twice is safe.

        The principal is part of it because an assignment cannot be moved to a re-created identity
        (https://learn.microsoft.com/azure/role-based-access-control/troubleshooting).
        """
        return str(uuid.uuid5(_ASSIGNMENT_NAMES, f"{self.scope.lower()}|{principal_id.lower()}|{self.role}"))


@dataclass(frozen=True)
class Assignments:
    """Role assignments.

    Attributes:
        entries: (principal id, scope, role id), all in lower case, those with a condition left out → when it was made.
    """

    entries: Mapping[tuple[str, str, str], datetime | None]

    def holds(self, principal_id: str, grant: Grant) -> bool:
        """Tell whether a principal holds a role on a registry, inherited assignments included."""
        return bool(self._that_give(principal_id, grant))

    def since(self, principal_id: str, grant: Grant) -> datetime | None:
        """Return since when a principal holds a role on a registry, or None if that is not known."""
        made = [self.entries[entry] for entry in self._that_give(principal_id, grant)]
        return min((moment for moment in made if moment), default=None)

    def _that_give(self, principal_id: str, grant: Grant) -> list[tuple[str, str, str]]:
        parts = grant.scope.lower().strip("/").split("/")
        scopes = ["", *("/" + "/".join(parts[: length + 1]) for length in range(len(parts)))]
        wanted = [(principal_id.lower(), scope, grant.role) for scope in scopes]
        return [entry for entry in wanted if entry in self.entries]


def ever(team_id: str, base_id: str) -> tuple[Grant, ...]:
    """Return every grant that a task's identity may have got, in whatever modes its registries were."""
    return (
        *(Grant(base_id, role) for role in (ACR_PULL, REPOSITORY_READER)),
        *(Grant(team_id, role) for role in (REPOSITORY_WRITER, ACR_PUSH)),
    )


def logs_in_at_home(team: Registry, *, system_assigned: bool) -> bool:
    """Tell whether a task needs a credential for its own registry.

    A run's own token does not pass the registry's firewall; a login with the task's system-assigned identity does,
    where the registry lets tasks pass (https://github.com/MicrosoftDocs/azure-docs/issues/96504): network.py.
    """
    return system_assigned and team.network.restricted


def grants(team: Registry, base: Registry, *, system_assigned: bool = False) -> tuple[Grant, ...]:
    """Return the roles that the task's identity needs.

    In ABAC mode the base registry honours Repository Reader in place of AcrPull, and a team registry gives its own
    tasks no rights of their own, so pushing needs Repository Writer. A task that logs in to its own registry with its
    identity has no rights there but the identity's.
    """
    pull = Grant(base.id, REPOSITORY_READER if base.abac else ACR_PULL)
    if team.abac:
        return pull, Grant(team.id, REPOSITORY_WRITER)
    return (pull, Grant(team.id, ACR_PUSH)) if logs_in_at_home(team, system_assigned=system_assigned) else (pull,)

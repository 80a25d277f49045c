"""Registries as the decisions see them, and the fleet they make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from azure.mgmt.core.tools import parse_resource_id


@dataclass(frozen=True)
class Registry:
    """A container registry.

    Attributes:
        id: ARM id.
        login_server: As ARM tells it: with domain name labels it is not `<name>.azurecr.io`.
        abac: True if repository permissions decide on its images (`roleAssignmentMode` AbacRepositoryPermissions):
            AcrPull and AcrPush count for nothing there
            (https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions).
        created: When it was created, as ARM writes it: a registry made anew under its old name is another registry.
    """

    id: str
    name: str
    group: str
    subscription: str
    location: str
    login_server: str
    abac: bool = False
    created: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def from_arm(resource: Mapping[str, Any]) -> Registry:
    """Read a registry from ARM's JSON."""
    parts = parse_resource_id(str(resource["id"]))
    properties: Mapping[str, Any] = resource.get("properties") or {}
    return Registry(
        id=str(resource["id"]),
        name=str(resource["name"]),
        group=str(parts["resource_group"]),
        subscription=str(parts["subscription"]),
        location=str(resource["location"]),
        login_server=str(properties.get("loginServer") or "").lower(),
        abac=properties.get("roleAssignmentMode") == "AbacRepositoryPermissions",
        created=str(properties.get("creationDate") or ""),
        tags=MappingProxyType(dict(resource.get("tags") or {})),
    )


def normalized_location(location: str) -> str:
    """Return a location in its canonical form: "East US" and "eastus" are the same place."""
    return location.replace(" ", "").lower()

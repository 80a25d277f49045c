"""Registries as the decisions see them, and the fleet they make up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from azure.mgmt.core.tools import parse_resource_id

REGISTRY_ID = (
    r"(?i)^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft\.ContainerRegistry/registries/"
    r"[a-z0-9]{5,50}$"
)
"""What a registry's ARM id looks like."""


@dataclass(frozen=True)
class Network:
    """From where a registry's images can be reached (https://learn.microsoft.com/rest/api/containerregistry/registries/get).

    Attributes:
        disabled: No public access at all; IP rules count for nothing.
        perimeter: A network security perimeter decides, of which the registry shows nothing.
        denied: Public access is for addresses of the IP rules alone.
        ip_rules: There are IP rules that count.
        trusted_services: Trusted services may pass (`networkRuleBypassOptions`).
        tasks: So may tasks (`networkRuleBypassAllowedForTasks`), which counts only beside `trusted_services`.
    """

    disabled: bool = False
    perimeter: bool = False
    denied: bool = False
    ip_rules: bool = False
    trusted_services: bool = True
    tasks: bool = False

    @property
    def restricted(self) -> bool:
        """Whether somebody is kept out by the address that he comes from."""
        return self.disabled or self.perimeter or self.denied

    @property
    def bypass(self) -> bool:
        """Whether tasks with system-assigned identities pass all the same."""
        return self.trusted_services and self.tasks


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
        network: From where it can be reached.
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
    network: Network = Network()

    @property
    def region(self) -> str:
        """Its location in canonical form, e.g. `westeurope`."""
        return normalized_location(self.location)


def from_arm(resource: Mapping[str, Any]) -> Registry:
    """Read a registry from ARM's JSON.

    Raises:
        ValueError: It is none.
        KeyError, TypeError, AttributeError: The same.
    """
    if not re.search(REGISTRY_ID, str(resource["id"])):
        raise ValueError("not the id of a registry")
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
        tags=MappingProxyType({str(key): str(value or "") for key, value in (resource.get("tags") or {}).items()}),
        network=_network(properties),
    )


def _network(properties: Mapping[str, Any]) -> Network:
    """Read a registry's network settings; what ARM leaves out has its default."""
    rules: Mapping[str, Any] = properties.get("networkRuleSet") or {}
    access = str(properties.get("publicNetworkAccess") or "Enabled").lower()
    denied = str(rules.get("defaultAction") or "Allow").lower() == "deny"
    return Network(
        disabled=access == "disabled",
        perimeter=access not in ("enabled", "disabled"),
        denied=denied,
        # Disabled public access overrides them:
        # https://learn.microsoft.com/azure/container-registry/container-registry-access-selected-networks
        ip_rules=denied and access == "enabled" and bool(rules.get("ipRules")),
        trusted_services=str(properties.get("networkRuleBypassOptions") or "AzureServices").lower() == "azureservices",
        tasks=properties.get("networkRuleBypassAllowedForTasks") is True,
    )


def normalized_location(location: str) -> str:
    """Return a location in its canonical form: "East US" and "eastus" are the same place."""
    return location.replace(" ", "").lower()

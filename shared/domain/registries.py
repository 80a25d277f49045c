"""Registries as the decisions see them, and the fleet they make up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from shared.domain.moments import moment

# https://learn.microsoft.com/rest/api/containerregistry/registries/create
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftresources
REGISTRY_ID = (
    r"^/(?i:subscriptions)/(?P<subscription>[0-9A-Fa-f-]{36})/(?i:resourceGroups)/(?P<group>[\w().-]{1,90})"
    r"/(?i:providers/Microsoft\.ContainerRegistry/registries)/(?P<name>[A-Za-z0-9]{5,50})$"
)
"""What a registry's ARM id looks like."""


@dataclass(frozen=True)
class RegistryId:
    """Where Resource Manager finds a registry.

    Attributes:
        text: The whole ARM id, as Resource Manager wrote it.
    """

    subscription: str
    group: str
    name: str
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an ARM id.

        Raises:
            ValueError: It is not the id of a registry, but of something below one, say.
        """
        found = re.fullmatch(REGISTRY_ID, text)
        if found is None:
            raise ValueError("not the id of a registry")
        return cls(**found.groupdict(), text=text)


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
    def address(self) -> RegistryId:
        """Where Resource Manager finds it."""
        return RegistryId(self.subscription, self.group, self.name, self.id)

    @property
    def created_at(self) -> datetime | None:
        """When it was created, or None if ARM's writing is not understood."""
        return moment(self.created)

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
    address = RegistryId.parse(str(resource["id"]))
    properties: Mapping[str, Any] = resource.get("properties") or {}
    return Registry(
        id=address.text,
        name=str(resource["name"]),
        group=address.group,
        subscription=address.subscription,
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

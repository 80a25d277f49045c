"""A registry's firewall: whom it keeps out, and what it says."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dev.localazure.state import Resource


def admits(registry: Resource, address: str) -> bool:
    """Tell whether a registry's public endpoint takes requests from an address.

    Disabled public access overrides the IP rules
    (https://learn.microsoft.com/azure/container-registry/container-registry-access-selected-networks).
    """
    properties: dict[str, Any] = registry.properties
    if properties.get("publicNetworkAccess") == "Disabled":
        return False
    rules = properties.get("networkRuleSet") or {}
    if rules.get("defaultAction") != "Deny":
        return True
    known = ipaddress.ip_address(address)
    return any(known in ipaddress.ip_network(rule["value"], strict=False) for rule in rules.get("ipRules") or ())


def lets_tasks_pass(registry: Resource) -> bool:
    """Tell whether tasks with system-assigned identities pass a registry's firewall.

    https://learn.microsoft.com/azure/container-registry/manage-network-bypass-policy-for-tasks
    """
    properties = registry.properties
    return (
        properties.get("networkRuleBypassOptions") == "AzureServices"
        and properties.get("networkRuleBypassAllowedForTasks") is True
    )


def denial(address: str) -> str:
    """Return what a registry says to an address that it does not admit (https://aka.ms/acr/firewall)."""
    return f"client with IP '{address}' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."

"""Whether a task's agents reach the base registry and its own: the condition `network`. Pure functions.

ACR's agents have public addresses of their own, which a registry's firewall refuses. They pass in two ways: by IP rules
that hold their addresses, or by the registry's bypass for tasks, which only a system-assigned identity may use
(https://learn.microsoft.com/azure/container-registry/manage-network-bypass-policy-for-tasks,
https://github.com/Azure/azure-cli/issues/28151). Only the second can be told from what Resource Manager shows.
"""

from __future__ import annotations

from shared.domain.conditions import Condition, Kind
from shared.domain.registries import Registry

OPEN, BYPASSED = "Open", "Bypassed"
_FIREWALL, _NOT_CHECKED = "Firewall", "NotChecked"

# The first stable version that has networkRuleBypassAllowedForTasks.
_API_VERSION = "2025-11-01"


def condition(team: Registry, base: Registry, *, system_assigned: bool) -> Condition:
    """Tell whether a task of `team` reaches both registries."""
    found = [_reach(registry, team, system_assigned=system_assigned) for registry in (base, team)]
    closed = [one for one in found if one.reason != OPEN]
    if not closed:
        text = f"Neither {base.name} nor {team.name} is behind a firewall."
        return Condition(Kind.NETWORK, True, OPEN, text)
    worst = min(closed, key=lambda one: {False: 0, None: 1, True: 2}[one.ready])
    sentences = [one.message for one in closed]
    if base.network.restricted:
        sentences.append(_look_ups(base))
    return Condition(Kind.NETWORK, worst.ready, worst.reason, " ".join(sentences))


def _reach(registry: Registry, team: Registry, *, system_assigned: bool) -> Condition:
    network, name = registry.network, registry.name
    if not network.restricted:
        return Condition(Kind.NETWORK, True, OPEN, "")
    if network.perimeter:
        return Condition(
            Kind.NETWORK, None, _NOT_CHECKED,
            f"A network security perimeter guards {name}; whether it admits ACR's agents is not checked: "
            f"`az resource show --ids {registry.id} --api-version {_API_VERSION} --query properties`.",
        )  # fmt: skip
    if system_assigned and network.bypass:
        text = f"The firewall of {name} lets tasks pass with their system-assigned identities."
        return Condition(Kind.NETWORK, True, BYPASSED, text)
    if network.ip_rules:
        # Agents run where the task's registry is:
        # https://learn.microsoft.com/azure/container-registry/container-registry-firewall-access-rules
        query = f"values[?properties.systemService=='AzureContainerRegistry' && properties.region=='{team.region}']"
        return Condition(
            Kind.NETWORK, None, _NOT_CHECKED,
            f"The firewall of {name} admits some addresses; whether ACR's agents are among them is not checked: "
            f"`az acr network-rule list --name {name}` must hold those of `az network list-service-tags "
            f'--location {team.region} --query "{query}.properties.addressPrefixes"`. '
            f"Or {_mend(registry, system_assigned=system_assigned)}.",
        )  # fmt: skip
    why = [] if system_assigned else ["it never lets a user-assigned identity pass"]
    why += [] if network.bypass else ["it does not let tasks pass"]
    mend = _mend(registry, system_assigned=system_assigned)
    text = f"The firewall of {name} stops the task: {' and '.join(why)}. {mend[0].upper()}{mend[1:]}."
    return Condition(Kind.NETWORK, False, _FIREWALL, text)


def _mend(registry: Registry, *, system_assigned: bool) -> str:
    """Say what lets the task pass by the bypass."""
    network = registry.network
    missing = [
        *(() if network.trusted_services else ("properties.networkRuleBypassOptions=AzureServices",)),
        *(() if network.tasks else ("properties.networkRuleBypassAllowedForTasks=true",)),
    ]
    steps = [] if system_assigned else ["set `identity: {type: SystemAssigned}` in the policy and run `azd up`"]
    if missing:
        update = f"az resource update --ids {registry.id} --api-version {_API_VERSION} --set {' '.join(missing)}"
        steps.append(f"run `{update}`")
    return " and ".join(steps)


def _look_ups(base: Registry) -> str:
    """Say what the firewall means for the app itself, which has no way round it."""
    if base.network.disabled:
        way = "a private endpoint leads there"
    else:
        way = f"its address is admitted (`az acr network-rule add --name {base.name} --ip-address …`)"
    return f"The app's own look-ups in {base.name} fail unless {way}: its first runs then start without a base digest."

"""Deploys Groundswell into the local Azure: the roles and event subscriptions of infra/, played call by call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from demo.cloud import BASE, GROUP, SUBSCRIPTION, Cloud, registry_id
from demo.processes import ROOT

TOPICS = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/groundswell"
_AUTHORIZATION = "/providers/Microsoft.Authorization"


def _infra(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "infra" / name).read_text())
    return document


async def create_base(cloud: Cloud) -> None:
    """Create the resource group and the base registry."""
    await cloud.arm("PUT", GROUP, {"location": "eastus"})
    await create_registry(cloud, BASE)


async def create_registry(cloud: Cloud, name: str, tags: Mapping[str, str] | None = None) -> None:
    """Create a registry."""
    body = {"location": "eastus", "sku": {"name": "Standard"}, "tags": dict(tags or {})}
    await cloud.arm("PUT", registry_id(name), body)


async def assign_roles(cloud: Cloud, principal: str) -> list[dict[str, Any]]:
    """Give the app's identity the roles of infra/app-roles.json and nothing more; return the role assignments."""
    scopes = {"teamSubscriptions": SUBSCRIPTION, "identityResourceGroup": GROUP, "baseRegistry": registry_id(BASE)}
    made = []
    for number, role in enumerate(_infra("app-roles.json")["assignments"]):
        if role["scope"] not in scopes:
            continue  # for storage, which is Azurite here and has no roles
        definition = f"{SUBSCRIPTION}{_AUTHORIZATION}/roleDefinitions/{role['roleDefinitionId']}"
        properties = {
            "principalId": principal, "principalType": "ServicePrincipal", "roleDefinitionId": definition,
            **{key: role[key] for key in ("condition", "conditionVersion") if key in role},
        }  # fmt: skip
        name = f"{scopes[role['scope']]}{_AUTHORIZATION}/roleAssignments/00000000-0000-4000-9000-{number:012}"
        made.append(await cloud.arm("PUT", name, {"properties": properties}))
    return made


async def subscribe(cloud: Cloud, host: Mapping[str, Any]) -> list[str]:
    """Make the Functions host known as a function app and subscribe its functions to events; return their names.

    Args:
        host: What the host told when it was ready.
    """
    wanted = _infra("event-subscriptions.json")
    targets = [subscription["function"] for subscription in wanted["subscriptions"]]
    functions = [{"name": name, "type": "eventGridTrigger" if name in targets else "other"}
                 for name in host["functions"]]  # fmt: skip
    site = {"resourceId": SITE, "url": host["url"], "eventGridKey": host["eventGridKey"], "functions": functions}
    await cloud.control("POST", "/sites", site)
    for subscription in wanted["subscriptions"]:
        base = subscription["source"] == "baseRegistry"
        topic = f"{TOPICS}/{'base-registry' if base else 'subscription'}"
        source = {"source": registry_id(BASE) if base else SUBSCRIPTION, "topicType": subscription["topicType"]}
        await cloud.arm("PUT", topic, {"location": "eastus" if base else "global", "properties": source})
        function = {"resourceId": f"{SITE}/functions/{subscription['function']}"}
        properties = {
            "destination": {"endpointType": "AzureFunction", "properties": function},
            "filter": subscription["filter"],
            "eventDeliverySchema": wanted["eventDeliverySchema"],
            "retryPolicy": wanted["retryPolicy"],
        }
        await cloud.arm("PUT", f"{topic}/eventSubscriptions/{subscription['name']}", {"properties": properties})
    return sorted(targets)


async def subscribed(cloud: Cloud) -> list[str]:
    """Return the names of the functions that event subscriptions in Azure lead to."""
    topics = (await cloud.arm("GET", TOPICS))["value"]
    lists = [(await cloud.arm("GET", f"{topic['id']}/eventSubscriptions"))["value"] for topic in topics]
    found = [subscription["properties"] for subscriptions in lists for subscription in subscriptions]
    return sorted(
        properties["destination"]["properties"]["resourceId"].rpartition("/")[2]
        for properties in found
        if properties["provisioningState"] == "Succeeded"
    )

"""Deploys Groundswell into the local Azure: roles, event subscriptions and identity, played call by call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dev.sandbox import infra
from dev.sandbox.cloud import BASE, GROUP, Cloud, Refused, registry_id

PLACE = infra.Place(group=GROUP, base_registry=registry_id(BASE))


async def create_base(cloud: Cloud) -> None:
    """Create the resource group and the base registry."""
    await cloud.arm("PUT", GROUP, {"location": PLACE.location})
    await create_registry(cloud, BASE)


async def create_registry(cloud: Cloud, name: str, tags: Mapping[str, str] | None = None, group: str = GROUP) -> None:
    """Create a registry in a resource group."""
    body = {"location": PLACE.location, "sku": {"name": "Standard"}, "tags": dict(tags or {})}
    await cloud.arm("PUT", registry_id(name, group), body)


async def create_app(cloud: Cloud) -> dict[str, Any]:
    """Create the app with its user-assigned identity, as Bicep does.

    Returns:
        What localazure says of the app, with `principalId` and `clientId` of that identity.
    """
    identity = (await cloud.arm("PUT", PLACE.identity, {"location": PLACE.location}))["properties"]
    name = PLACE.identity.rpartition("/")[2]
    body = {"name": name, "systemAssigned": False, "userAssigned": [PLACE.identity]}
    app: dict[str, Any] = await cloud.control("POST", "/apps", body)
    return {**app, "principalId": identity["principalId"], "clientId": identity["clientId"]}


async def assign_roles(cloud: Cloud, principal: str) -> list[dict[str, Any]]:
    """Give the app's identity the roles of infra/app-roles.json and nothing more; return the role assignments."""
    return [await _assign(cloud, role) for role in infra.role_assignments(PLACE, principal).values()]


async def _assign(cloud: Cloud, role: infra.Put) -> dict[str, Any]:
    try:
        return await cloud.arm("PUT", role.path, role.body)
    except Refused as refused:
        if refused.status != 409:  # RoleAssignmentExists
            raise
        return await cloud.arm("GET", role.path)


async def subscribe(cloud: Cloud, host: Mapping[str, Any]) -> list[str]:
    """Make the Functions host known as a function app and subscribe its functions to events; return their names.

    Args:
        host: What the host told when it was ready.
    """
    await cloud.control("POST", "/sites", infra.site(PLACE, host))
    for topic in infra.topics(PLACE):
        principal = (await cloud.arm("PUT", topic.path, topic.body))["identity"]["principalId"]
        for role in infra.role_assignments(PLACE, principal, of="topicAssignments").values():
            await _assign(cloud, role)
    for subscription in infra.event_subscriptions(PLACE):
        await cloud.arm("PUT", subscription.path, subscription.body)
    return infra.functions()


async def subscribed(cloud: Cloud) -> list[str]:
    """Return the names of the functions that event subscriptions in Azure lead to."""
    topics = (await cloud.arm("GET", PLACE.topic("baseRegistry").rpartition("/")[0]))["value"]
    lists = [(await cloud.arm("GET", f"{topic['id']}/eventSubscriptions"))["value"] for topic in topics]
    found = [subscription["properties"] for subscriptions in lists for subscription in subscriptions]
    return sorted(
        properties["destination"]["properties"]["resourceId"].rpartition("/")[2]
        for properties in found
        if properties["provisioningState"] == "Succeeded"
    )

"""Subscriptions that are disabled or deleted."""

from __future__ import annotations

import pytest

from dev.localazure import roles
from dev.localazure.azure import Azure
from dev.testing.azure import SUBSCRIPTION, Client

OTHER = "00000000-0000-4000-8000-000000000002"
GROUP = f"/subscriptions/{OTHER}/resourceGroups/team"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/faraway"
BODY = {"location": "eastus", "sku": {"name": "Standard"}}


@pytest.fixture
async def registry(azure: Azure, owner: Client) -> str:
    """A registry in a subscription of its own."""
    azure.create_subscription(OTHER, "Team subscription")
    assert (await owner.arm("PUT", GROUP, {"location": "eastus"}, api_version="2024-11-01")).status == 201
    assert (await owner.arm("PUT", REGISTRY, BODY)).status < 300
    return REGISTRY


async def state(owner: Client) -> str:
    listed = await owner.arm("GET", "/subscriptions", api_version="2022-12-01")
    return str({item["subscriptionId"]: item["state"] for item in listed.body["value"]}[OTHER])


async def test_disabled_subscription_says_so_and_lets_resources_be_read_and_deleted_alone(
    owner: Client, registry: str
) -> None:
    disabled = {"kind": "disabled", "scope": f"/subscriptions/{OTHER}"}
    assert (await owner.control("POST", "/restrictions", disabled)).status == 201
    assert await state(owner) == "Disabled"
    assert (await owner.arm("GET", registry)).status == 200
    refused = await owner.arm("PUT", registry, BODY)
    assert (refused.status, refused.body["error"]["code"]) == (409, "ReadOnlyDisabledSubscription")
    assert (await owner.arm("DELETE", registry)).status in (200, 202)
    await owner.control("DELETE", "/restrictions")
    assert await state(owner) == "Enabled"


async def test_deleted_subscription_is_not_found_by_anybody(azure: Azure, owner: Client, registry: str) -> None:
    assert (await owner.control("DELETE", f"/subscriptions/{OTHER}")).status == 204
    nobody = Client(azure, azure.identity.create_app("nobody"), owner._session)
    for client in (owner, nobody):
        reply = await client.arm("GET", registry)
        assert (reply.status, reply.body["error"]["code"]) == (404, "SubscriptionNotFound")


async def test_subscription_that_an_app_may_read_no_longer_is_forbidden_and_not_listed(
    azure: Azure, owner: Client, registry: str
) -> None:
    app = azure.identity.create_app("app")
    assert app.system_assigned
    azure.grant(app.system_assigned, roles.READER, SUBSCRIPTION)
    grant = azure.grant(app.system_assigned, roles.READER, f"/subscriptions/{OTHER}")
    reader = Client(azure, app, owner._session)
    assert (await reader.arm("GET", registry)).status == 200
    assert (await owner.arm("DELETE", grant.id, api_version="2022-04-01")).status == 200
    for path in (registry, f"/subscriptions/{OTHER}/providers/Microsoft.ContainerRegistry/registries"):
        reply = await reader.arm("GET", path)
        assert (reply.status, reply.body["error"]["code"]) == (403, "AuthorizationFailed")
    seen = await reader.arm("GET", "/subscriptions", api_version="2022-12-01")
    assert [item["displayName"] for item in seen.body["value"]] == ["Local subscription"]


async def test_subscription_that_does_not_exist_cannot_be_deleted(owner: Client) -> None:
    assert (await owner.control("DELETE", "/subscriptions/nowhere")).status == 400

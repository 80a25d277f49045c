"""Subscriptions, resource groups and the gateway's own refusals."""

from __future__ import annotations

import aiohttp

from dev.localazure.azure import Azure
from dev.testing.azure import SUBSCRIPTION, Client


async def test_resource_group_put_creates_then_updates(owner: Client) -> None:
    path = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
    created = await owner.arm("PUT", path, {"location": "eastus"})
    assert created.status == 201
    assert created.body["id"] == path
    assert "tags" not in created.body
    updated = await owner.arm("PUT", path.lower(), {"location": "eastus", "tags": {"team": "a"}})
    assert (updated.status, updated.body["name"], updated.body["tags"]) == (200, "myResourceGroup", {"team": "a"})


async def test_call_below_a_missing_group_is_refused_by_the_gateway(owner: Client) -> None:
    reply = await owner.arm("GET", f"{SUBSCRIPTION}/resourceGroups/nowhere")
    assert reply.status == 404
    assert reply.body == {
        "error": {"code": "ResourceGroupNotFound", "message": "Resource group 'nowhere' could not be found."}
    }
    assert reply.headers["x-ms-failure-cause"] == "gateway"


async def test_call_without_a_role_is_forbidden(azure: Azure, session: aiohttp.ClientSession) -> None:
    stranger = Client(azure, azure.identity.create_app("stranger"), session)
    reply = await stranger.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/mine", {"location": "eastus"})
    assert (reply.status, reply.body["error"]["code"]) == (403, "AuthorizationFailed")


async def test_call_without_a_token_is_unauthorized(owner: Client) -> None:
    reply = await owner.request("GET", "https://management.azure.com/subscriptions?api-version=2022-12-01")
    assert (reply.status, reply.body["error"]["code"]) == (401, "InvalidAuthenticationToken")

"""User-assigned identities: their shapes by api-version, their principal, lists and the SDK on top."""

from __future__ import annotations

import pytest
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.msi.aio import ManagedServiceIdentityClient
from azure.mgmt.msi.models import Identity

from dev.localazure.azure import Azure
from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.testing.azure import SUBSCRIPTION, Client

GROUP = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
IDENTITY = f"{GROUP}/{KIND}/builders"
NEWEST = "2025-05-31-preview"


@pytest.fixture(autouse=True)
async def group(owner: Client) -> None:
    await owner.arm("PUT", GROUP, {"location": "westus"})


async def test_new_identity_is_created_with_a_principal(azure: Azure, owner: Client) -> None:
    created = await owner.arm("PUT", IDENTITY, {"location": "westus"}, api_version=NEWEST)
    assert created.status == 201
    properties = created.body["properties"]
    resource_id = IDENTITY.replace("resourceGroups", "resourcegroups")
    assert created.body == {
        "location": "westus", "tags": {}, "id": resource_id, "name": "builders",
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "properties": {
            "isolationScope": "None", "assignmentRestrictions": {"providers": []}, "tenantId": azure.state.tenant,
            "principalId": properties["principalId"], "clientId": properties["clientId"],
        },
    }  # fmt: skip
    assert created.headers["location"] == resource_id
    principal = azure.state.principals[properties["principalId"]]
    assert (principal.app_id, principal.name, principal.explicit) == (properties["clientId"], "builders", True)


async def test_older_versions_show_less(owner: Client) -> None:
    await owner.arm("PUT", IDENTITY, {"location": "westus"}, api_version=NEWEST)
    ids = ["tenantId", "principalId", "clientId"]
    stable = await owner.arm("GET", IDENTITY, api_version="2024-11-30")
    assert list(stable.body["properties"]) == ["isolationScope", *ids]
    assert list((await owner.arm("GET", IDENTITY, api_version="2023-01-31")).body["properties"]) == ids


async def test_second_put_keeps_the_principal(owner: Client) -> None:
    first = await owner.arm("PUT", IDENTITY, {"location": "westus"}, api_version=NEWEST)
    second = await owner.arm("PUT", IDENTITY, {"location": "West US", "tags": {"a": "b"}}, api_version=NEWEST)
    assert second.status == 200
    assert second.body["properties"] == first.body["properties"]
    assert second.body["tags"] == {"a": "b"}


@pytest.mark.parametrize("name", ["ab", "-leading", "dotted.name"])
async def test_bad_name_is_refused(owner: Client, name: str) -> None:
    path = f"{GROUP}/{KIND}/{name}"
    assert (await owner.arm("PUT", path, {"location": "westus"}, api_version=NEWEST)).status == 400
    assert (await owner.arm("GET", path, api_version=NEWEST)).status == 404


async def test_identity_made_again_is_another_principal(azure: Azure, owner: Client) -> None:
    first = await owner.arm("PUT", IDENTITY, {"location": "westus"}, api_version=NEWEST)
    assert (await owner.arm("DELETE", IDENTITY, api_version=NEWEST)).status == 200
    assert first.body["properties"]["principalId"] not in azure.state.principals
    assert (await owner.arm("DELETE", IDENTITY, api_version=NEWEST)).status == 204
    second = await owner.arm("PUT", IDENTITY, {"location": "westus"}, api_version=NEWEST)
    assert second.body["properties"]["principalId"] != first.body["properties"]["principalId"]


async def test_identity_sdk_runs_the_whole_life_of_an_identity() -> None:
    credential = ManagedIdentityCredential()
    async with credential, ManagedServiceIdentityClient(credential, DEFAULT_SUBSCRIPTION) as client:
        identities = client.user_assigned_identities
        created = await identities.create_or_update("myResourceGroup", "builders", Identity(location="westus"))
        found = await identities.get("myResourceGroup", "builders")
        assert found.client_id == created.client_id
        await identities.update("myResourceGroup", "builders", Identity(location="westus", tags={"team": "a"}))
        assert [item.tags async for item in identities.list_by_resource_group("myResourceGroup")] == [{"team": "a"}]
        await identities.delete("myResourceGroup", "builders")
        assert [item async for item in identities.list_by_subscription()] == []

"""Registries that move to another resource group or subscription."""

from __future__ import annotations

import aiohttp

from dev.localazure import roles
from dev.localazure.azure import Azure
from dev.testing.azure import SUBSCRIPTION, Client, Reply
from dev.testing.functions_host import eventually

GROUP, TARGET = f"{SUBSCRIPTION}/resourceGroups/old", f"{SUBSCRIPTION}/resourceGroups/new"
REGISTRY = "providers/Microsoft.ContainerRegistry/registries/myregistry"
TASK = {"location": "eastus", "properties": {"platform": {"os": "Linux"}, "step": {
    "type": "EncodedTask", "encodedTaskContent": "dmVyc2lvbjogdjEuMS4wCnN0ZXBzOgogIC0gY21kOiBiYXNoCg==",
}}}  # fmt: skip


async def create(owner: Client) -> None:
    for group in (GROUP, TARGET):
        await owner.arm("PUT", group, {"location": "eastus"}, api_version="2024-11-01")
    body = {"location": "eastus", "sku": {"name": "Standard"}}
    await owner.arm("PUT", f"{GROUP}/{REGISTRY}", body, api_version="2026-09-01-preview")
    made = await owner.arm("PUT", f"{GROUP}/{REGISTRY}/tasks/mytask", TASK, api_version="2025-03-01-preview")
    assert made.status < 300, made.text


async def move(client: Client, resource: str = f"{GROUP}/{REGISTRY}", target: str = TARGET) -> Reply:
    body = {"resources": [resource], "targetResourceGroup": target}
    return await client.arm("POST", f"{GROUP}/moveResources", body, api_version="2024-11-01")


async def test_registry_moves_with_its_children_and_stays_the_same_registry(owner: Client) -> None:
    await create(owner)
    before = (await owner.arm("GET", f"{GROUP}/{REGISTRY}")).body["properties"]
    accepted = await move(owner)
    assert accepted.status == 202
    while (polled := await owner.request("GET", accepted.headers["location"], headers={
        "Authorization": f"Bearer {await owner.token()}"})).status == 202:  # fmt: skip
        pass
    assert polled.status == 200
    assert (await owner.arm("GET", f"{GROUP}/{REGISTRY}")).status == 404
    assert (await owner.arm("GET", f"{TARGET}/{REGISTRY}")).body["properties"] == before
    task = await owner.arm("GET", f"{TARGET}/{REGISTRY}/tasks/mytask", api_version="2025-03-01-preview")
    assert task.body["id"] == f"{TARGET}/{REGISTRY}/tasks/mytask"


async def test_registry_that_moves_to_another_subscription_keeps_its_tasks_principal_and_grants(
    azure: Azure, owner: Client
) -> None:
    other = azure.create_subscription("00000000-0000-4000-8000-000000000002", "Another").id
    await create(owner)
    body = {**TASK, "identity": {"type": "SystemAssigned"}}
    task = await owner.arm("PUT", f"{GROUP}/{REGISTRY}/tasks/mytask", body, api_version="2025-03-01-preview")
    principal = task.body["identity"]["principalId"]
    azure.grant(principal, roles.READER, GROUP)
    await owner.arm("PUT", f"{other}/resourceGroups/new", {"location": "eastus"}, api_version="2024-11-01")
    assert (await move(owner, target=f"{other}/resourceGroups/new")).status == 202
    moved = f"{other}/resourceGroups/new/{REGISTRY}"
    await eventually(lambda: azure.state.get(moved), 10)
    lists = [f"{place}/providers/Microsoft.ContainerRegistry/registries" for place in (SUBSCRIPTION, other)]
    assert [[r["id"] for r in (await owner.arm("GET", path)).body["value"]] for path in lists] == [[], [moved]]
    shown = await owner.arm("GET", f"{moved}/tasks/mytask", api_version="2025-03-01-preview")
    assert shown.body["identity"]["principalId"] == principal
    assert azure.rbac.allows(principal, "Microsoft.ContainerRegistry/registries/read", GROUP)
    assert (await owner.arm("DELETE", moved)).status == 200
    assert principal not in azure.state.principals


async def test_what_cannot_be_moved_is_refused(owner: Client) -> None:
    await create(owner)
    for resource in (f"{GROUP}/{REGISTRY}/tasks/mytask", f"{TARGET}/{REGISTRY}"):
        assert (await move(owner, resource)).status in (400, 404)
    assert (await move(owner, target=f"{SUBSCRIPTION}/resourceGroups/nowhere")).status == 404


async def test_move_needs_rights_at_both_ends(azure: Azure, owner: Client, session: aiohttp.ClientSession) -> None:
    await create(owner)
    mover = azure.identity.create_app("mover")
    assert mover.system_assigned
    azure.grant(mover.system_assigned, roles.CONTRIBUTOR, GROUP)
    refused = await move(Client(azure, mover, session))
    assert (refused.status, refused.body["error"]["code"]) == (403, "LinkedAuthorizationFailed")

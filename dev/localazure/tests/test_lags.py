"""What Azure shows late: replicas of Resource Manager, lists of runs, tags."""

from __future__ import annotations

import aiohttp
import pytest

from dev.localazure import roles
from dev.localazure.azure import Azure
from dev.localazure.tests.task_runs import TASKS_API, Scenario, registry_id
from dev.testing.azure import SUBSCRIPTION, Client

GROUP = f"{SUBSCRIPTION}/resourceGroups/mine"
REGISTRIES = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries"
BODY = {"location": "eastus", "sku": {"name": "Standard"}}


async def lag(owner: Client, service: str, name: str, seconds: float) -> None:
    assert (await owner.control("PATCH", "/settings", {service: {name: seconds}})).status == 200


@pytest.fixture
async def reader(azure: Azure, owner: Client, session: aiohttp.ClientSession) -> Client:
    """Somebody else than who writes."""
    await owner.arm("PUT", GROUP, {"location": "eastus"}, api_version="2024-11-01")
    app = azure.identity.create_app("reader")
    assert app.system_assigned
    azure.grant(app.system_assigned, roles.READER, SUBSCRIPTION)
    return Client(azure, app, session)


async def listed(client: Client, path: str, api_version: str = "2025-11-01") -> list[str]:
    reply = await client.arm("GET", path, api_version=api_version)
    assert reply.status == 200, reply.text
    return [item["name"] for item in reply.body["value"]]


async def test_new_registry_is_seen_by_others_when_the_replicas_have_it(
    azure: Azure, owner: Client, reader: Client
) -> None:
    await owner.arm("PUT", f"{REGISTRIES}/older", BODY)
    await lag(owner, "replicas", "lag", 30)
    assert (await owner.arm("PUT", f"{REGISTRIES}/younger", BODY)).status == 201
    lists = (REGISTRIES, f"{SUBSCRIPTION}/providers/Microsoft.ContainerRegistry/registries")
    assert (await owner.arm("GET", f"{REGISTRIES}/younger")).status == 200
    for path in (f"{REGISTRIES}/younger", f"{REGISTRIES}/younger/tasks"):
        early = await reader.arm("GET", path, api_version="2025-11-01" if path.endswith("r") else TASKS_API)
        assert (early.status, early.body["error"]["code"]) == (404, "ResourceNotFound")
    for path in lists:
        assert await listed(reader, path) == ["older"]
    assert await listed(reader, f"{SUBSCRIPTION}/resources", "2024-11-01") == ["older"]
    azure.clock.advance(31)
    assert (await reader.arm("GET", f"{REGISTRIES}/younger")).status == 200
    for path in lists:
        assert await listed(reader, path) == ["older", "younger"]


async def test_change_of_a_registry_is_seen_at_once(owner: Client, reader: Client) -> None:
    await owner.arm("PUT", f"{REGISTRIES}/older", BODY)
    await lag(owner, "replicas", "lag", 30)
    await owner.arm("PUT", f"{REGISTRIES}/older", {**BODY, "tags": {"a": "b"}})
    assert (await reader.arm("GET", f"{REGISTRIES}/older")).body["tags"] == {"a": "b"}


@pytest.mark.usefixtures("granted_task")
async def test_list_of_runs_knows_a_new_run_late(azure: Azure, owner: Client, scenario: Scenario) -> None:
    await lag(owner, "agent", "list_lag", 20)
    run = (await scenario.schedule()).body["name"]
    runs = f"{registry_id('myregistry')}/runs"
    assert await listed(owner, runs, TASKS_API) == []
    assert (await scenario.get(run))["runId"] == run
    azure.clock.advance(21)
    assert await listed(owner, runs, TASKS_API) == [run]

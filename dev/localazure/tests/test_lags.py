"""What Azure shows late: replicas of Resource Manager, lists of runs, tags."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from dev.localazure import roles
from dev.localazure.azure import Azure
from dev.localazure.registry.client import RegistryClient
from dev.localazure.registry.images import Image
from dev.localazure.tests.registries import client_of
from dev.localazure.tests.task_runs import TASKS_API, Scenario, base_image, registry_id
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


async def test_lists_know_a_new_registry_later_than_reads(azure: Azure, owner: Client, reader: Client) -> None:
    await lag(owner, "replicas", "list_lag", 900)
    await owner.arm("PUT", f"{REGISTRIES}/younger", BODY)
    for client in (owner, reader):
        assert (await client.arm("GET", f"{REGISTRIES}/younger")).status == 200
        assert await listed(client, REGISTRIES) == []
    azure.clock.advance(901)
    for client in (owner, reader):
        assert await listed(client, REGISTRIES) == ["younger"]


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


REPLICATIONS = f"{registry_id('mybaseregistry')}/replications"
OLD, NEW = base_image("15.13.0"), base_image("15.14.0")
TAG = "/v2/baseimages/node/manifests/15-alpine"


@pytest.fixture
async def base(azure: Azure, scenario: Scenario, session: aiohttp.ClientSession) -> RegistryClient:
    """A client of the base registry, whose tag stands on the older image."""
    client = client_of(azure, scenario.registry("mybaseregistry"), session)
    await client.push("baseimages/node", "15-alpine", OLD)
    azure.clock.advance(3600)
    return client


async def shown(base: RegistryClient) -> dict[str, Any]:
    """Return the digests that each way of asking shows."""
    tags = json.loads((await base.request("GET", "/acr/v1/baseimages/node/_tags?orderby=timedesc")).body)["tags"]
    tag = json.loads((await base.request("GET", "/acr/v1/baseimages/node/_tags/15-alpine")).body)["tag"]
    asked = [(await base.request(how, TAG)).headers["Docker-Content-Digest"] for how in ("HEAD", "GET")]
    return {"list": {one["name"]: one["digest"] for one in tags}, "tag": tag["digest"], "manifest": asked,
            "updated": tag["lastUpdateTime"]}  # fmt: skip


def everywhere(image: Image) -> dict[str, Any]:
    return {"list": {"15-alpine": image.digest}, "tag": image.digest, "manifest": [image.digest] * 2}


async def test_tag_is_read_as_it_was_while_its_event_is_out_already(
    azure: Azure, owner: Client, base: RegistryClient
) -> None:
    before = await shown(base)
    await lag(owner, "registries", "tag_lag", 10)
    await base.push("baseimages/node", "15-alpine", NEW)
    assert azure.events.published[-1]["data"]["target"]["digest"] == NEW.digest
    assert await shown(base) == before
    azure.clock.advance(11)
    after = await shown(base)
    assert after.pop("updated") > before["updated"]
    assert after == everywhere(NEW)


async def test_new_tag_is_not_known_at_first_but_its_image_is(
    azure: Azure, owner: Client, base: RegistryClient
) -> None:
    await lag(owner, "registries", "tag_lag", 10)
    await base.push("baseimages/node", "15.14", NEW)
    assert (await base.request("GET", "/v2/baseimages/node/manifests/15.14")).status == 404
    assert (await base.request("GET", "/acr/v1/baseimages/node/_tags/15.14")).status == 404
    assert json.loads((await base.request("GET", "/v2/baseimages/node/tags/list")).body)["tags"] == ["15-alpine"]
    assert await base.pull("baseimages/node", NEW.digest) == NEW
    azure.clock.advance(11)
    assert await base.pull("baseimages/node", "15.14") == NEW


async def test_tag_that_moves_there_and_back_is_read_as_it_was_before_both(
    azure: Azure, owner: Client, base: RegistryClient
) -> None:
    await lag(owner, "registries", "tag_lag", 10)
    for image in (NEW, base_image("15.15.0"), NEW):
        await base.push("baseimages/node", "15-alpine", image)
        azure.clock.advance(3)
    assert (await shown(base))["tag"] == OLD.digest
    azure.clock.advance(2)
    assert (await shown(base))["tag"] == NEW.digest


async def test_replicas_are_listed_with_the_home_region(owner: Client, scenario: Scenario) -> None:
    path = REPLICATIONS
    assert await listed(owner, path) == ["eastus"]
    made = await owner.arm("PUT", f"{path}/europe", {"location": "West Europe"})
    assert (made.status, made.body["location"], made.body["properties"]["provisioningState"]) == (
        200, "westeurope", "Succeeded",
    )  # fmt: skip
    assert (await owner.arm("GET", f"{path}/europe")).body == made.body
    assert await listed(owner, path) == ["eastus", "europe"]
    assert (await owner.arm("PUT", f"{path}/again", {"location": "westeurope"})).status == 409
    home = await owner.arm("DELETE", f"{path}/eastus")
    assert (home.status, home.body["error"]["code"]) == (400, "HomeReplicationCannotBeDeleted")
    assert (await owner.arm("DELETE", f"{path}/europe")).status == 200
    assert (await owner.arm("GET", f"{path}/europe")).status == 404
    assert await listed(owner, path) == ["eastus"]


@pytest.mark.usefixtures("granted_task")
async def test_run_in_the_region_of_a_replica_that_lags_builds_on_the_older_image(
    azure: Azure, owner: Client, scenario: Scenario, base: RegistryClient
) -> None:
    await lag(owner, "registries", "replica_lag", 60)
    await base.push("baseimages/node", "15-alpine", NEW)
    at_home = await scenario.run()
    scenario.registry("myregistry").location = "westeurope"
    await owner.arm("PUT", f"{REPLICATIONS}/europe", {"location": "westeurope"})
    early = await scenario.run()
    azure.clock.advance(61)
    late = await scenario.run()
    assert [_base_of(scenario, run.id) for run in (at_home, early, late)] == [NEW.digest, OLD.digest, NEW.digest]
    assert (await shown(base))["tag"] == NEW.digest


def _base_of(scenario: Scenario, run: str) -> str:
    return str(scenario.image(run).config["config"]["Labels"]["org.opencontainers.image.base.digest"])

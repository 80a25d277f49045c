"""importImage: copying images between registries through ARM."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
from azure.mgmt.containerregistry.models import ImportImageParameters, ImportSource

from dev.localazure.azure import Azure
from dev.localazure.registry.auth import NO_USER
from dev.localazure.registry.images import build_image
from dev.localazure.state import DEFAULT_SUBSCRIPTION, Resource
from dev.localazure.tests.registries import client_of, make_registry
from dev.testing.azure import Client, Reply

CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
IMAGE = build_image({"a": b"1"})


@pytest.fixture
async def target(azure: Azure, owner: Client) -> Resource:
    await owner.arm("PUT", f"/subscriptions/{DEFAULT_SUBSCRIPTION}/resourceGroups/rg", {"location": "westus"})
    return make_registry(azure)


@pytest.fixture
async def source(azure: Azure, session: aiohttp.ClientSession, target: Resource) -> Resource:
    registry = make_registry(azure, "sourceregistry")
    await client_of(azure, registry, session).push("team/app", "v1", IMAGE)
    return registry


async def run_import(client: Client, target: Resource, body: dict[str, Any]) -> Reply:
    """Ask for an import and poll until it is over; return the last answer."""
    reply = await client.arm("POST", f"{target.id}/importImage", body)
    bearer = {"Authorization": f"Bearer {await client.token()}"}
    while reply.status == 202:
        reply = await client.request("GET", reply.headers["location"], headers=bearer)
    return reply


def tags_of(azure: Azure, registry: Resource) -> dict[str, str]:
    repositories = azure.registries.content(registry).repositories
    return {f"{name}:{t.name}": t.digest for name, r in repositories.items() for t in r.tags.values()}


async def test_sdk_imports_a_public_image(azure: Azure, target: Resource) -> None:
    parameters = ImportImageParameters(
        source=ImportSource(registry_uri="docker.io", source_image="library/node:15-alpine"),
        target_tags=["baseimages/node:15-alpine"],
    )
    async with (
        ManagedIdentityCredential() as credential,
        ContainerRegistryManagementClient(credential, DEFAULT_SUBSCRIPTION, polling_interval=0) as client,
    ):
        poller = await client.registries.begin_import_image("rg", "myregistry", parameters)
        await poller.result()
    manifest = azure.registries.get_manifest(target, "baseimages/node", "15-alpine")
    assert manifest is not None
    assert list(tags_of(azure, target)) == ["baseimages/node:15-alpine"]


async def test_import_is_accepted_then_polled(azure: Azure, owner: Client, target: Resource) -> None:
    azure.operations.duration = timedelta(seconds=12)
    body = {"source": {"registryUri": "mcr.microsoft.com", "sourceImage": "azure-cli"}}
    reply = await owner.arm("POST", f"{target.id}/importImage", body)
    assert (reply.status, reply.text) == (202, "")
    location = reply.headers["location"]
    assert "/providers/Microsoft.ContainerRegistry/locations/WESTUS/operationResults/registries-" in location
    bearer = {"Authorization": f"Bearer {await owner.token()}"}
    pending = await owner.request("GET", location, headers=bearer)
    assert (pending.status, pending.body) == (202, {"azure-cli:latest": "Pending", "status": "Accepted"})
    azure.clock.advance(13)
    while (done := await owner.request("GET", location, headers=bearer)).status == 202:
        pass
    assert (done.status, done.body) == (200, {"status": "Succeeded"})
    assert list(tags_of(azure, target)) == ["azure-cli:latest"]


async def test_same_public_name_gives_the_same_digest_and_another_name_another(
    azure: Azure, owner: Client, target: Resource
) -> None:
    for image, tag in (("library/node:15", "a:1"), ("library/node:15", "b:1"), ("library/node:16", "c:1")):
        await run_import(
            owner, target, {"source": {"registryUri": "docker.io", "sourceImage": image}, "targetTags": [tag]}
        )
    tags = tags_of(azure, target)
    assert tags["a:1"] == tags["b:1"] != tags["c:1"]


async def test_image_of_another_registry_is_copied_to_tags_and_untagged(
    azure: Azure, owner: Client, session: aiohttp.ClientSession, target: Resource, source: Resource
) -> None:
    body = {
        "source": {"resourceId": source.id.lower(), "sourceImage": f"team/app@{IMAGE.digest}"},
        "targetTags": ["copy:one", "copy:two"], "untaggedTargetRepositories": ["archive"],
    }  # fmt: skip
    assert (await run_import(owner, target, body)).body == {"status": "Succeeded"}
    client = client_of(azure, target, session)
    assert await client.pull("copy", "two") == IMAGE
    assert await client.pull("archive", IMAGE.digest) == IMAGE
    assert tags_of(azure, target) == {"copy:one": IMAGE.digest, "copy:two": IMAGE.digest}


async def test_import_raises_no_image_pushed(azure: Azure, owner: Client, target: Resource, source: Resource) -> None:
    by_id = {"resourceId": source.id, "sourceImage": "team/app:v1"}
    public = {"registryUri": "docker.io", "sourceImage": "library/node:15"}
    for image in (by_id, public):
        body = {"source": image, "targetTags": ["copy:one", "copy:two"], "mode": "Force"}
        assert (await run_import(owner, target, body)).status == 200
    assert [e for e in azure.events.published if e["topic"] == target.id] == []


async def test_existing_tag_is_kept_unless_forced(
    azure: Azure, owner: Client, session: aiohttp.ClientSession, target: Resource, source: Resource
) -> None:
    old = build_image({"a": b"old"})
    await client_of(azure, target, session).push("team/app", "v1", old)
    body = {
        "source": {"resourceId": source.id, "sourceImage": "team/app:v1"}, "targetTags": ["new:v1", "team/app:v1"],
    }  # fmt: skip
    refused = await run_import(owner, target, body)
    assert (refused.status, refused.body["error"]["code"]) == (409, "Conflict")
    assert refused.body["error"]["message"].endswith(
        f"failed. Resource {target.id} team/app:v1 Tag team/app:v1 already exists in target registry."
    )
    assert tags_of(azure, target) == {"team/app:v1": old.digest}
    assert (await run_import(owner, target, {**body, "mode": "Force"})).status == 200
    assert tags_of(azure, target) == {"team/app:v1": IMAGE.digest, "new:v1": IMAGE.digest}


async def test_caller_needs_the_right_to_pull_from_the_source(
    azure: Azure, session: aiohttp.ClientSession, target: Resource, source: Resource
) -> None:
    app = azure.identity.create_app("importer")
    azure.grant(str(app.system_assigned), CONTRIBUTOR, target.id)
    importer = Client(azure, app, session)
    body = {"source": {"resourceId": source.id, "sourceImage": "team/app:v1"}}
    refused = await run_import(importer, target, body)
    assert (refused.status, refused.body["error"]["code"]) == (400, "InvalidParameters")
    assert "UNAUTHORIZED" in refused.body["error"]["message"]
    azure.grant(str(app.system_assigned), "7f951dda-4ed3-4680-a7ca-43fe172d538d", source.id)
    assert (await run_import(importer, target, body)).status == 200


async def test_registry_uri_is_read_with_its_credentials_or_as_nobody(
    azure: Azure, owner: Client, session: aiohttp.ClientSession, target: Resource, source: Resource
) -> None:
    by_uri = {"registryUri": "sourceregistry.azurecr.io", "sourceImage": "team/app:v1"}
    refused = await run_import(owner, target, {"source": by_uri})
    assert "UNAUTHORIZED" in refused.body["error"]["message"]
    token = await client_of(azure, source, session).refresh_token()
    credentials = {"username": NO_USER, "password": token}
    done = await run_import(owner, target, {"source": {**by_uri, "credentials": credentials}})
    assert done.status == 200
    source.properties["anonymousPullEnabled"] = True
    assert (await run_import(owner, target, {"source": by_uri, "mode": "Force"})).status == 200


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"registryUri": "sourceregistry.azurecr.io", "sourceImage": "team/app:v1"}, "No such host"),
        ({"registryUri": "docker.io", "sourceImage": f"node@sha256:{'0' * 64}"}, "MANIFEST_UNKNOWN"),
        ({"resourceId": "/subscriptions/0/x", "sourceImage": "app:v1"}, "does not exist"),
    ],
)
async def test_source_that_does_not_exist_fails_the_operation(
    owner: Client, target: Resource, source: dict[str, str], text: str
) -> None:
    refused = await run_import(owner, target, {"source": source, "targetTags": ["a:1"]})
    assert (refused.status, refused.body["error"]["code"]) == (400, "InvalidParameters")
    assert text in refused.body["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"source": {"sourceImage": "a:1"}},
        {"source": {"registryUri": "docker.io"}},
        {"source": {"registryUri": "docker.io", "sourceImage": "a:1"}, "mode": "Maybe"},
        {"source": {"registryUri": "docker.io", "sourceImage": "a:1"}, "targetTags": ["UPPER:1"]},
        {"source": {"registryUri": "docker.io", "sourceImage": "a:1"}, "untaggedTargetRepositories": ["a:1"]},
    ],
)
async def test_malformed_import_is_refused_at_once(owner: Client, target: Resource, body: dict[str, Any]) -> None:
    reply = await owner.arm("POST", f"{target.id}/importImage", body)
    assert (reply.status, reply.body["error"]["code"]) == (400, "InvalidParameters")


async def test_import_needs_the_action_on_the_target(
    azure: Azure, session: aiohttp.ClientSession, target: Resource
) -> None:
    stranger = Client(azure, azure.identity.create_app("stranger"), session)
    body = {"source": {"registryUri": "docker.io", "sourceImage": "a:1"}}
    reply = await stranger.arm("POST", f"{target.id}/importImage", body)
    assert (reply.status, reply.body["error"]["code"]) == (403, "AuthorizationFailed")
    assert "registries/importImage/action" in reply.body["error"]["message"]


async def test_import_into_a_missing_registry_is_not_found(owner: Client, target: Resource) -> None:
    body = {"source": {"registryUri": "docker.io", "sourceImage": "a:1"}}
    reply = await owner.arm("POST", f"{target.id}x/importImage", body)
    assert (reply.status, reply.body["error"]["code"]) == (404, "ResourceNotFound")

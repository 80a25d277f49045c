"""Microsoft's own data-plane client against the local registries."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest
from azure.containerregistry import ArtifactTagOrder
from azure.containerregistry.aio import ContainerRegistryClient
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.identity.aio import ManagedIdentityCredential

from dev.localazure.azure import Azure
from dev.localazure.registry.images import build_image, build_index
from dev.localazure.registry.manifests import OCI_MANIFEST
from dev.localazure.state import Resource

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"


@pytest.fixture
async def client(azure: Azure, registry: Resource) -> AsyncIterator[ContainerRegistryClient]:
    async with (
        ManagedIdentityCredential() as credential,
        ContainerRegistryClient(f"https://{registry.properties['loginServer']}", credential) as client,
    ):
        yield client


async def test_sdk_uploads_an_image_and_reads_it_back(client: ContainerRegistryClient) -> None:
    layer = bytes(range(256)) * 20_000
    digest, size = await client.upload_blob("team/app", io.BytesIO(layer))
    config, config_size = await client.upload_blob("team/app", io.BytesIO(b'{"architecture":"arm64","os":"linux"}'))
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size,
        },
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size}],
    }  # fmt: skip
    pushed = await client.set_manifest("team/app", manifest, tag="v1")
    found = await client.get_manifest("team/app", "v1")
    assert (found.digest, found.media_type, found.manifest) == (pushed, OCI_MANIFEST, manifest)
    properties = await client.get_manifest_properties("team/app", "v1")
    assert (properties.architecture, properties.tags) == ("arm64", ["v1"])
    stream = await client.download_blob("team/app", digest)
    assert b"".join([chunk async for chunk in stream]) == layer


async def test_sdk_lists_over_pages_and_deletes(
    azure: Azure, registry: Resource, client: ContainerRegistryClient
) -> None:
    index = build_index([build_image({"a": b"1"}, platform=p) for p in ("linux/amd64", "linux/arm64")])
    for tag in ("a", "b", "c"):
        azure.registries.push(registry, "node", tag, index)
        azure.clock.advance(1)
    tags = client.list_tag_properties("node", order_by=ArtifactTagOrder.LAST_UPDATED_ON_DESCENDING, results_per_page=2)
    assert [tag.name async for tag in tags] == ["c", "b", "a"]
    assert len([m async for m in client.list_manifest_properties("node", results_per_page=1)]) == 3
    await client.delete_tag("node", "a")
    await client.delete_manifest("node", index.digest)
    with pytest.raises(ResourceNotFoundError):
        await client.get_tag_properties("node", "b")
    await client.delete_repository("node")
    assert [name async for name in client.list_repository_names()] == []


async def test_sdk_reads_but_does_not_delete_with_the_right_to_pull(
    azure: Azure, registry: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.registries.push(registry, "node", "15", build_image({"a": b"1"}))
    app = azure.identity.create_app("puller")
    azure.grant(str(app.system_assigned), ACR_PULL, registry.id)
    monkeypatch.setenv("IDENTITY_HEADER", app.header)
    async with (
        ManagedIdentityCredential() as credential,
        ContainerRegistryClient("https://myregistry.azurecr.io", credential) as client,
    ):
        assert (await client.get_tag_properties("node", "15")).name == "15"
        with pytest.raises(ClientAuthenticationError):
            await client.delete_tag("node", "15")
    assert "15" in azure.registries.repository(registry, "node").tags

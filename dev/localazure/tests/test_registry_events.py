"""The events that pushes and deletions raise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.localazure.azure import Azure
from dev.localazure.registry.client import RegistryClient
from dev.localazure.registry.images import Image, build_image, build_index
from dev.localazure.registry.manifests import OCI_INDEX, OCI_MANIFEST, digest_of
from dev.localazure.state import Resource

IMAGE = build_image({"a": b"1"})


def raised(azure: Azure, kind: str = "ImagePushed") -> list[dict[str, Any]]:
    return [e for e in azure.events.published if e["eventType"] == f"Microsoft.ContainerRegistry.{kind}"]


async def test_push_by_tag_raises_image_pushed(azure: Azure, registry: Resource, client: RegistryClient) -> None:
    await client.push("team/hello-world", "v1", IMAGE)
    (event,) = raised(azure)
    assert (event["topic"], event["subject"]) == (registry.id, "team/hello-world:v1")
    assert (event["dataVersion"], event["metadataVersion"]) == ("2.0", "1")
    data = event["data"]
    assert (data["action"], data["location"]) == ("push", "westus")
    assert data["target"] == {
        "mediaType": OCI_MANIFEST, "size": len(IMAGE.manifest), "digest": IMAGE.digest,
        "length": len(IMAGE.manifest), "repository": "team/hello-world", "tag": "v1",
    }  # fmt: skip
    request = data["request"]
    assert (request["host"], request["method"]) == ("myregistry.azurecr.io", "PUT")
    assert "aiohttp" in request["useragent"]
    assert event["id"] != data["id"] != request["id"]


async def test_multi_arch_push_raises_untagged_events_for_the_children(azure: Azure, client: RegistryClient) -> None:
    index = build_index([build_image({"a": b"1"}, platform=p) for p in ("linux/amd64", "linux/arm64")])
    await client.push("node", "15-alpine", index)
    assert [e["subject"] for e in raised(azure)] == ["node", "node", "node:15-alpine"]
    assert ["tag" in e["data"]["target"] for e in raised(azure)] == [False, False, True]
    assert raised(azure)[-1]["data"]["target"]["mediaType"] == index.media_type


async def test_pushing_the_same_digest_again_raises_again(azure: Azure, client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    await client.push("app", "v1", IMAGE)
    first, second = raised(azure)
    assert first["id"] != second["id"]
    assert first["data"]["target"] == second["data"]["target"]


async def test_each_replica_raises_an_event_of_its_own(
    azure: Azure, registry: Resource, client: RegistryClient
) -> None:
    azure.registries.content(registry).replicas = {"east": "eastus", "europe": "westeurope"}
    await client.push("app", "v1", IMAGE)
    assert [e["data"]["location"] for e in raised(azure)] == ["westus", "eastus", "westeurope"]
    assert len({e["id"] for e in raised(azure)}) == 3


async def test_refused_push_raises_nothing(azure: Azure, client: RegistryClient) -> None:
    await client.request("PUT", "/v2/app/manifests/v1", data=IMAGE.manifest, headers={"Content-Type": IMAGE.media_type})
    assert raised(azure) == []


async def test_deleting_a_manifest_raises_image_deleted(azure: Azure, client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    await client.request("DELETE", f"/v2/app/manifests/{IMAGE.digest}")
    (event,) = raised(azure, "ImageDeleted")
    assert event["subject"] == "app"
    assert event["data"]["action"] == "delete"
    assert event["data"]["target"] == {"mediaType": OCI_MANIFEST, "digest": IMAGE.digest, "repository": "app"}
    assert event["data"]["request"]["method"] == "DELETE"


async def test_untagging_raises_nothing(azure: Azure, client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    await client.request("DELETE", "/acr/v1/app/_tags/v1")
    assert raised(azure, "ImageDeleted") == []


CACHE, EMPTY = "application/vnd.buildkit.cacheconfig.v0", "application/vnd.oci.empty.v1+json"


def helper(media_type: str, config_type: str, **more: Any) -> Image:
    """Return what is pushed beside images: one configuration of another type, in a manifest or an index."""
    blob = b"{}"
    described = {"mediaType": config_type, "digest": digest_of(blob), "size": len(blob)}
    content = {"manifests": [described]} if media_type == OCI_INDEX else {"config": described, "layers": [described]}
    document = {"schemaVersion": 2, "mediaType": media_type, **content, **more}
    return Image(json.dumps(document).encode(), media_type, {digest_of(blob): blob})


@pytest.mark.parametrize(("media_type", "config_type", "attached"), [
    (OCI_MANIFEST, CACHE, False), (OCI_INDEX, CACHE, False), (OCI_MANIFEST, EMPTY, True),
    (OCI_MANIFEST, "application/vnd.cncf.helm.config.v1+json", False),
])  # fmt: skip
async def test_what_is_no_image_raises_image_pushed_too_with_the_type_of_its_manifest(
    azure: Azure, client: RegistryClient, media_type: str, config_type: str, attached: bool
) -> None:
    await client.push("app", "v1", IMAGE)
    subject = {"mediaType": IMAGE.media_type, "digest": IMAGE.digest, "size": len(IMAGE.manifest)}
    more = {"artifactType": "application/vnd.example.sbom", "subject": subject} if attached else {}
    pushed = helper(media_type, config_type, **more)
    await client.push("app", "v1-extra", pushed)
    assert raised(azure)[-1]["data"]["target"] == {
        "mediaType": media_type, "size": len(pushed.manifest), "digest": pushed.digest,
        "length": len(pushed.manifest), "repository": "app", "tag": "v1-extra",
    }  # fmt: skip
    read = await client.request("GET", "/v2/app/manifests/v1-extra")
    assert (read.headers["Content-Type"], read.body) == (media_type, pushed.manifest)
    shown = json.loads((await client.request("GET", f"/acr/v1/app/_manifests/{pushed.digest}")).body)["manifest"]
    assert shown["mediaType"] == media_type
    assert shown.get("configMediaType") == (config_type if media_type == OCI_MANIFEST else None)
    referrers = json.loads((await client.request("GET", f"/v2/app/referrers/{IMAGE.digest}")).body)["manifests"]
    assert [one["artifactType"] for one in referrers] == (["application/vnd.example.sbom"] if attached else [])

"""ACR's own API under `/acr/v1/`."""

from __future__ import annotations

import json
from typing import Any

from dev.localazure.azure import Azure
from dev.localazure.registry.client import RegistryClient
from dev.localazure.registry.images import build_image, build_index
from dev.localazure.registry.manifests import OCI_MANIFEST

IMAGE = build_image({"a": b"1"})
UNLOCKED = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}


async def get(client: RegistryClient, path: str) -> Any:
    return json.loads((await client.request("GET", f"/acr/v1/{path}")).body)


async def test_tag_shows_its_digest_and_times(azure: Azure, client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    azure.clock.advance(60)
    await client.push("app", "v1", build_image({"a": b"2"}))
    shown = await get(client, "app/_tags/v1")
    tag = shown.pop("tag")
    assert shown == {"registry": "myregistry.azurecr.io", "imageName": "app"}
    assert tag["digest"] == build_image({"a": b"2"}).digest
    assert tag["createdTime"] < tag["lastUpdateTime"]
    assert tag["createdTime"].endswith("Z")
    assert (tag["signed"], tag["changeableAttributes"]) == (False, UNLOCKED)


async def test_tags_are_listed_by_time_and_digest(azure: Azure, client: RegistryClient) -> None:
    for tag in ("c", "a", "b"):
        await client.push("app", tag, build_image({"tag": tag.encode()}))
        azure.clock.advance(1)
    newest = await get(client, "app/_tags?orderby=timedesc&n=2")
    assert [t["name"] for t in newest["tags"]] == ["b", "a"]
    rest = await get(client, "app/_tags?orderby=timedesc&n=2&last=a")
    assert [t["name"] for t in rest["tags"]] == ["c"]
    digest = build_image({"tag": b"c"}).digest
    assert [t["name"] for t in (await get(client, f"app/_tags?digest={digest}"))["tags"]] == ["c"]


async def test_manifests_show_platform_size_tags_and_references(client: RegistryClient) -> None:
    index = build_index([build_image({"a": b"1"}, platform=p) for p in ("linux/amd64", "linux/arm64")])
    await client.push("app", "v1", index)
    manifests = {m["digest"]: m for m in (await get(client, "app/_manifests"))["manifests"]}
    assert manifests[index.digest]["tags"] == ["v1"]
    assert [r["architecture"] for r in manifests[index.digest]["references"]] == ["amd64", "arm64"]
    child = (await get(client, f"app/_manifests/{index.children[1].digest}"))["manifest"]
    assert (child["architecture"], child["os"], child["changeableAttributes"]) == ("arm64", "linux", UNLOCKED)
    assert child["imageSize"] == sum(len(blob) for blob in index.children[1].blobs.values())
    assert (child["mediaType"], child["configMediaType"]) == (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json")
    assert "tags" not in child


async def test_untagging_keeps_the_manifest(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    assert (await client.request("DELETE", "/acr/v1/app/_tags/v1")).status == 202
    assert json.loads((await client.request("GET", "/acr/v1/app/_tags/v1")).body)["errors"][0]["code"] == "TAG_UNKNOWN"
    assert await client.pull("app", IMAGE.digest) == IMAGE


async def test_repository_is_described_and_deleted(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    await client.push("base", "v1", IMAGE)
    described = await get(client, "app")
    assert (described["manifestCount"], described["tagCount"]) == (1, 1)
    answer = await client.request("DELETE", "/acr/v1/app")
    assert answer.status == 202
    assert json.loads(answer.body) == {"manifestsDeleted": [IMAGE.digest], "tagsDeleted": ["v1"]}
    assert (await get(client, "_catalog")) == {"repositories": ["base"]}
    again = await client.request("DELETE", "/acr/v1/app")
    assert again.status == 404
    assert json.loads(again.body) == {
        "errors": [
            {"code": "NAME_UNKNOWN", "message": "repository name not known to registry", "detail": {"name": "app"}}
        ]
    }


async def test_catalog_links_to_its_next_page(client: RegistryClient) -> None:
    for name in ("library/alpine", "library/busybox", "library/node"):
        await client.push(name, "v1", IMAGE)
    answer = await client.request("GET", "/acr/v1/_catalog?n=2")
    assert json.loads(answer.body) == {"repositories": ["library/alpine", "library/busybox"]}
    assert answer.headers["Link"] == '</acr/v1/_catalog?last=library%2Fbusybox&n=2&orderby=>; rel="next"'


async def test_push_of_the_same_content_moves_the_time_of_its_tag_alone(azure: Azure, client: RegistryClient) -> None:
    for tag in ("v1", "other"):
        await client.push("app", tag, IMAGE)
    before = {t["name"]: t for t in (await get(client, "app/_tags"))["tags"]}
    azure.clock.advance(60)
    await client.push("app", "v1", IMAGE)
    after = {t["name"]: t for t in (await get(client, "app/_tags"))["tags"]}
    assert after["other"] == before["other"]
    assert after["v1"].pop("lastUpdateTime") > before["v1"].pop("lastUpdateTime")
    assert after["v1"] == before["v1"]


async def test_newest_tags_come_first_over_all_pages(azure: Azure, client: RegistryClient) -> None:
    for number in range(25):
        await client.push("app", f"b{number * 7 % 25}", IMAGE)
        azure.clock.advance(1)
    shown, path = list[str](), "/acr/v1/app/_tags?orderby=timedesc&n=10"
    while path:
        answer = await client.request("GET", path)
        shown += [tag["name"] for tag in json.loads(answer.body)["tags"]]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert shown == [f"b{number * 7 % 25}" for number in reversed(range(25))]

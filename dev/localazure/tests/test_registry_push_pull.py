"""Push and pull over `/v2/`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from dev.localazure.registry.client import RegistryAnswer, RegistryClient
from dev.localazure.registry.images import Image, build_image, build_index
from dev.localazure.registry.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_MANIFEST, digest_of

IMAGE = build_image({"a": b"1"})


def error_of(answer: RegistryAnswer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["errors"][0]["code"]


async def test_image_pushed_by_tag_is_pulled_back_whole(client: RegistryClient) -> None:
    base = build_image({"etc/os-release": b"NAME=base"}, labels={"team": "platform"})
    image = build_image({"app/server.js": b"listen()"}, base=base, config={"Cmd": ["node", "server.js"]})
    digest = await client.push("team/hello-world", "v1", image)
    pulled = await client.pull("team/hello-world", "v1")
    assert pulled == image
    assert digest == image.digest
    assert len(pulled.config["rootfs"]["diff_ids"]) == 2
    assert pulled.config["config"] == {"Labels": {"team": "platform"}, "Cmd": ["node", "server.js"]}


@pytest.mark.parametrize("docker", [False, True])
async def test_index_is_pulled_back_with_its_platforms(client: RegistryClient, docker: bool) -> None:
    platforms = ("linux/amd64", "linux/arm64/v8")
    index = build_index([build_image({"a": b"1"}, platform=p, docker=docker) for p in platforms])
    await client.push("node", "15-alpine", index)
    pulled = await client.pull("node", "15-alpine")
    assert pulled == index
    assert (pulled.media_type == DOCKER_LIST) is docker
    assert [d["platform"]["architecture"] for d in index.document["manifests"]] == ["amd64", "arm64"]


async def test_image_on_a_docker_base_keeps_docker_media_types() -> None:
    image = build_image({"a": b"1"}, base=build_image({"b": b"2"}, docker=True))
    assert image.media_type == DOCKER_MANIFEST
    assert {layer["mediaType"] for layer in image.document["layers"]} == {
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    }


async def test_same_content_gives_the_same_digest_and_other_content_another() -> None:
    assert build_image({"a": b"1", "b/c": b"2"}).digest == build_image({"b/c": b"2", "/a": b"1"}).digest
    assert build_image({"a": b"1"}).digest != build_image({"a": b"2"}).digest


async def test_head_answers_digest_type_and_length_without_a_body(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    head = await client.request("HEAD", "/v2/app/manifests/v1")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Docker-Content-Digest"] == IMAGE.digest
    assert head.headers["Content-Type"] == OCI_MANIFEST
    assert head.headers["Content-Length"] == str(len(IMAGE.manifest))


async def test_manifest_is_found_only_by_clients_that_accept_its_type(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    answer = await client.request("GET", "/v2/app/manifests/v1", headers={"Accept": DOCKER_MANIFEST})
    assert error_of(answer) == (404, "MANIFEST_UNKNOWN")


async def test_unknown_tag_digest_and_repository(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    missing = await client.request("GET", "/v2/app/manifests/v2")
    assert json.loads(missing.body) == {
        "errors": [
            {"code": "MANIFEST_UNKNOWN", "message": 'manifest tagged by "v2" is not found', "detail": {"Tag": "v2"}}
        ]
    }
    assert error_of(await client.request("GET", f"/v2/app/manifests/{digest_of(b'')}")) == (404, "MANIFEST_UNKNOWN")
    assert error_of(await client.request("GET", "/v2/other/manifests/v1")) == (404, "NAME_UNKNOWN")
    assert error_of(await client.request("GET", "/v2/other/tags/list")) == (404, "NAME_UNKNOWN")


async def test_upper_case_repository_is_no_page(client: RegistryClient) -> None:
    answer = await client.request("GET", "/v2/App/tags/list")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


async def put(client: RegistryClient, path: str, body: bytes, media_type: str = OCI_MANIFEST) -> RegistryAnswer:
    return await client.request("PUT", path, data=body, headers={"Content-Type": media_type})


async def test_manifest_whose_layers_were_not_uploaded_is_refused(client: RegistryClient) -> None:
    assert error_of(await put(client, "/v2/app/manifests/v1", IMAGE.manifest)) == (400, "MANIFEST_BLOB_UNKNOWN")
    await client.push("elsewhere", "v1", IMAGE)
    # Layers of another repository have to be mounted first.
    assert error_of(await put(client, "/v2/app/manifests/v1", IMAGE.manifest)) == (400, "MANIFEST_BLOB_UNKNOWN")


async def test_index_whose_children_were_not_pushed_is_refused(client: RegistryClient) -> None:
    index = build_index([IMAGE])
    answer = await put(client, "/v2/app/manifests/v1", index.manifest, index.media_type)
    assert error_of(answer) == (400, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("reference", "body", "media_type", "code"),
    [
        ("v1", b"not json", OCI_MANIFEST, "MANIFEST_INVALID"),
        ("v1", b'{"schemaVersion":1}', OCI_MANIFEST, "MANIFEST_INVALID"),
        ("v1", b'{"schemaVersion":2,"config":{}}', OCI_MANIFEST, "MANIFEST_INVALID"),
        ("v1", IMAGE.manifest, DOCKER_MANIFEST, "MANIFEST_INVALID"),
        (digest_of(b"something else"), IMAGE.manifest, OCI_MANIFEST, "DIGEST_INVALID"),
        ("-bad", IMAGE.manifest, OCI_MANIFEST, "TAG_INVALID"),
    ],
)
async def test_bad_manifest_is_refused(
    client: RegistryClient, reference: str, body: bytes, media_type: str, code: str
) -> None:
    await client.push("app", "good", IMAGE)
    assert error_of(await put(client, f"/v2/app/manifests/{reference}", body, media_type))[1] == code
    assert json.loads((await client.request("GET", "/v2/app/tags/list")).body)["tags"] == ["good"]


async def test_manifest_above_4_mib_is_refused(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    padded = io.BytesIO(IMAGE.manifest + b" " * (4 * 1024 * 1024))
    answer = await client.request("PUT", "/v2/app/manifests/v1", data=padded, headers={"Content-Type": OCI_MANIFEST})
    assert error_of(answer) == (400, "MANIFEST_INVALID")


async def test_tag_moves_and_the_old_manifest_stays(client: RegistryClient) -> None:
    newer = build_image({"a": b"2"})
    await client.push("app", "v1", IMAGE)
    await client.push("app", "v1", newer)
    assert await client.pull("app", "v1") == newer
    assert await client.pull("app", IMAGE.digest) == IMAGE


async def test_deleting_a_manifest_takes_its_tags_along(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    await client.push("app", "latest", IMAGE)
    await client.push("app", "v2", build_image({"a": b"2"}))
    assert (await client.request("DELETE", f"/v2/app/manifests/{IMAGE.digest}")).status == 202
    assert json.loads((await client.request("GET", "/v2/app/tags/list")).body)["tags"] == ["v2"]
    assert error_of(await client.request("DELETE", f"/v2/app/manifests/{IMAGE.digest}")) == (404, "MANIFEST_UNKNOWN")


async def test_upload_in_chunks_can_be_followed_and_finished(client: RegistryClient) -> None:
    start = await client.request("POST", "/v2/app/blobs/uploads/")
    location = start.headers["Location"]
    first = await client.request("PATCH", location, data=b"0123", headers={"Content-Range": "0-3"})
    assert (first.status, first.headers["Range"]) == (202, "0-3")
    gap = await client.request("PATCH", location, data=b"89", headers={"Content-Range": "8-9"})
    assert error_of(gap) == (416, "RANGE_INVALID")
    assert (await client.request("GET", location)).headers["Range"] == "0-3"
    await client.request("PATCH", location, data=b"456", headers={"Content-Range": "4-6"})
    digest = digest_of(b"0123456789")
    done = await client.request("PUT", f"{location}?digest={digest}", data=b"789")
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest)
    assert (await client.request("GET", f"/v2/app/blobs/{digest}")).body == b"0123456789"
    assert error_of(await client.request("GET", location)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_upload_streamed_without_a_length_arrives_whole(client: RegistryClient) -> None:
    async def stream() -> Any:
        for _ in range(40):
            yield bytes(256 * 1024)

    location = (await client.request("POST", "/v2/app/blobs/uploads/")).headers["Location"]
    # The first request fetches the token: a stream cannot be sent twice.
    await client.request("PATCH", location, data=b"")
    assert (await client.request("PATCH", location, data=stream())).headers["Range"] == f"0-{10 * 1024 * 1024 - 1}"


async def test_upload_with_a_wrong_digest_is_refused(client: RegistryClient) -> None:
    wrong = digest_of(b"other")
    answer = await client.request("POST", f"/v2/app/blobs/uploads/?digest={wrong}", data=b"data")
    assert error_of(answer) == (400, "DIGEST_INVALID")
    assert (await client.request("HEAD", f"/v2/app/blobs/{wrong}")).status == 404


async def test_upload_can_be_cancelled(client: RegistryClient) -> None:
    location = (await client.request("POST", "/v2/app/blobs/uploads/")).headers["Location"]
    assert (await client.request("DELETE", location)).status == 204
    assert error_of(await client.request("PATCH", location, data=b"x")) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_blob_is_mounted_from_another_repository(client: RegistryClient) -> None:
    await client.push("base", "v1", IMAGE)
    for digest in IMAGE.blobs:
        assert (await client.request("HEAD", f"/v2/app/blobs/{digest}")).status == 404
        mounted = await client.request("POST", f"/v2/app/blobs/uploads/?mount={digest}&from=base")
        assert (mounted.status, mounted.headers["Location"]) == (201, f"/v2/app/blobs/{digest}")
    assert (await put(client, "/v2/app/manifests/v1", IMAGE.manifest)).status == 201
    # Nothing to mount: the registry offers an ordinary upload.
    assert (await client.request("POST", "/v2/app/blobs/uploads/?mount=sha256:0&from=base")).status == 202


@pytest.mark.parametrize(
    ("wanted", "body", "content_range"),
    [("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"), ("bytes=-2", b"89", "bytes 8-9/10")],
)
async def test_part_of_a_blob(client: RegistryClient, wanted: str, body: bytes, content_range: str) -> None:
    digest = digest_of(b"0123456789")
    await client.request("POST", f"/v2/app/blobs/uploads/?digest={digest}", data=b"0123456789")
    answer = await client.request("GET", f"/v2/app/blobs/{digest}", headers={"Range": wanted})
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, body, content_range)
    beyond = await client.request("GET", f"/v2/app/blobs/{digest}", headers={"Range": "bytes=10-"})
    assert beyond.status == 416


async def test_lists_come_in_pages_with_links(client: RegistryClient) -> None:
    for tag in ("a", "b", "c"):
        await client.push("app", tag, IMAGE)
    await client.push("base", "v1", IMAGE)
    first = await client.request("GET", "/v2/app/tags/list?n=2")
    assert json.loads(first.body)["tags"] == ["a", "b"]
    assert first.headers["Link"] == '</v2/app/tags/list?last=b&n=2>; rel="next"'
    second = await client.request("GET", "/v2/app/tags/list?last=b&n=2")
    assert json.loads(second.body)["tags"] == ["c"]
    assert "Link" not in second.headers
    assert json.loads((await client.request("GET", "/v2/_catalog?last=app")).body) == {"repositories": ["base"]}
    assert (await client.request("GET", "/v2/_catalog?n=none")).status == 400


async def test_signature_is_listed_among_the_referrers(client: RegistryClient) -> None:
    await client.push("app", "v1", IMAGE)
    document = json.loads(build_image({"sig": b"x"}).manifest)
    subject = {"mediaType": OCI_MANIFEST, "digest": IMAGE.digest, "size": len(IMAGE.manifest)}
    body = json.dumps(
        {**document, "artifactType": "application/vnd.cncf.notary.signature", "subject": subject}
    ).encode()
    signature = Image(body, OCI_MANIFEST, build_image({"sig": b"x"}).blobs)
    await client.push("app", signature.digest, signature)
    answer = await client.request("GET", f"/v2/app/referrers/{IMAGE.digest}")
    assert [d["digest"] for d in json.loads(answer.body)["manifests"]] == [signature.digest]
    other = await client.request("GET", f"/v2/app/referrers/{IMAGE.digest}?artifactType=sbom")
    assert json.loads(other.body)["manifests"] == []
    assert other.headers["OCI-Filters-Applied"] == "artifactType"

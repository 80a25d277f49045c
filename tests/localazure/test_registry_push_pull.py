"""Push and pull over `/v2/`."""

from __future__ import annotations

import aiohttp

from localazure.azure import Azure
from localazure.registry.images import build_image, build_index
from tests.localazure.registries import client_of, make_registry


async def test_image_pushed_by_tag_is_pulled_back_whole(azure: Azure, session: aiohttp.ClientSession) -> None:
    client = client_of(azure, make_registry(azure), session)
    base = build_image({"etc/os-release": b"NAME=base"}, labels={"team": "platform"})
    image = build_image({"app/server.js": b"listen()"}, base=base, config={"Cmd": ["node", "server.js"]})
    digest = await client.push("team/hello-world", "v1", image)
    pulled = await client.pull("team/hello-world", "v1")
    assert pulled == image
    assert digest == image.digest
    assert len(pulled.config["rootfs"]["diff_ids"]) == 2
    assert pulled.config["config"] == {"Labels": {"team": "platform"}, "Cmd": ["node", "server.js"]}


async def test_index_is_pulled_back_with_its_platforms(azure: Azure, session: aiohttp.ClientSession) -> None:
    client = client_of(azure, make_registry(azure), session)
    index = build_index([build_image({"a": b"1"}, platform=p) for p in ("linux/amd64", "linux/arm64/v8")])
    await client.push("node", "15-alpine", index)
    assert await client.pull("node", "15-alpine") == index
    assert [d["platform"]["architecture"] for d in index.document["manifests"]] == ["amd64", "arm64"]

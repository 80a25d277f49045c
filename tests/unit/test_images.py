"""What names a base image, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import images
from shared.domain.errors import InvalidInput
from shared.domain.images import BaseImage
from tests.builders import DIGEST

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("node:15", BaseImage("node", "15")),
        ("baseimages/node:15-alpine", BaseImage("baseimages/node", "15-alpine")),
        ("a/b/c:v1.2_3-x", BaseImage("a/b/c", "v1.2_3-x")),
        ("a__b/c-d/e.f/g--h:_", BaseImage("a__b/c-d/e.f/g--h", "_")),
        (f"node:15@{DIGEST}", BaseImage("node", "15", DIGEST)),
        ("mybaseregistry.azurecr.io/node:15", BaseImage("node", "15")),
        (f"mybase-x1.azurecr.io/base/node:15@{DIGEST}", BaseImage("base/node", "15", DIGEST)),
    ],
)
def test_reference_is_read_with_or_without_a_login_server(text: str, image: BaseImage) -> None:
    servers = ("mybase-x1.azurecr.io", "mybaseregistry.azurecr.io")

    assert images.parse(text, login_servers=servers) == image


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node",
        "node:",
        ":15",
        "Node:15",
        "node:15:16",
        "node :15",
        "node:15\n",
        "-node:15",
        "node/:15",
        "a___b:15",
        "node:-15",
        f"node:{'x' * 129}",
        f"{'a' * 256}:15",
        "node@sha256:" + HEX,
        "node:15@sha256:" + "ab" * 31,
        "node:15@sha256:" + "AB" * 32,
        "other.azurecr.io:443/node:15",
        "node:$(reboot)",
        "node:{{.Run.ID}}",
    ],
)
def test_text_that_names_no_image_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"write repository:tag, e\.g\. baseimages/node:15-alpine") as refused:
        images.parse(text, field="image")

    assert refused.value.field == "image"
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "mybaseregistry.azurecr.io",
        "MYBASEREGISTRY.azurecr.IO",
        "mybaseregistry.azurecr.io:443",
        "mybaseregistry-e7ggejfuhzhgedc8.azurecr.io",
        "MyBaseRegistry-E7GGEJFUHZHGEDC8.AzureCR.us",
        "mybaseregistry.westeurope.geo.azurecr.io",
        "base.example.com",
    ],
)
def test_host_of_the_base_registry_may_stand_in_front(host: str) -> None:
    servers = ("base.example.com",)

    image = images.parse(f"{host}/docker.io/node:15", registry="MyBaseRegistry", login_servers=servers)

    assert image == BaseImage("docker.io/node", "15")


@pytest.mark.parametrize(
    "host",
    [
        "other.azurecr.io",
        "mybaseregistry2.azurecr.io",
        "x-mybaseregistry.azurecr.io",
        "mybaseregistry.azurecr.io.example.com",
        "mybaseregistry.azurecr.io:5000",
        "docker.io",
        "localhost",
        "localhost:5000",
    ],
)
def test_host_of_another_registry_is_refused_with_what_to_write(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"is another registry.*write mybaseregistry\.azurecr\.io/ in front"):
        images.parse(f"{host}/node:15", registry="mybaseregistry")


def test_repository_of_a_push_may_be_called_like_a_host() -> None:
    assert images.parse("docker.io/library/node:15").repository == "docker.io/library/node"


def test_credential_in_a_reference_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as refused:
        images.parse("https://user:s3cr3t@mybaseregistry.azurecr.io/node:15", registry="mybaseregistry")

    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("image", [BaseImage("baseimages/node", "15"), BaseImage("node", "15", DIGEST)])
def test_image_that_is_written_out_reads_back_the_same(image: BaseImage) -> None:
    assert images.parse(str(image)) == image
    assert image.name == f"{image.repository}:{image.tag}"


@given(st.text())
def test_any_text_is_either_an_image_or_refused(text: str) -> None:
    try:
        image = images.parse(text)
    except InvalidInput:
        return
    assert str(image) == text


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom", ".a.b"])
@pytest.mark.parametrize("digest", [f"sha256-{HEX}", f"sha512-{HEX}", f"sha512-{HEX}{HEX[:49]}", f"sha384-{HEX}"])
def test_tags_of_signatures_and_referrers_are_no_images(digest: str, suffix: str) -> None:
    assert images.is_attachment_tag(digest + suffix)


@pytest.mark.parametrize("tag", ["15-alpine", f"sha256-{HEX[:-1]}", f"sha256-{HEX}-amd64", f"v-sha256-{HEX}", "v1.sig"])
def test_other_tags_are_images(tag: str) -> None:
    assert not images.is_attachment_tag(tag)

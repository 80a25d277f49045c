"""Values of tasks: words, images and contexts that ACR takes; nothing that reads like a command or holds a secret."""

from __future__ import annotations

import pytest

from shared.domain.echo import quoted
from shared.domain.redaction import holds_credential, redacted
from shared.domain.values import refusal

SECRET = "s3cr3t-0123456789"
DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    "value",
    [
        "hello-world",
        "main",
        "feature/x+y",
        "1.2.3",
        "./services/web",
        "web:15",
        "localhost:5000/web:15",
        f"contoso.azurecr.io/web/shop:15@{DIGEST}",
        "https://github.com/contoso/shop.git",
        "https://github.com/contoso/shop.git#main",
        "https://github.com/contoso/shop.git#main:services/web",
        "https://github.com/contoso/shop.git#:web",
        "https://github.com/contoso/shop.git#shop@1.2.3",
        "https://github.com/contoso/shop.git#refs/heads/main",
        "https://dev.azure.com/contoso/shop%20web/_git/shop#main",
        "https://contoso.visualstudio.com/shop/_git/shop",
        "https://git.example.com:8443/shop.git",
        "https://example.com/shop.tar.gz",
        "git@github.com:contoso/shop.git",
        "git@github.com:contoso/shop.git#main:web",
        "github.com/contoso/shop.git#main:web",
        "oci://contoso.azurecr.io/contexts/shop:1",
        f"oci://contoso.azurecr.io/contexts/shop@{DIGEST}",
    ],
)
def test_what_acr_takes_is_a_value(value: str) -> None:
    assert refusal(value) == ""


@pytest.mark.parametrize(
    "value",
    [
        "javascript:location=name",
        "javascript:alert/1",
        "data:text/html",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "ext::sh",
        "http://github.com/contoso/shop.git",
        "HTTPS://github.com/contoso/shop.git",
        "git://github.com/contoso/shop.git",
        "ssh://github.com/contoso/shop.git",
        "ftp://example.com/shop.tar.gz",
        "git+https://github.com/contoso/shop.git",
        "https:github.com/contoso/shop.git",
        "https:///contoso/shop.git",
        "https://github.com",
        "https://git%2ehub.com/contoso/shop.git",
        "OCI://contoso.azurecr.io/contexts/shop:1",
        "oci:contoso/shop=1",
        "https://github.com/contoso/shop.git#main:",
    ],
)
def test_url_that_acr_does_not_take_is_refused(value: str) -> None:
    assert refusal(value)
    assert refusal(value).startswith(("is neither a word", "holds characters"))


CREDENTIALS = [
    f"https://{SECRET}@github.com/contoso/shop.git",
    f"https://x-access-token:{SECRET}@github.com/contoso/shop.git#main",
    f"https://oauth2:{SECRET}@gitlab.com/contoso/shop.git",
    f"https://:{SECRET}@github.com/contoso/shop.git",
    f"https://user:{SECRET}@dev.azure.com/contoso/_git/shop",
    "https://contoso@dev.azure.com/contoso/_git/shop",
    f"HTTPS://user:{SECRET}@github.com/contoso/shop.git",
    f"https://user:{SECRET}%40github.com/contoso/shop.git",
    f"https://user%3A{SECRET}%40github.com/contoso/shop.git",
    f"https://user%253A{SECRET}%2540github.com/contoso/shop.git",
    f"https%3A%2F%2Fuser%3A{SECRET}%40github.com%2Fshop.git",
    f"https://github.com/contoso/shop.git?token={SECRET}",
    f"https://github.com/contoso/shop.git?access_token={SECRET}#main",
    f"https://github.com/contoso/shop.git%3Ftoken={SECRET}",
    f"https://example.blob.core.windows.net/c/shop.tgz?sv=2026&sig={SECRET}",
    f"https://proxy.example.com/https://user:{SECRET}@github.com/contoso/shop.git",
    f"http://user:{SECRET}@github.com/contoso/shop.git",
    f"ssh://git:{SECRET}@github.com/contoso/shop.git",
    f"git://user:{SECRET}@github.com/contoso/shop.git",
    f"git:{SECRET}@github.com:contoso/shop.git",
    f"{SECRET}@github.com:contoso/shop.git",
    f"github.com/user:{SECRET}@contoso/shop.git",
    f"user:{SECRET}@github.com/contoso/shop.git",
    f"oci://user:{SECRET}@contoso.azurecr.io/shop:1",
    f"git@github.com:user:{SECRET}@contoso/shop.git",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "https://github.com/contoso/ghs_0123456789abcdefghijABCDEFGHIJ012345.git",
    "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
    "glpat-0123456789abcdefghij",
]


@pytest.mark.parametrize("value", CREDENTIALS)
def test_value_with_a_credential_is_refused_and_not_repeated(value: str) -> None:
    assert holds_credential(value)
    assert refusal(value)
    assert "leave it out" in refusal(value)
    assert value not in refusal(value)


@pytest.mark.parametrize("value", [v for v in CREDENTIALS if SECRET in v and "://" in v])
def test_credential_in_a_text_is_left_out_where_it_is_shown(value: str) -> None:
    text = f"fatal: could not read from '{value}': 403"

    assert SECRET not in redacted(text)
    assert SECRET not in quoted(value)
    assert redacted(text).startswith("fatal: could not read from '")
    assert redacted(text).endswith("': 403")


@pytest.mark.parametrize(
    "text",
    [
        "myregistry.azurecr.io/hello-world:cf1@sha256:" + "ab" * 32,
        "https://github.com/contoso/shop.git#main:web",
        "git@github.com:contoso/shop.git",
        "429 TooManyRequests: at 09:30:00, see https://aka.ms/x?view=1",
        "/subscriptions/0/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/myregistry",
    ],
)
def test_text_without_a_credential_is_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_long_text_is_redacted_in_no_time() -> None:
    text = ("x" * 100_000 + "\n") * 3 + "a:b" * 50_000 + "://" * 20_000

    assert redacted(text) == text

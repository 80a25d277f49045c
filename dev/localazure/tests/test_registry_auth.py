"""Who may do what on a registry's data plane, and with which token."""

from __future__ import annotations

import base64
from typing import Any

import aiohttp
import jwt
import pytest

from dev.localazure.azure import Azure
from dev.localazure.registry.auth import NO_USER
from dev.localazure.registry.images import build_image
from dev.localazure.state import App
from dev.localazure.tests.registries import ABAC, LEGACY, client_of, make_registry
from dev.testing.azure import SUBSCRIPTION, Client

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ACR_PUSH = "8311e382-0749-4cb8-b61a-304f252e45ec"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
REPOSITORY_WRITER = "2a1e307c-b015-4ebd-883e-5b7698a07328"
CATALOG_LISTER = "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7"
IMAGE = build_image({"a": b"1"})


def make_app(azure: Azure, *grants: tuple[str, str]) -> App:
    """Create a workload that has these (role, scope) assignments."""
    app = azure.identity.create_app("workload")
    for role, scope in grants:
        azure.grant(str(app.system_assigned), role, scope)
    return app


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_request_without_a_token_gets_the_challenge(azure: Azure, owner: Client) -> None:
    make_registry(azure)
    reply = await owner.request("GET", "https://myregistry.azurecr.io/v2/")
    assert reply.status == 401
    assert reply.text == (
        '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required, visit '
        'https://aka.ms/acr/authorization for more information.","detail":null}]}\n'
    )
    assert reply.headers["WWW-Authenticate"] == (
        'Bearer realm="https://myregistry.azurecr.io/oauth2/token",service="myregistry.azurecr.io"'
    )
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    assert [name.lower() for name, _ in reply.headers.items()].count("access-control-expose-headers") == 4


async def test_challenge_names_the_scope_that_is_missing(azure: Azure, owner: Client) -> None:
    make_registry(azure)
    reply = await owner.request("GET", "https://myregistry.azurecr.io/acr/v1/library/hello-world/_tags")
    assert reply.headers["WWW-Authenticate"].endswith(',scope="repository:library/hello-world:metadata_read"')
    assert reply.body["errors"][0]["detail"] == [
        {"Type": "repository", "Name": "library/hello-world", "Action": "metadata_read"}
    ]


async def test_host_without_a_registry_refuses_the_connection(azure: Azure, owner: Client) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await owner.request("GET", "https://nosuchregistry.azurecr.io/v2/")


@pytest.mark.parametrize(
    ("mode", "role"),
    [(LEGACY, REPOSITORY_READER), (ABAC, ACR_PULL), (ABAC, ACR_PUSH), (ABAC, READER)],
)
async def test_exchange_is_refused_to_roles_of_the_other_mode(
    azure: Azure, session: aiohttp.ClientSession, mode: str, role: str
) -> None:
    registry = make_registry(azure, mode=mode)
    client = client_of(azure, registry, session, make_app(azure, (role, registry.id)))
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await client.refresh_token()
    assert refused.value.status == 401


@pytest.mark.parametrize("mode", [LEGACY, ABAC])
async def test_owner_pushes_only_where_owner_counts(azure: Azure, session: aiohttp.ClientSession, mode: str) -> None:
    registry = make_registry(azure, mode=mode)
    client = client_of(azure, registry, session)
    if mode == LEGACY:
        await client.push("app", "v1", IMAGE)
        return
    with pytest.raises(RuntimeError, match="401"):
        await client.push("app", "v1", IMAGE)


@pytest.mark.parametrize(
    ("mode", "reader", "writer"), [(LEGACY, ACR_PULL, ACR_PUSH), (ABAC, REPOSITORY_READER, REPOSITORY_WRITER)]
)
async def test_reader_pulls_what_the_writer_pushed_and_cannot_push(
    azure: Azure, session: aiohttp.ClientSession, mode: str, reader: str, writer: str
) -> None:
    registry = make_registry(azure, mode=mode)
    await client_of(azure, registry, session, make_app(azure, (writer, registry.id))).push("app", "v1", IMAGE)
    client = client_of(azure, registry, session, make_app(azure, (reader, registry.id)))
    assert await client.pull("app", "v1") == IMAGE
    refused = await client.request("POST", "/v2/app/blobs/uploads/")
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].endswith('scope="repository:app:pull,push",error="insufficient_scope"')


async def test_catalog_needs_the_lister_role_in_abac_mode(azure: Azure, session: aiohttp.ClientSession) -> None:
    registry = make_registry(azure, mode=ABAC)
    reader = client_of(azure, registry, session, make_app(azure, (REPOSITORY_READER, registry.id)))
    assert (await reader.request("GET", "/acr/v1/_catalog")).status == 401
    lister = client_of(azure, registry, session, make_app(azure, (CATALOG_LISTER, registry.id)))
    assert (await lister.request("GET", "/acr/v1/_catalog")).status == 200


async def test_refresh_token_says_what_its_principal_may(azure: Azure, session: aiohttp.ClientSession) -> None:
    registry = make_registry(azure)
    claims = claims_of(await client_of(azure, registry, session).refresh_token())
    assert claims["permissions"]["actions"] == ["read", "write", "delete", "metadata/read", "metadata/write"]
    assert (claims["grant_type"], claims["aud"]) == ("refresh_token", "myregistry.azurecr.io")
    assert claims["exp"] - claims["iat"] == 11700


async def test_access_token_is_cut_to_what_the_principal_may(azure: Azure, session: aiohttp.ClientSession) -> None:
    registry = make_registry(azure)
    client = client_of(azure, registry, session, make_app(azure, (ACR_PULL, registry.id)))
    token = await client.access_token("repository:app:pull,push", "registry:catalog:*", "repository:other:delete")
    assert claims_of(str(token))["access"] == [
        {"type": "repository", "name": "app", "actions": ["pull"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]


async def test_token_of_another_registry_or_repository_is_worth_nothing(
    azure: Azure, session: aiohttp.ClientSession, owner: Client
) -> None:
    one, other = make_registry(azure, "registryone"), make_registry(azure, "registrytwo")
    for registry in (one, other):
        await client_of(azure, registry, session).push("app", "v1", IMAGE)
    token = await client_of(azure, one, session).access_token("repository:app:pull")
    bearer = {"Authorization": f"Bearer {token}", "Accept": IMAGE.media_type}
    here = await owner.request("GET", "https://registryone.azurecr.io/v2/app/manifests/v1", headers=bearer)
    there = await owner.request("GET", "https://registrytwo.azurecr.io/v2/app/manifests/v1", headers=bearer)
    elsewhere = await owner.request("GET", "https://registryone.azurecr.io/v2/secret/manifests/v1", headers=bearer)
    assert [here.status, there.status, elsewhere.status] == [200, 401, 401]
    assert there.headers["WWW-Authenticate"].endswith('error="invalid_token"')
    assert elsewhere.headers["WWW-Authenticate"].endswith('error="insufficient_scope"')


async def test_refresh_token_is_no_access_token(azure: Azure, session: aiohttp.ClientSession, owner: Client) -> None:
    token = await client_of(azure, make_registry(azure), session).refresh_token()
    reply = await owner.request(
        "GET", "https://myregistry.azurecr.io/v2/", headers={"Authorization": f"Bearer {token}"}
    )
    assert reply.status == 401


async def test_access_token_expires_after_75_minutes(
    azure: Azure, session: aiohttp.ClientSession, owner: Client
) -> None:
    token = await client_of(azure, make_registry(azure), session).access_token()
    bearer = {"Authorization": f"Bearer {token}"}
    azure.clock.advance(4490)
    assert (await owner.request("GET", "https://myregistry.azurecr.io/v2/", headers=bearer)).status == 200
    azure.clock.advance(20)
    assert (await owner.request("GET", "https://myregistry.azurecr.io/v2/", headers=bearer)).status == 401


async def test_switching_the_mode_invalidates_tokens(
    azure: Azure, session: aiohttp.ClientSession, owner: Client
) -> None:
    registry = make_registry(azure)
    app = make_app(azure, (ACR_PULL, registry.id), (REPOSITORY_READER, registry.id))
    token = await client_of(azure, registry, session, app).access_token("repository:app:pull")
    registry.properties["roleAssignmentMode"] = ABAC
    reply = await owner.request(
        "GET", "https://myregistry.azurecr.io/v2/", headers={"Authorization": f"Bearer {token}"}
    )
    assert reply.status == 401


async def test_registry_made_anew_is_empty_and_takes_no_old_tokens(
    azure: Azure, session: aiohttp.ClientSession, owner: Client
) -> None:
    await owner.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/rg", {"location": "westus"})
    path = f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/myregistry"
    body = {"location": "westus", "sku": {"name": "Standard"}}
    assert (await owner.arm("PUT", path, body)).status in (200, 201)
    registry = azure.state.resources[path.lower()]
    client = client_of(azure, registry, session)
    await client.push("app", "v1", IMAGE)
    token = await client.access_token("registry:catalog:*")
    url, bearer = "https://myregistry.azurecr.io/acr/v1/_catalog", {"Authorization": f"Bearer {token}"}
    assert (await owner.request("GET", url, headers=bearer)).body == {"repositories": ["app"]}
    await owner.arm("DELETE", path)
    while (await owner.arm("GET", path)).status != 404:
        pass
    with pytest.raises(aiohttp.ClientConnectionError):
        await owner.request("GET", url, headers=bearer)
    await owner.arm("PUT", path, body)
    assert (await owner.request("GET", url, headers=bearer)).status == 401
    anew = client_of(azure, azure.state.resources[path.lower()], session)
    assert (await anew.request("GET", "/acr/v1/_catalog")).body == b'{"repositories":[]}\n'


async def test_entra_token_for_graph_is_not_exchanged(azure: Azure, owner: Client) -> None:
    make_registry(azure)
    form = {"grant_type": "access_token", "service": "myregistry.azurecr.io"}
    url = "https://myregistry.azurecr.io/oauth2/exchange"
    for resource, status in (
        ("https://graph.microsoft.com", 401),
        ("https://management.azure.com", 200),
        ("https://containerregistry.azure.net", 200),
    ):
        reply = await owner.request("POST", url, data={**form, "access_token": await owner.token(resource)})
        assert (resource, reply.status) == (resource, status)


async def test_arm_tokens_are_refused_when_the_policy_says_so(azure: Azure, owner: Client) -> None:
    registry = make_registry(azure)
    registry.properties["policies"] = {"azureADAuthenticationAsArmPolicy": {"status": "disabled"}}
    form = {"grant_type": "access_token", "access_token": await owner.token("https://management.azure.com")}
    reply = await owner.request("POST", "https://myregistry.azurecr.io/oauth2/exchange", data=form)
    assert reply.status == 401


@pytest.mark.parametrize("secret", ["refresh token", "Entra token", "wrong"])
async def test_docker_login_with_the_empty_user_and_a_token(
    azure: Azure, session: aiohttp.ClientSession, owner: Client, secret: str
) -> None:
    registry = make_registry(azure)
    client = client_of(azure, registry, session)
    await client.push("app", "v1", IMAGE)
    password = {"refresh token": await client.refresh_token(), "Entra token": await owner.token()}.get(secret, secret)
    basic = {"Authorization": "Basic " + base64.b64encode(f"{NO_USER}:{password}".encode()).decode()}
    url = "https://myregistry.azurecr.io"
    query = {"service": "myregistry.azurecr.io", "scope": "repository:app:pull", "account": NO_USER}
    got = await owner.request("GET", f"{url}/oauth2/token", params=query, headers=basic)
    form = {"grant_type": "password", "username": NO_USER, "password": password, **query}
    posted = await owner.request("POST", f"{url}/oauth2/token", data=form)
    direct = await owner.request("GET", f"{url}/v2/app/tags/list", headers=basic)
    if secret == "wrong":
        assert [got.status, posted.status, direct.status] == [401, 401, 401]
        return
    assert direct.body == {"name": "app", "tags": ["v1"]}
    for reply in (got, posted):
        bearer = {"Authorization": f"Bearer {reply.body['access_token']}", "Accept": IMAGE.media_type}
        pulled = await owner.request("GET", f"{url}/v2/app/manifests/v1", headers=bearer)
        assert (pulled.status, pulled.headers["Docker-Content-Digest"]) == (200, IMAGE.digest)


async def test_anonymous_pull_only_where_it_is_enabled(azure: Azure, session: aiohttp.ClientSession) -> None:
    registry = make_registry(azure)
    await client_of(azure, registry, session).push("app", "v1", IMAGE)
    nobody = type(client_of(azure, registry, session))(session, "myregistry.azurecr.io")
    with pytest.raises(RuntimeError, match="401"):
        await nobody.pull("app", "v1")
    registry.properties["anonymousPullEnabled"] = True
    assert await nobody.pull("app", "v1") == IMAGE
    assert (await nobody.request("POST", "/v2/app/blobs/uploads/")).status == 401


async def test_firewalled_registry_refuses_other_addresses(azure: Azure, owner: Client) -> None:
    registry = make_registry(azure)
    registry.properties["networkRuleSet"] = {"defaultAction": "Deny", "ipRules": [{"value": "192.0.2.0/24"}]}
    reply = await owner.request("GET", "https://myregistry.azurecr.io/v2/")
    assert (reply.status, reply.body["errors"][0]["code"]) == (403, "DENIED")
    assert "https://aka.ms/acr/firewall" in reply.body["errors"][0]["message"]
    registry.properties["networkRuleSet"]["ipRules"].append({"action": "Allow", "value": "127.0.0.1"})
    assert (await owner.request("GET", "https://myregistry.azurecr.io/v2/")).status == 401


async def test_regional_endpoint_serves_the_same_registry(azure: Azure, owner: Client) -> None:
    registry = make_registry(azure)
    registry.properties["regionalEndpointHostNames"] = ["myregistry.westus.geo.azurecr.io"]
    reply = await owner.request("GET", "https://myregistry.westus.geo.azurecr.io/v2/")
    assert 'service="myregistry.azurecr.io"' in reply.headers["WWW-Authenticate"]


async def test_journal_names_the_caller_and_the_operation(azure: Azure, session: aiohttp.ClientSession) -> None:
    registry = make_registry(azure)
    client = client_of(azure, registry, session, make_app(azure, (ACR_PUSH, registry.id)))
    await client.push("app", "v1", IMAGE)
    counts = {(c["caller"], c["operation"]): c["count"] for c in azure.journal.counts()}
    assert counts["workload", "manifest/write"] == 1
    assert counts["workload", "token/exchange"] >= 1

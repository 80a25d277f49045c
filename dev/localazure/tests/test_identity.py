"""The managed-identity endpoint and the sign-in service's documents."""

from __future__ import annotations

import aiohttp
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ManagedIdentityCredential

from dev.localazure.azure import Azure
from dev.localazure.state import App
from dev.testing.azure import Client, Reply


@pytest.fixture
async def app(azure: Azure) -> App:
    return azure.identity.create_app("app")


async def ask(owner: Client, app: App, **query: str) -> Reply:
    defaults = {"api-version": "2019-08-01", "resource": "https://management.azure.com"}
    return await owner.request(
        "GET", f"http://127.0.0.1:{owner.azure.control.port}/msi/token",
        params={**defaults, **query}, headers={"X-IDENTITY-HEADER": app.header},
    )  # fmt: skip


async def test_credential_gets_a_token_of_the_identity_it_names(
    azure: Azure, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal = azure.identity.create_principal("fleet", resource_id="/subscriptions/s/x/fleet", explicit=True)
    azure.identity.assign_user_identity(app, principal)
    for name, value in azure.environment(app).items():
        if name.startswith("IDENTITY"):
            monkeypatch.setenv(name, value)
    async with ManagedIdentityCredential() as system, ManagedIdentityCredential(client_id=principal.app_id) as user:
        tokens = [await c.get_token("https://management.azure.com/.default") for c in (system, user)]
    ids = [jwt.decode(t.token, options={"verify_signature": False})["oid"] for t in tokens]
    assert ids == [app.system_assigned, principal.object_id]


async def test_credential_for_an_identity_that_the_app_does_not_have_is_refused(azure: Azure) -> None:
    stranger = azure.identity.create_principal("stranger")
    async with ManagedIdentityCredential(client_id=stranger.app_id) as credential:
        with pytest.raises(ClientAuthenticationError, match="No User Assigned or Delegated Managed Identity found"):
            await credential.get_token("https://management.azure.com/.default")


@pytest.mark.parametrize("selector", ["client_id", "principal_id", "object_id", "mi_res_id"])
async def test_user_assigned_identity_is_chosen_by_any_selector(
    azure: Azure, app: App, owner: Client, selector: str
) -> None:
    principal = azure.identity.create_principal("fleet", resource_id="/subscriptions/s/x/fleet", explicit=True)
    azure.identity.assign_user_identity(app, principal)
    azure.identity.assign_user_identity(app, principal)
    values = {"client_id": principal.app_id, "mi_res_id": principal.resource_id.upper()}
    reply = await ask(owner, app, **{selector: values.get(selector, principal.object_id)})
    assert (reply.status, reply.body["client_id"]) == (200, principal.app_id)
    assert app.user_assigned == [principal.object_id]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"api-version": "2018-02-01"}, "api-version '2018-02-01' is not supported"),
        ({"resource": ""}, "'resource' is missing"),
        ({"client_id": "a", "mi_res_id": "b"}, "Only one of client_id, mi_res_id"),
    ],
)
async def test_malformed_token_request_is_refused(app: App, owner: Client, query: dict[str, str], message: str) -> None:
    reply = await ask(owner, app, **query)
    assert reply.status == 400
    assert message in reply.body["message"]


async def test_unknown_identity_header_is_unauthorized(owner: Client) -> None:
    assert (await ask(owner, App("forged", "guess"))).status == 401


async def test_discovery_documents_name_the_tenant(azure: Azure, session: aiohttp.ClientSession) -> None:
    base = "https://login.microsoftonline.com"
    async with session.get(f"{base}/common/v2.0/.well-known/openid-configuration") as response:
        configuration = await response.json()
    assert configuration["issuer"] == f"{base}/{azure.state.tenant}/v2.0"
    assert configuration["token_endpoint"] == f"{base}/common/oauth2/v2.0/token"
    query = {"api-version": "1.1", "authorization_endpoint": f"{base}/mine/oauth2/v2.0/authorize"}
    async with session.get(f"{base}/common/discovery/instance", params=query) as response:
        found = await response.json()
    assert found["tenant_discovery_endpoint"] == f"{base}/mine/v2.0/.well-known/openid-configuration"


async def test_secrets_are_no_way_in(session: aiohttp.ClientSession) -> None:
    url = "https://login.microsoftonline.com/mine/oauth2/v2.0/token"
    async with session.post(url, data={"grant_type": "client_credentials"}) as response:
        body = await response.json()
    assert (response.status, body["error"]) == (401, "invalid_client")
    assert "managed-identity endpoint" in body["error_description"]

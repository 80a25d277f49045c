"""The directory look-ups that role assignments need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from dev.localazure.azure import Azure
from dev.testing.azure import Client, Reply

TASK = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/reg/tasks/task"


async def graph(client: Client, method: str, path: str, body: Any = None, **query: str) -> Reply:
    token = await client.token("https://graph.microsoft.com")
    return await client.request(
        method, f"https://graph.microsoft.com/v1.0{path}",
        params={f"${name}": value for name, value in query.items()}, json=body,
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip


async def test_service_principal_is_found_by_client_id_but_not_by_object_id(azure: Azure, owner: Client) -> None:
    principal = azure.identity.create_principal("reg/tasks/task", resource_id=TASK)
    names = "servicePrincipalNames/any(c:c eq '{}')"
    found = await graph(owner, "GET", "/servicePrincipals", filter=names.format(principal.app_id))
    assert found.body["@odata.context"] == "https://graph.microsoft.com/v1.0/$metadata#servicePrincipals"
    [shown] = found.body["value"]
    assert (shown["id"], shown["appId"], shown["displayName"]) == (
        principal.object_id, principal.app_id, "reg/tasks/task",
    )  # fmt: skip
    assert shown["servicePrincipalType"] == "ManagedIdentity"
    assert shown["alternativeNames"] == ["isExplicit=False", TASK.replace("resourceGroups", "resourcegroups")]
    assert shown["deletedDateTime"] is None
    assert found.headers["odata-version"] == "4.0"
    none = await graph(owner, "GET", "/servicePrincipals", filter=names.format(principal.object_id))
    assert none.body["value"] == []


async def test_objects_are_found_by_ids_with_their_types(azure: Azure, owner: Client) -> None:
    principal, user = azure.identity.create_principal("p"), azure.identity.create_user("ada@example.com")
    types = ["user", "group", "servicePrincipal", "directoryObjectPartnerReference"]
    ids = [principal.object_id, user.object_id, "00000000-0000-0000-0000-000000000000"]
    reply = await graph(owner, "POST", "/directoryObjects/getByIds", {"ids": ids, "types": types})
    shown = {found["id"]: found["@odata.type"] for found in reply.body["value"]}
    assert shown == {
        principal.object_id: "#microsoft.graph.servicePrincipal", user.object_id: "#microsoft.graph.user",
    }  # fmt: skip
    assert reply.headers["location"] == "https://graph.microsoft.com"
    only = await graph(owner, "POST", "/directoryObjects/getByIds", {"ids": ids, "types": ["user"]})
    assert [found["id"] for found in only.body["value"]] == [user.object_id]


async def test_user_is_found_by_principal_name(azure: Azure, owner: Client) -> None:
    user = azure.identity.create_user("ada@example.com")
    reply = await graph(owner, "GET", "/users", filter="userPrincipalName eq 'Ada@example.com'")
    assert [found["id"] for found in reply.body["value"]] == [user.object_id]
    assert (await graph(owner, "GET", "/users/ada@example.com")).body["id"] == user.object_id


async def test_new_principal_appears_after_the_replication_delay(azure: Azure, owner: Client) -> None:
    azure.identity.replication = timedelta(seconds=30)
    principal = azure.identity.create_principal("new")
    path = f"/servicePrincipals/{principal.object_id}"
    missing = await graph(owner, "GET", path)
    assert (missing.status, missing.body["error"]["code"]) == (404, "Request_ResourceNotFound")
    azure.clock.advance(30)
    assert (await graph(owner, "GET", path)).body["appId"] == principal.app_id
    assert (await graph(owner, "GET", f"/servicePrincipals(appId='{principal.app_id}')")).status == 200


async def test_workload_may_not_read_the_directory_unless_it_is_allowed_to(
    azure: Azure, session: aiohttp.ClientSession
) -> None:
    client = Client(azure, azure.identity.create_app("app"), session)
    refused = await graph(client, "GET", "/servicePrincipals")
    assert (refused.status, refused.body["error"]["code"]) == (403, "Authorization_RequestDenied")
    azure.graph.readers.add(client.app.system_assigned or "")
    assert (await graph(client, "GET", "/servicePrincipals")).status == 200


async def test_token_for_another_audience_is_unauthorized(owner: Client) -> None:
    headers = {"Authorization": f"Bearer {await owner.token()}"}
    reply = await owner.request("GET", "https://graph.microsoft.com/v1.0/me", headers=headers)
    assert (reply.status, reply.body["error"]["code"]) == (401, "InvalidAuthenticationToken")


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "code"),
    [
        ("GET", "/servicePrincipals", None, {"filter": "colour eq 'red'"}, "Request_UnsupportedQuery"),
        ("POST", "/directoryObjects/getByIds", {"types": ["user"]}, {}, "Request_BadRequest"),
        ("GET", "/me", None, {}, "BadRequest"),
        ("GET", "/applications", None, {}, "BadRequest"),
    ],
)
async def test_what_is_not_understood_is_refused(
    owner: Client, method: str, path: str, body: Any, query: dict[str, str], code: str
) -> None:
    reply = await graph(owner, method, path, body, **query)
    assert (reply.status, reply.body["error"]["code"]) == (400, code)

"""Tasks: their shape, what is hidden and what is not, PUT and PATCH, identities, refusals, and the SDK on top."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aiohttp import ClientSession
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient
from azure.mgmt.containerregistrytasks.models import (
    Credentials,
    CustomRegistryCredentials,
    EncodedTaskStep,
    IdentityProperties,
    PlatformProperties,
    Task,
    TaskProperties,
    TaskPropertiesUpdateParameters,
    TaskUpdateParameters,
)

from dev.localazure.azure import Azure
from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.testing.azure import SUBSCRIPTION, Client, Reply

GROUP = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/myregistry"
TASK = f"{REGISTRY}/tasks/helloworld"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builders"
BASE = "mybaseregistry.azurecr.io"
YAML = base64.b64encode(b"version: v1.1.0\nsteps: []\n").decode()
VERSION = "2025-03-01-preview"
TASKS_CONTRIBUTOR = "fb382eab-e894-4461-af04-94435c366c3f"


@pytest.fixture(autouse=True)
async def registry(owner: Client) -> None:
    await owner.arm("PUT", GROUP, {"location": "westus"})
    await owner.arm("PUT", REGISTRY, {"location": "westus", "sku": {"name": "Standard"}})


async def put(owner: Client, path: str = TASK, *, top: dict[str, Any] | None = None, **properties: Any) -> Reply:
    body = {
        "location": "westus",
        "properties": {
            "platform": {"os": "Linux", "architecture": "amd64"},
            "step": {"type": "EncodedTask", "encodedTaskContent": YAML, "values": []},
            **properties,
        },
        **(top or {}),
    }
    return await owner.arm("PUT", path, body, api_version=VERSION)


async def patch(owner: Client, top: dict[str, Any] | None = None, **properties: Any) -> Reply:
    return await owner.arm("PATCH", TASK, {"properties": properties, **(top or {})}, api_version=VERSION)


async def details(owner: Client) -> dict[str, Any]:
    reply = await owner.arm("POST", f"{TASK}/listDetails", api_version=VERSION)
    assert reply.status == 200
    return dict(reply.body["properties"])


async def make_identity(owner: Client, name: str = "builders") -> dict[str, str]:
    path = IDENTITY.removesuffix("builders") + name
    reply = await owner.arm("PUT", path, {"location": "westus"}, api_version="2024-11-30")
    return {name: reply.body["properties"][name] for name in ("principalId", "clientId")}


async def test_put_answers_200_with_the_task_in_azures_order(owner: Client) -> None:
    step = {
        "contextPath": "https://github.com/Azure-Samples/acr-build-helloworld-node", "dockerFilePath": "Dockerfile",
        "imageNames": ["testtask:v1"], "arguments": [], "type": "Docker",
    }  # fmt: skip
    trigger = {"baseImageTrigger": {"name": "defaultBaseimageTriggerName", "status": "Enabled",
                                    "baseImageTriggerType": "Runtime"}}  # fmt: skip
    put_task = await put(
        owner, top={"identity": {"type": "SystemAssigned"}}, step=step, trigger=trigger, isSystemTask=False,
        credentials={"sourceRegistry": {"identity": "[system]"}}, agentConfiguration={"cpu": 2}, status="Enabled",
    )  # fmt: skip
    assert put_task.status == 200
    assert list(put_task.body) == ["type", "identity", "properties", "id", "name", "location", "systemData"]
    assert list(put_task.body["identity"]) == ["principalId", "tenantId", "type"]
    properties = put_task.body["properties"]
    assert list(properties) == [
        "provisioningState", "creationDate", "status", "platform", "agentConfiguration", "timeout", "step", "trigger",
        "credentials", "isSystemTask",
    ]  # fmt: skip
    assert list(properties["step"]) == [
        "type", "imageNames", "isPushEnabled", "noCache", "dockerFilePath", "arguments", "contextPath"
    ]  # fmt: skip
    assert properties["timeout"] == 3600
    assert properties["credentials"] == {"sourceRegistry": {"identity": "[system]"}}
    assert (await owner.arm("GET", TASK, api_version=VERSION)).body == put_task.body
    listed = await owner.arm("GET", f"{REGISTRY}/tasks", api_version=VERSION)
    assert listed.body == {"value": [put_task.body]}


async def test_put_without_identity_credentials_or_tags_shows_none_of_them(owner: Client) -> None:
    created = (await put(owner, credentials={})).body
    assert {"identity", "tags"}.isdisjoint(created)
    assert "credentials" not in created["properties"]
    assert (await put(owner, top={"tags": {"team": "a"}})).body["tags"] == {"team": "a"}
    assert (await patch(owner, {"tags": {}})).body["tags"] == {}


async def test_credentials_are_hidden_whole_except_in_list_details(owner: Client) -> None:
    secret = {"userName": {"value": "me", "type": "Opaque"}, "password": {"value": "s3cret", "type": "Opaque"}}
    registries = {BASE: {"identity": "[system]"}, "x.io": secret}
    sent = {"sourceRegistry": {"loginMode": "Default"}, "customRegistries": registries}
    put_task = await put(owner, credentials=sent)
    hidden = {"sourceRegistry": {"loginMode": "Default"}, "customRegistries": {BASE: None, "x.io": None}}
    assert put_task.body["properties"]["credentials"] == hidden
    assert (await owner.arm("GET", TASK, api_version=VERSION)).body["properties"]["credentials"] == hidden
    assert (await details(owner))["credentials"] == sent


async def test_secret_values_are_hidden_except_in_list_details(owner: Client) -> None:
    values = [{"name": "open", "value": "1", "isSecret": False}, {"name": "closed", "value": "2", "isSecret": True}]
    step = {"type": "EncodedTask", "encodedTaskContent": YAML, "values": values}
    shown = (await put(owner, step=step)).body["properties"]["step"]["values"]
    assert shown == [values[0], {"name": "closed", "isSecret": True}]
    assert (await details(owner))["step"]["values"] == values


async def test_put_built_from_a_get_loses_the_credentials(owner: Client) -> None:
    await put(owner, credentials={"customRegistries": {BASE: {"identity": "[system]"}}})
    read = (await owner.arm("GET", TASK, api_version=VERSION)).body
    await owner.arm("PUT", TASK, read, api_version=VERSION)
    assert (await details(owner))["credentials"] == {"customRegistries": {}}


async def test_patch_merges_credentials_by_login_server_and_null_removes(owner: Client) -> None:
    await put(owner, credentials={"customRegistries": {"first.io": {"identity": "[system]"}}})
    added = await patch(owner, credentials={"customRegistries": {BASE: {"identity": "[system]"}}})
    assert added.body["properties"]["credentials"] == {"customRegistries": {"first.io": None, BASE: None}}
    await patch(owner, credentials={"customRegistries": {"first.io": None}})
    assert (await details(owner))["credentials"] == {"customRegistries": {BASE: {"identity": "[system]"}}}
    emptied = await patch(owner, credentials={"customRegistries": {BASE: None}})
    assert emptied.body["properties"]["credentials"] == {"customRegistries": {}}


async def test_patch_keeps_what_it_does_not_name(azure: Azure, owner: Client) -> None:
    before = (await put(owner, credentials={"sourceRegistry": {"identity": "[system]"}})).body
    azure.clock.advance(5)
    patched = await patch(
        owner, agentConfiguration={}, platform={}, timeout=900, status=None,
        step={"type": "EncodedTask", "values": [{"name": "a", "value": "b"}]},
        credentials={"sourceRegistry": {"loginMode": "Default"}},
    )  # fmt: skip
    assert patched.status == 200
    assert patched.body["properties"] == {
        **before["properties"],
        "timeout": 900,
        "step": {**before["properties"]["step"], "values": [{"name": "a", "value": "b"}]},
        "credentials": {"sourceRegistry": {"identity": "[system]", "loginMode": "Default"}},
    }
    assert patched.body["systemData"]["lastModifiedAt"] > before["systemData"]["lastModifiedAt"]
    assert patched.body["systemData"]["createdAt"] == before["systemData"]["createdAt"]


async def test_patch_with_another_step_type_replaces_the_step(owner: Client) -> None:
    await put(owner)
    step = {"type": "FileTask", "taskFilePath": "acb.yaml", "contextPath": "https://github.com/org/repo.git"}
    assert (await patch(owner, step=step)).body["properties"]["step"] == step


async def test_patch_cannot_remove_a_trigger(owner: Client) -> None:
    timer = {"name": "t1", "schedule": "0 21 * * *", "status": "Enabled"}
    await put(owner, trigger={"timerTriggers": [timer]})
    await patch(owner, trigger={"timerTriggers": []})
    second = {"name": "t2", "schedule": "0 9 * * *", "status": "Enabled"}
    patched = await patch(owner, trigger={"timerTriggers": [{"name": "t1", "status": "Disabled"}, second]})
    assert patched.body["properties"]["trigger"]["timerTriggers"] == [{**timer, "status": "Disabled"}, second]


async def test_put_replaces_the_task_and_forgets_discovered_dependencies(azure: Azure, owner: Client) -> None:
    await put(owner, timeout=900, credentials={"customRegistries": {BASE: {"identity": "[system]"}}})
    stored = azure.state.get(TASK)
    assert stored
    stored.properties["step"]["baseImageDependencies"] = [{"type": "Runtime", "registry": BASE}]
    shown = (await owner.arm("GET", TASK, api_version=VERSION)).body
    assert shown["properties"]["step"]["baseImageDependencies"] == [{"type": "Runtime", "registry": BASE}]
    assert "baseImageDependencies" in (await patch(owner, timeout=1000)).body["properties"]["step"]
    replaced = (await put(owner)).body
    assert replaced["properties"]["timeout"] == 3600
    assert "baseImageDependencies" not in replaced["properties"]["step"]
    assert "credentials" not in await details(owner)
    assert replaced["properties"]["creationDate"] == shown["properties"]["creationDate"]


async def test_system_identity_lives_as_long_as_the_task_keeps_it(azure: Azure, owner: Client) -> None:
    system = {"identity": {"type": "SystemAssigned"}}
    first = (await put(owner, top=system)).body["identity"]["principalId"]
    assert azure.state.principals[first].name == "myregistry/tasks/helloworld"
    assert (await put(owner, top=system)).body["identity"]["principalId"] == first
    assert "identity" not in (await put(owner)).body
    assert first not in azure.state.principals
    second = (await put(owner, top=system)).body["identity"]["principalId"]
    assert second != first
    assert (await owner.arm("DELETE", TASK, api_version=VERSION)).status == 200
    assert second not in azure.state.principals
    assert (await owner.arm("DELETE", TASK, api_version=VERSION)).status == 204


async def test_user_assigned_identity_is_filled_in_and_joined_by_patch(owner: Client) -> None:
    ids = await make_identity(owner)
    spelt = IDENTITY.replace("resourceGroups", "resourcegroups")
    identity = {"type": "UserAssigned", "userAssignedIdentities": {spelt: {}}}
    assert (await put(owner, top={"identity": identity})).body["identity"] == {
        "type": "UserAssigned", "userAssignedIdentities": {spelt: ids}
    }  # fmt: skip
    both = (await patch(owner, {"identity": {"type": "SystemAssigned,UserAssigned"}})).body["identity"]
    assert both["type"] == "SystemAssigned, UserAssigned"
    assert both["userAssignedIdentities"] == {spelt: ids}
    other = await make_identity(owner, "others")
    other_id = IDENTITY.removesuffix("builders") + "others"
    changed = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: None, other_id: {}}}
    assert (await patch(owner, {"identity": changed})).body["identity"] == {
        "type": "UserAssigned", "userAssignedIdentities": {other_id: other}
    }  # fmt: skip
    assert "identity" not in (await patch(owner, {"identity": {"type": "None"}})).body


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        ({"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}, "FailedIdentityOperation"),
        ({"type": "UserAssigned", "userAssignedIdentities": {}}, "MissingIdentityIds"),
        ({"type": "UserAssigned", "userAssignedIdentities": {"builders": {}}}, "LinkedInvalidPropertyId"),
        ({"type": "UserAssigned", "userAssignedIdentities": {REGISTRY: {}}}, "LinkedInvalidPropertyId"),
        ({"type": "UserAssigned", "userAssignedIdentities": [IDENTITY]}, "InvalidRequestContent"),
        ({"type": "Managed"}, "InvalidIdentityType"),
    ],
)
async def test_bad_identity_is_refused_and_no_task_made(owner: Client, identity: dict[str, Any], code: str) -> None:
    refused = await put(owner, top={"identity": identity})
    assert (refused.status, refused.body["error"]["code"]) == (400, code)
    assert (await owner.arm("GET", TASK, api_version=VERSION)).status == 404


@pytest.fixture
async def contributor(azure: Azure, session: ClientSession) -> Client:
    app = azure.identity.create_app("contributor")
    assert app.system_assigned
    azure.grant(app.system_assigned, TASKS_CONTRIBUTOR, REGISTRY)
    return Client(azure, app, session)


async def test_user_assigned_identity_needs_the_right_to_assign_it(
    azure: Azure, owner: Client, contributor: Client
) -> None:
    await make_identity(owner)
    identity = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    refused = await put(contributor, top={"identity": identity})
    assert (refused.status, refused.body["error"]["code"]) == (403, "LinkedAuthorizationFailed")
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action" in refused.body["error"]["message"]
    managed_identity_operator = "f1a07417-d97a-45cb-824c-7a7467783830"
    assert contributor.app.system_assigned
    azure.grant(contributor.app.system_assigned, managed_identity_operator, IDENTITY)
    assert (await put(contributor, top={"identity": identity})).status == 200


DOCKER = {"type": "Docker", "dockerFilePath": "Dockerfile", "contextPath": "https://github.com/org/repo.git"}


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"agentConfiguration": {"cpu": 4}},
        "AgentProperties:Invalid value for CPU core count. The supported values are (2)",
    ),
    ({"step": DOCKER}, "DockerBuildStep:Missing required property 'ImageNames'."),
    ({"step": {"type": "EncodedTask", "encodedTaskContent": "version: 1"}}, "EncodedTaskStep:"),
    ({"step": {"type": "Kaniko"}}, "Step:Invalid value 'Kaniko'"),
    ({"platform": {"os": "BeOS"}}, "Platform:"),
    ({"timeout": 299}, "Timeout:"),
    ({"timeout": 28801}, "Timeout:"),
    ({"status": "On"}, "Status:"),
]
INCOMPLETE: list[tuple[dict[str, Any], str]] = [
    ({"step": {"type": "EncodedTask"}}, "EncodedTaskStep:Missing required property 'EncodedTaskContent'."),
    ({"step": None}, "Task:Missing required property 'Step'."),
    ({"platform": None}, "Task:Missing required property 'Platform'."),
]


@pytest.mark.parametrize(("properties", "inner"), BAD + INCOMPLETE)
async def test_put_with_bad_properties_is_refused_in_acrs_words(
    owner: Client, properties: dict[str, Any], inner: str
) -> None:
    refused = await put(owner, **properties)
    assert (refused.status, refused.body["error"]["code"]) == (400, "InvalidInputValue")
    prefix = "Some of the properties of 'taskCreateParameters' are invalid.. InnerErrors: "
    assert refused.body["error"]["message"].startswith(prefix + inner)
    assert (await owner.arm("GET", TASK, api_version=VERSION)).status == 404


@pytest.mark.parametrize(
    ("properties", "inner"), [*BAD, ({"step": {"values": []}}, "Step:Missing required property 'Type'.")]
)
async def test_patch_with_bad_properties_changes_nothing(owner: Client, properties: dict[str, Any], inner: str) -> None:
    before = (await put(owner)).body
    refused = await patch(owner, **properties)
    assert (refused.status, refused.body["error"]["code"]) == (400, "InvalidInputValue")
    assert f"'taskUpdateParameters' are invalid.. InnerErrors: {inner}" in refused.body["error"]["message"]
    assert (await owner.arm("GET", TASK, api_version=VERSION)).body == before


@pytest.mark.parametrize(
    "properties",
    [
        {"step": [YAML]},
        {"platform": "Linux"},
        {"step": {"type": "EncodedTask", "encodedTaskContent": YAML, "values": ["a"]}},
        {"trigger": {"timerTriggers": ["daily"]}},
        {"credentials": {"customRegistries": [BASE]}},
        {"credentials": {"customRegistries": {BASE: "[system]"}}},
    ],
)
async def test_json_of_the_wrong_shape_is_refused(owner: Client, properties: dict[str, Any]) -> None:
    refused = await put(owner, **properties)
    assert (refused.status, refused.body["error"]["code"]) == (400, "InvalidRequestContent")
    await put(owner)
    assert (await patch(owner, **properties)).status == 400


@pytest.mark.parametrize("name", ["four", "x" * 51, "dotted.name"])
async def test_task_name_outside_the_rules_is_refused(owner: Client, name: str) -> None:
    assert (await put(owner, f"{REGISTRY}/tasks/{name}")).status == 400


async def test_task_in_another_location_than_its_registry_is_not_found(owner: Client) -> None:
    refused = await put(owner, top={"location": "eastus"})
    assert (refused.status, refused.body["error"]["code"]) == (404, "ResourceNotFound")
    assert (await put(owner, top={"location": "West US"})).body["location"] == "westus"


async def test_missing_task_and_missing_registry_are_told_apart(owner: Client) -> None:
    missing = await owner.arm("GET", TASK, api_version=VERSION)
    assert (missing.status, missing.body["error"]["code"]) == (404, "ResourceNotFound")
    elsewhere = REGISTRY + "2/tasks/helloworld"
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        reply = await owner.arm(method, elsewhere, {}, api_version=VERSION)
        assert (reply.status, reply.body["error"]["code"]) == (404, "ParentResourceNotFound")


async def test_registry_api_version_does_not_serve_tasks(owner: Client) -> None:
    refused = await owner.arm("GET", f"{REGISTRY}/tasks", api_version="2025-11-01")
    assert (refused.status, refused.body["error"]["code"]) == (400, "NoRegisteredProviderFound")


async def test_source_registry_identity_is_unknown_to_the_older_version(owner: Client) -> None:
    body = {"location": "westus", "properties": {
        "platform": {"os": "linux"}, "step": {"type": "EncodedTask", "encodedTaskContent": YAML},
        "credentials": {"sourceRegistry": {"identity": "[system]", "loginMode": "Default"}}}}  # fmt: skip
    created = await owner.arm("PUT", TASK, body, api_version="2019-06-01-preview")
    assert created.body["properties"]["credentials"] == {"sourceRegistry": {"loginMode": "Default"}}


async def test_tasks_sdk_runs_the_whole_life_of_a_task(azure: Azure) -> None:
    task = Task(
        location="westus", identity=IdentityProperties(type="SystemAssigned"),
        properties=TaskProperties(
            platform=PlatformProperties(os="Linux"), step=EncodedTaskStep(encoded_task_content=YAML),
            credentials=Credentials(custom_registries={BASE: CustomRegistryCredentials(identity="[system]")}),
        ),
    )  # fmt: skip
    where = ("myResourceGroup", "myregistry")
    credential = ManagedIdentityCredential()
    async with credential, ContainerRegistryTasksMgmtClient(credential, DEFAULT_SUBSCRIPTION) as client:
        created = await client.tasks.create(*where, "helloworld", task)
        assert created.identity
        assert created.identity.principal_id in azure.state.principals
        found = await client.tasks.get_details(*where, "helloworld")
        assert found.properties
        assert found.properties.credentials
        assert found.properties.credentials.custom_registries
        assert found.properties.credentials.custom_registries[BASE].identity == "[system]"
        change = TaskUpdateParameters(properties=TaskPropertiesUpdateParameters(timeout=600))
        updated = await client.tasks.update(*where, "helloworld", change)
        assert updated.properties
        assert updated.properties.timeout == 600
        assert [item.name async for item in client.tasks.list(*where)] == ["helloworld"]
        await client.tasks.delete(*where, "helloworld")
        assert [item async for item in client.tasks.list(*where)] == []

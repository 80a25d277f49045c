"""System topics and event subscriptions as ARM resources, destinations and their validation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from dev.localazure.azure import Azure
from dev.localazure.rbac import OWNER
from dev.localazure.state import DEFAULT_SUBSCRIPTION
from dev.localazure.tests.eventgrid_fixtures import GROUP, PUSHED, REGISTRY, SITE, TOPICS, VERSION, Grid, push
from dev.localazure.tests.webhook import Webhook, good, until
from dev.testing.azure import SUBSCRIPTION, Client

FUNCTION = f"{SITE}/functions/base_image_pushed"


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    async with Webhook() as hook:
        yield hook


@pytest.fixture
async def grid(owner: Client) -> Grid:
    grid = Grid(owner)
    await grid.prepare()
    return grid


async def test_a_system_topic_is_created_at_once_and_shown_as_event_grid_shows_it(grid: Grid) -> None:
    reply = await grid.topic(tags={"a": "b"})
    assert reply.status == 200
    assert reply.body["properties"].pop("metricResourceId")
    assert reply.body == {
        "properties": {"provisioningState": "Succeeded", "source": REGISTRY,
                       "topicType": "Microsoft.ContainerRegistry.Registries"},
        "systemData": None, "identity": {"type": "None", "principalId": None, "tenantId": None,
                                         "userAssignedIdentities": None},
        "location": "westus", "tags": {"a": "b"}, "id": f"{TOPICS}/base", "name": "base",
        "type": "Microsoft.EventGrid/systemTopics",
    }  # fmt: skip
    for scope in (SUBSCRIPTION, GROUP):
        listed = await grid.owner.arm("GET", f"{scope}/providers/Microsoft.EventGrid/systemTopics", api_version=VERSION)
        assert [t["name"] for t in listed.body["value"]] == ["base"]


async def test_a_system_topic_with_an_identity_is_created_asynchronously(azure: Azure, grid: Grid) -> None:
    reply = await grid.topic(identity={"type": "SystemAssigned"})
    assert (reply.status, reply.body["properties"]["provisioningState"]) == (201, "Creating")
    assert reply.body["identity"]["principalId"] in azure.state.principals
    url = reply.headers["azure-asyncoperation"]
    assert url.startswith(f"https://management.azure.com:443{SUBSCRIPTION}/providers/Microsoft.EventGrid/locations/")
    headers = {"Authorization": f"Bearer {await grid.owner.token()}"}
    poll = await grid.owner.request("GET", url, headers=headers)
    assert poll.body["status"] == "Succeeded"


async def test_a_second_topic_for_the_same_source_is_refused(grid: Grid) -> None:
    good(await grid.topic("one"))
    reply = await grid.topic("two")
    assert reply.status == 400
    assert reply.body["error"]["code"] == "InvalidRequest"
    assert reply.body["error"]["message"] == (
        f"There is an existing tracked system topic for the given source {REGISTRY}. "
        "Only one system topic is allowed per source."
    )
    good(await grid.topic("one"))


@pytest.mark.parametrize(("changes", "code", "words"), [
    ({"properties": {"source": REGISTRY, "topicType": "Just.Testing"}}, 400, "Unrecognized topic type Just.Testing"),
    ({"properties": {"source": REGISTRY, "topicType": "Microsoft.Resources.Subscriptions"}}, 400, "does not fit"),
    ({"properties": {"source": f"{REGISTRY}x", "topicType": "Microsoft.ContainerRegistry.Registries"}}, 404, "not fou"),
    ({"location": "eastus"}, 400, "location must match"),
    ({"location": ""}, 400, "location property is required"),
])  # fmt: skip
async def test_a_wrong_system_topic_is_refused_with_a_reason(
    grid: Grid, changes: dict[str, Any], code: int, words: str
) -> None:
    reply = await grid.topic(**changes)
    assert reply.status == code
    assert words in reply.body["error"]["message"]


async def test_the_source_of_a_system_topic_cannot_be_changed(grid: Grid) -> None:
    good(await grid.topic())
    reply = await grid.topic(source=SUBSCRIPTION)
    assert reply.body["error"]["message"] == "System topic source cannot be modified."


async def test_a_deleted_system_topic_takes_its_subscriptions_along(azure: Azure, grid: Grid, hook: Webhook) -> None:
    good(await grid.topic())
    good(await grid.subscribe(hook.url, on=f"{TOPICS}/base"), 201)
    reply = good(await grid.owner.arm("DELETE", f"{TOPICS}/base", api_version=VERSION), 202)
    assert {"azure-asyncoperation", "location"} <= {name.lower() for name in reply.headers}
    assert azure.eventgrid.subscriptions() == []
    good(await grid.owner.arm("DELETE", f"{TOPICS}/base", api_version=VERSION), 204)


async def test_a_subscription_is_shown_settled_and_without_its_key(grid: Grid, hook: Webhook) -> None:
    good(await grid.topic())
    path = f"{TOPICS}/base/eventSubscriptions/sub"
    created = good(await grid.subscribe(hook.url, on=f"{TOPICS}/base"), 201)
    assert created.body["properties"]["provisioningState"] == "Creating"
    shown = await grid.owner.arm("GET", path, api_version=VERSION)
    assert "s3cret" not in shown.text
    assert shown.body == {
        "properties": {
            "topic": f"{TOPICS}/base", "provisioningState": "Succeeded",
            "destination": {"endpointType": "WebHook", "properties": {
                "endpointUrl": None, "endpointBaseUrl": hook.url.partition("?")[0], "maxEventsPerBatch": 1,
                "preferredBatchSizeInKilobytes": 64}},
            "filter": {"subjectBeginsWith": "", "subjectEndsWith": "", "includedEventTypes": [
                PUSHED, "Microsoft.ContainerRegistry.ImageDeleted", "Microsoft.ContainerRegistry.ChartPushed",
                "Microsoft.ContainerRegistry.ChartDeleted"]},
            "labels": None, "eventDeliverySchema": "EventGridSchema",
            "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
        },
        "systemData": None, "id": path, "name": "sub", "type": "Microsoft.EventGrid/systemTopics/eventSubscriptions",
    }  # fmt: skip
    full = await grid.owner.arm("POST", f"{path}/getFullUrl", api_version=VERSION)
    assert full.body == {"endpointUrl": hook.url}
    listed = await grid.owner.arm("GET", f"{TOPICS}/base/eventSubscriptions", api_version=VERSION)
    assert [s["name"] for s in listed.body["value"]] == ["sub"]


async def test_a_subscription_on_a_resource_echoes_its_topic_in_lower_case(grid: Grid, hook: Webhook) -> None:
    body = good(await grid.subscribe(hook.url), 201).body
    assert body["type"] == "Microsoft.EventGrid/eventSubscriptions"
    assert body["properties"]["topic"] == f"{GROUP}/providers/microsoft.containerregistry/registries/mybaseregistry"


async def test_an_update_keeps_what_it_does_not_name_and_asks_the_endpoint_again(grid: Grid, hook: Webhook) -> None:
    good(await grid.subscribe(hook.url, labels=["a"]), 201)
    path = f"{REGISTRY}/providers/Microsoft.EventGrid/eventSubscriptions/sub"
    change = {"filter": {"subjectBeginsWith": "baseimages/"}}
    updated = good(await grid.owner.arm("PATCH", path, change, api_version=VERSION), 201)
    assert updated.body["properties"]["provisioningState"] == "Updating"
    assert updated.body["properties"]["labels"] == ["a"]
    assert len(hook.handshakes) == 2
    await grid.publish(push(), push(subject="other/image:1", id="other"))
    await grid.idle()
    assert [e["subject"] for e in hook.events] == ["baseimages/node:15-alpine"]


async def test_a_webhook_proves_itself_by_echoing_the_code(grid: Grid, hook: Webhook) -> None:
    good(await grid.subscribe(hook.url), 201)
    ((headers, body),) = hook.handshakes
    assert headers["aeg-event-type"] == "SubscriptionValidation"
    assert headers["aeg-subscription-name"] == "SUB"
    assert body[0]["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert body[0]["topic"] == REGISTRY
    assert {"validationCode", "validationUrl"} == set(body[0]["data"])


@pytest.mark.parametrize(("handshake", "words"), [
    ("refuse", "Http POST request failed with response code Unauthorized"),
    ("silent", "Http GET is expected on the validation url"),
    ("accepted", "Http GET is expected on the validation url"),
])  # fmt: skip
async def test_a_webhook_that_does_not_prove_itself_gets_no_subscription(
    azure: Azure, grid: Grid, hook: Webhook, handshake: str, words: str
) -> None:
    hook.handshake = handshake
    reply = await grid.subscribe(hook.url)
    assert (reply.status, reply.body["error"]["code"]) == (400, "Url validation")
    assert words in reply.body["error"]["message"]
    assert "s3cret" not in reply.text
    assert azure.eventgrid.subscriptions() == []


async def test_a_webhook_that_is_down_gets_no_subscription(grid: Grid) -> None:
    async with Webhook() as hook:
        url = hook.url
    reply = await grid.subscribe(url)
    assert (reply.status, reply.body["error"]["code"]) == (400, "Url validation")
    assert "response code Unknown" in reply.body["error"]["message"]


async def test_a_cloud_events_webhook_proves_itself_by_allowing_the_origin(grid: Grid, hook: Webhook) -> None:
    schema = {"eventDeliverySchema": "CloudEventSchemaV1_0"}
    good(await grid.subscribe(hook.url, **schema), 201)
    assert hook.handshakes[0][0]["webhook-request-origin"] == "eventgrid.azure.net"
    hook.handshake = "silent"
    reply = await grid.subscribe(hook.url, **schema)
    assert reply.body["error"]["code"] == "Url validation"


@pytest.mark.parametrize("url", ["", "http://example.com/hook", "https://example.com/hook", "ftp://127.0.0.1/", "x"])
async def test_events_cannot_be_sent_off_the_machine(grid: Grid, url: str) -> None:
    reply = await grid.subscribe(url)
    assert (reply.status, reply.body["error"]["code"]) == (400, "InvalidRequest")


@pytest.mark.parametrize("properties", [
    {"retryPolicy": {"maxDeliveryAttempts": 31}}, {"retryPolicy": {"eventTimeToLiveInMinutes": 1441}},
    {"eventDeliverySchema": "CustomInputSchema"}, {"destination": {"endpointType": "EventHub"}},
    {"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {}}},
    {"filter": {"advancedFilters": [{"operatorType": "StringEquals", "key": "subject", "values": ["a"]}]}},
])  # fmt: skip
async def test_a_wrong_subscription_is_refused(grid: Grid, hook: Webhook, properties: dict[str, Any]) -> None:
    reply = await grid.subscribe(hook.url, **properties)
    assert (reply.status, reply.body["error"]["code"]) == (400, "InvalidRequest")
    assert hook.handshakes == []


async def test_resources_that_raise_no_events_take_no_subscription(grid: Grid, hook: Webhook) -> None:
    reply = await grid.subscribe(hook.url, on=f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x")
    assert reply.status == 400
    assert "not supported" in reply.body["error"]["message"]
    assert (await grid.subscribe(hook.url, on=REGISTRY + "x")).status == 404


async def test_topic_types_are_listed_with_their_event_types(owner: Client) -> None:
    types = await owner.arm("GET", "/providers/Microsoft.EventGrid/topicTypes", api_version=VERSION)
    assert {"Microsoft.ContainerRegistry.Registries", "Microsoft.Resources.Subscriptions"} <= {
        t["name"] for t in types.body["value"]
    }
    path = "/providers/Microsoft.EventGrid/topicTypes/microsoft.containerregistry.registries/eventTypes"
    listed = await owner.arm("GET", path, api_version=VERSION)
    assert PUSHED in {t["name"] for t in listed.body["value"]}


async def register(owner: Client, url: str, *functions: dict[str, str], resource_id: str = SITE) -> None:
    body = {"resourceId": resource_id, "url": url, "eventGridKey": "the key", "functions": list(functions)}
    good(await owner.control("POST", "/sites", body), 201)


def to_function(resource_id: str = FUNCTION) -> dict[str, Any]:
    return {"destination": {"endpointType": "AzureFunction", "properties": {"resourceId": resource_id}}}


async def test_a_function_gets_its_events_at_the_hosts_webhook_with_the_key(grid: Grid, hook: Webhook) -> None:
    await register(
        grid.owner, f"http://127.0.0.1:{hook.port}", {"name": "base_image_pushed", "type": "eventGridTrigger"}
    )
    good(await grid.subscribe("", **to_function()), 201)
    await grid.publish(push())
    await grid.idle()
    ((_, body),) = hook.received
    assert body[0]["id"] == push()["id"]
    assert hook.handshakes == [], "the platform vouches for functions"
    (path,) = hook.paths
    assert path == "/runtime/webhooks/eventgrid?functionName=base_image_pushed&code=the+key"


@pytest.mark.parametrize(("functions", "code", "words"), [
    ([], "Endpoint validation", "Destination endpoint not found."),
    ([{"name": "base_image_pushed", "type": "httpTrigger"}], "Unsupported Azure Function Trigger",
     "Azure Event Grid supports EventGrid Trigger type only."),
])  # fmt: skip
async def test_a_function_that_is_not_deployed_or_of_another_kind_takes_no_subscription(
    grid: Grid, functions: list[dict[str, str]], code: str, words: str
) -> None:
    await register(grid.owner, "http://127.0.0.1:9", *functions)
    reply = await grid.subscribe("", **to_function())
    assert (reply.status, reply.body["error"]["code"]) == (400, code)
    assert words in reply.body["error"]["message"]


async def test_a_refusal_of_401_by_a_function_is_tried_again(grid: Grid, hook: Webhook) -> None:
    await register(grid.owner, f"http://127.0.0.1:{hook.port}", {"name": "base_image_pushed"})
    good(await grid.subscribe("", **to_function()), 201)
    good(await grid.owner.control("PATCH", "/settings", {"eventgrid": {"retry_scale": 0.001}}))
    hook.statuses = [401, 403, 200]
    await grid.publish(push())
    await grid.idle()
    assert await grid.counts() == {"matched": 1, "delivered": 0, "failedAttempts": 2, "dropped": 1, "deadLettered": 0}


async def test_a_site_is_an_arm_resource_and_answers_at_its_own_host_name(grid: Grid, hook: Webhook) -> None:
    await register(
        grid.owner, f"http://127.0.0.1:{hook.port}", {"name": "base_image_pushed", "type": "eventGridTrigger"}
    )
    shown = await grid.owner.arm("GET", SITE, api_version="2024-04-01")
    assert shown.body["properties"]["defaultHostName"] == "myapp.azurewebsites.net"
    assert "the key" not in shown.text
    functions = await grid.owner.arm("GET", f"{SITE}/functions", api_version="2024-04-01")
    assert [f["name"] for f in functions.body["value"]] == ["myapp/base_image_pushed"]
    headers = {"aeg-event-type": "SubscriptionValidation"}
    url = "https://myapp.azurewebsites.net/api/a%20b?c=d"
    body = [{"data": {"validationCode": "42"}}]
    passed = await grid.owner.request("POST", url, json=body, headers=headers)
    assert (passed.status, passed.body) == (200, {"validationResponse": "42"})
    assert hook.paths == ["/api/a%20b?c=d"]
    assert hook.handshakes[0][0]["host"] == "myapp.azurewebsites.net"


async def test_keys_of_a_site_are_told_to_those_who_may_list_them(
    azure: Azure, grid: Grid, session: aiohttp.ClientSession
) -> None:
    site = {"resourceId": SITE, "url": "http://127.0.0.1:9", "functionKey": "for callers", "eventGridKey": "for events"}
    good(await grid.owner.control("POST", "/sites", site), 201)
    path = f"{SITE}/host/default/listkeys"
    keys = good(await grid.owner.arm("POST", path, api_version="2024-04-01")).body
    assert keys["functionKeys"] == {"default": "for callers"}
    assert keys["systemKeys"] == {"eventgrid_extension": "for events"}
    assert "for callers" not in (await grid.owner.arm("GET", SITE, api_version="2024-04-01")).text
    stranger = Client(azure, azure.identity.create_app("stranger"), session)
    assert (await stranger.arm("POST", path, api_version="2024-04-01")).status == 403


async def test_a_webhook_can_be_an_apps_own_https_address(grid: Grid, hook: Webhook) -> None:
    await register(grid.owner, f"http://127.0.0.1:{hook.port}")
    good(await grid.subscribe("https://myapp.azurewebsites.net/api/hook?code=1"), 201)
    await grid.publish(push())
    await grid.idle()
    assert [e["id"] for e in hook.events] == [push()["id"]]


async def test_site_that_is_stopped_without_a_host_or_unknown_answers_as_the_front_ends_do(grid: Grid) -> None:
    async def status(app: str = "myapp") -> int:
        return (await grid.owner.request("GET", f"https://{app}.azurewebsites.net/")).status

    async with Webhook() as hook:
        await register(grid.owner, f"http://127.0.0.1:{hook.port}")
        running = await status()
        good(await grid.owner.arm("POST", f"{SITE}/stop", api_version="2024-04-01"))
        shown = await grid.owner.arm("GET", SITE, api_version="2024-04-01")
        assert (await status(), shown.body["properties"]["state"]) == (403, "Stopped")
        good(await grid.owner.arm("POST", f"{SITE}/start", api_version="2024-04-01"))
        assert await status() == running
    assert await status() == 503
    assert await status("nobody") == 404


async def test_an_event_for_a_stopped_app_is_given_up_at_once(grid: Grid, hook: Webhook) -> None:
    await register(grid.owner, f"http://127.0.0.1:{hook.port}", {"name": "base_image_pushed"})
    good(await grid.subscribe("", **to_function()), 201)
    good(await grid.owner.arm("POST", f"{SITE}/stop", api_version="2024-04-01"))
    await grid.publish(push())
    await grid.idle()
    assert hook.received == []
    assert await grid.counts() == {"matched": 1, "delivered": 0, "failedAttempts": 1, "dropped": 1, "deadLettered": 0}


async def test_an_event_for_an_app_that_is_out_of_reach_or_lacks_the_function_is_tried_again(
    azure: Azure, grid: Grid, hook: Webhook
) -> None:
    async with Webhook() as gone:
        await register(grid.owner, f"http://127.0.0.1:{gone.port}", {"name": "base_image_pushed"})
    good(await grid.subscribe("", **to_function()), 201)
    good(await grid.owner.control("PATCH", "/settings", {"eventgrid": {"retry_scale": 0.001}}))
    await grid.publish(push())
    await until(lambda: "TimedOut" in [attempt["outcome"] for attempt in azure.eventgrid.attempts])
    await register(grid.owner, f"http://127.0.0.1:{hook.port}")
    await until(lambda: "NotFound" in [attempt["outcome"] for attempt in azure.eventgrid.attempts])
    await register(grid.owner, f"http://127.0.0.1:{hook.port}", {"name": "base_image_pushed"})
    await grid.idle()
    assert [event["id"] for event in hook.events] == [push()["id"]]


@pytest.mark.parametrize("body", [
    {"resourceId": REGISTRY, "url": "http://127.0.0.1:1"}, {"resourceId": "x", "url": "http://127.0.0.1:1"},
    {"resourceId": SITE, "url": "http://example.com"}, {"resourceId": SITE}, {"resourceId": SITE, "url": 1},
    {"resourceId": SITE.replace("events", "nowhere"), "url": "http://127.0.0.1:1"},
])  # fmt: skip
async def test_a_wrong_site_is_refused(grid: Grid, body: dict[str, Any]) -> None:
    assert (await grid.owner.control("POST", "/sites", body)).status == 400


async def test_subscribing_needs_rights_on_the_source_and_on_the_function(
    azure: Azure, grid: Grid, hook: Webhook, session: aiohttp.ClientSession
) -> None:
    app = azure.identity.create_app("deployer")
    deployer = Grid(Client(azure, app, session))
    assert (await deployer.subscribe(hook.url)).status == 403
    eventgrid_contributor = "1e241071-0855-49ea-94dc-649edcd759de"
    assert app.system_assigned
    azure.grant(app.system_assigned, eventgrid_contributor, f"/subscriptions/{DEFAULT_SUBSCRIPTION}")
    good(await deployer.subscribe(hook.url), 201)
    await register(grid.owner, f"http://127.0.0.1:{hook.port}", {"name": "base_image_pushed"})
    refused = await deployer.subscribe("", **to_function())
    assert (refused.status, refused.body["error"]["code"]) == (403, "LinkedAuthorizationFailed")
    azure.grant(app.system_assigned, OWNER, SITE)
    good(await deployer.subscribe("", **to_function()), 201)

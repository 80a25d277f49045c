"""Delivery: what reaches an endpoint, when, how often, and what becomes of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dev.localazure.azure import Azure
from dev.localazure.tests.eventgrid_fixtures import GROUP, REGISTRY, STORAGE, Grid, push, ready
from dev.localazure.tests.webhook import Webhook, good, until
from dev.testing.azure import SUBSCRIPTION, Client

DEAD_LETTERS = {"endpointType": "StorageBlob", "properties": {"resourceId": STORAGE, "blobContainerName": "letters"}}
MANAGED = {"identity": {"type": "SystemAssigned"}, "deadLetterDestination": DEAD_LETTERS}


async def attempted(azure: Azure, number: int) -> None:
    """Wait until so many delivery attempts have ended."""
    await until(lambda: len(azure.eventgrid.attempts) >= number)


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    async with Webhook() as hook:
        yield hook


async def test_an_event_arrives_as_an_array_of_one_with_event_grids_headers(owner: Client, hook: Webhook) -> None:
    grid = await ready(owner, hook)
    await grid.publish(push())
    await grid.idle()

    ((headers, body),) = hook.received
    assert body == [{**push(), "topic": REGISTRY, "metadataVersion": "1"}]
    wanted = {
        "aeg-event-type": "Notification", "aeg-subscription-name": "SUB", "aeg-delivery-count": "0",
        "aeg-data-version": "2.0", "aeg-metadata-version": "1", "content-type": "application/json; charset=utf-8",
    }  # fmt: skip
    assert {name: headers.get(name) for name in wanted} == wanted


async def test_a_cloud_events_subscription_gets_a_bare_object(owner: Client, hook: Webhook) -> None:
    grid = await ready(owner, hook, eventDeliverySchema="CloudEventSchemaV1_0")
    await grid.publish(push())
    await grid.idle()

    ((headers, body),) = hook.received
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert (body["source"], body["type"], body["specversion"]) == (REGISTRY, push()["eventType"], "1.0")
    assert not {"topic", "eventType", "eventTime", "dataVersion", "metadataVersion"} & set(body)


async def test_a_failed_delivery_is_repeated_on_the_documented_schedule(
    azure: Azure, owner: Client, hook: Webhook
) -> None:
    hook.statuses = [500]
    grid = await ready(owner, hook)
    azure.clock.set_scale(0.0001)  # so that only the test moves the clock
    await grid.publish(push())
    await attempted(azure, 1)
    for number, seconds in enumerate((10, 30, 60, 300, 600, 1800, 3600, 10800, 21600), start=2):
        azure.clock.advance(seconds * 1.11)
        await attempted(azure, number)
    assert [headers["aeg-delivery-count"] for headers, _ in hook.received] == [str(n) for n in range(10)]
    assert len({body[0]["id"] for _, body in hook.received}) == 1


async def test_no_attempt_is_made_before_its_time(azure: Azure, owner: Client, hook: Webhook) -> None:
    hook.statuses = [503, 200]
    grid = await ready(owner, hook)
    azure.clock.set_scale(0.0001)
    await grid.publish(push())
    await attempted(azure, 1)
    azure.clock.advance(9)
    reply = await owner.control("GET", "/idle?timeout=0")
    assert reply.body == {"idle": False, "runs": 0, "pendingEvents": 1}
    azure.clock.advance(3)
    await grid.idle()
    assert len(hook.received) == 2


@pytest.mark.parametrize("status", [205, 302, 404, 408, 429, 500, 503])
async def test_an_answer_that_is_not_success_is_tried_again(owner: Client, hook: Webhook, status: int) -> None:
    hook.statuses = [status, 204]
    grid = await ready(owner, hook)
    good(await owner.control("PATCH", "/settings", {"eventgrid": {"retry_scale": 0.001}}))
    await grid.publish(push())
    await grid.idle()
    assert await grid.counts() == {"matched": 1, "delivered": 1, "failedAttempts": 1, "dropped": 0, "deadLettered": 0}


@pytest.mark.parametrize("status", [400, 401, 403, 413])
async def test_an_event_that_a_webhook_refuses_for_good_is_dropped(owner: Client, hook: Webhook, status: int) -> None:
    hook.statuses = [status]
    grid = await ready(owner, hook)
    await grid.publish(push())
    await grid.idle()
    assert len(hook.received) == 1
    assert (await grid.counts())["dropped"] == 1


async def test_an_endpoint_that_does_not_answer_in_time_gets_the_event_again(
    azure: Azure, owner: Client, hook: Webhook
) -> None:
    grid = await ready(owner, hook)
    azure.eventgrid.retry_scale = 0.001
    azure.eventgrid.response_timeout = 0.2
    hook.slow = asyncio.Event()
    await grid.publish(push())
    await until(lambda: len(hook.received) == 2)
    hook.slow.set()
    await grid.idle()
    assert (await grid.counts())["delivered"] == 1


async def test_an_event_goes_to_the_dead_letter_container_after_the_last_attempt(owner: Client, hook: Webhook) -> None:
    hook.statuses = [500]
    policy = {"maxDeliveryAttempts": 3, "eventTimeToLiveInMinutes": 60}
    grid = await ready(owner, hook, retryPolicy=policy, deadLetterDestination=DEAD_LETTERS)
    good(await owner.control("PATCH", "/settings", {"eventgrid": {"retry_scale": 0.0001}}))
    await grid.publish(push())
    await grid.idle()

    assert len(hook.received) == 3
    (letter,) = await grid.dead_letters()
    assert letter["blob"].startswith("letters/SUB/2026/") or letter["blob"].startswith("letters/SUB/")
    (event,) = letter["events"]
    assert event["id"] == push()["id"]
    assert event["data"] == push()["data"]
    assert event["deadLetterReason"] == "MaxDeliveryAttemptsExceeded"
    assert event["deliveryAttempts"] == 3
    assert event["lastDeliveryOutcome"] == "InternalServerError"
    assert {"publishTime", "lastDeliveryAttemptTime"} <= set(event)


async def test_a_dead_letter_is_written_five_minutes_after_the_last_attempt(
    azure: Azure, owner: Client, hook: Webhook
) -> None:
    hook.statuses = [400]
    grid = await ready(owner, hook, deadLetterDestination=DEAD_LETTERS)
    azure.clock.set_scale(0.0001)
    await grid.publish(push())
    await attempted(azure, 1)
    azure.clock.advance(290)
    assert await grid.dead_letters() == []
    azure.clock.advance(20)
    await grid.idle()
    assert len(await grid.dead_letters()) == 1


async def test_an_event_that_outlives_its_time_is_not_delivered_any_more(
    azure: Azure, owner: Client, hook: Webhook
) -> None:
    hook.statuses = [500, 200]
    policy = {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1}
    grid = await ready(owner, hook, retryPolicy=policy, deadLetterDestination=DEAD_LETTERS)
    azure.clock.set_scale(0.0001)
    await grid.publish(push())
    await attempted(azure, 1)
    azure.clock.advance(61)
    await until(lambda: any(d.dead for d in azure.state.deliveries.values()))
    azure.clock.advance(301)
    await grid.idle()
    assert len(hook.received) == 1
    assert (await grid.dead_letters())[0]["events"][0]["deadLetterReason"] == "TimeToLiveExceeded"


@pytest.mark.parametrize(("scope", "kept"), [(f"{STORAGE}/blobServices/default/containers/letters", 1), (GROUP, 1),
                                             (f"{STORAGE}/blobServices/default/containers/others", 0), ("", 0)],
                         ids=["container", "group", "other-container", "no-role"])  # fmt: skip
async def test_a_dead_letter_is_written_with_the_topics_identity_only_where_that_may_write(
    azure: Azure, owner: Client, hook: Webhook, scope: str, kept: int
) -> None:
    hook.statuses = [400]
    grid = Grid(owner)
    await grid.prepare()
    topic = good(await grid.topic(identity={"type": "SystemAssigned"}), 201).body
    if scope:
        azure.grant(topic["identity"]["principalId"], "ba92f5b4-2d11-453d-a403-e96b0029c9fe", scope)
    good(await grid.subscribe(hook.url, on=topic["id"], deadLetterWithResourceIdentity=MANAGED), 201)
    good(await owner.control("PATCH", "/settings", {"eventgrid": {"retry_scale": 0.0001}}))
    await grid.publish(push())
    await grid.idle()
    assert len(await grid.dead_letters()) == kept
    assert {name: count for name, count in (await grid.counts()).items() if name in ("dropped", "deadLettered")} == {
        "dropped": 1 - kept, "deadLettered": kept,
    }  # fmt: skip


@pytest.mark.parametrize("identity", [None, {"type": "None"}])
async def test_a_dead_letter_identity_is_refused_where_the_topic_has_none(
    owner: Client, hook: Webhook, identity: Any
) -> None:
    grid = Grid(owner)
    await grid.prepare()
    topic = good(await grid.topic(**({"identity": identity} if identity else {}))).body
    reply = await grid.subscribe(hook.url, on=topic["id"], deadLetterWithResourceIdentity=MANAGED)
    assert (reply.status, reply.body["error"]["code"]) == (400, "InvalidRequest")
    assert "needs a topic that has one" in reply.body["error"]["message"]


async def test_a_batch_is_delivered_whole_or_again(azure: Azure, owner: Client, hook: Webhook) -> None:
    hook.statuses = [500, 200]
    grid = await ready(owner, hook)
    destination = {"endpointType": "WebHook", "properties": {"endpointUrl": hook.url, "maxEventsPerBatch": 2}}
    good(await grid.subscribe(hook.url, destination=destination))
    good(await owner.control("PATCH", "/settings", {"eventgrid": {"retry_scale": 0.001}}))
    for tag in ("a", "b", "c"):  # at the same moment, so that they can share a request
        azure.events.publish(REGISTRY, push(tag))
    await grid.idle()
    sizes = [len(body) for _, body in hook.received]
    assert sorted(sizes) in ([1, 2, 2], [1, 1, 2])
    assert {e["id"] for e in hook.events} == {"event-a", "event-b", "event-c"}


async def test_every_event_can_be_made_to_arrive_twice(owner: Client, hook: Webhook) -> None:
    grid = await ready(owner, hook)
    good(await owner.control("PATCH", "/settings", {"eventgrid": {"duplicate": 1}}))
    await grid.publish(push("a"))
    await grid.idle()
    assert [e["id"] for e in hook.events] == ["event-a", "event-a"]


async def test_events_can_be_made_to_arrive_in_another_order(azure: Azure, owner: Client, hook: Webhook) -> None:
    grid = await ready(owner, hook)
    azure.clock.set_scale(0.0001)
    good(await owner.control("PATCH", "/settings", {"eventgrid": {"shuffle": 5}}))
    tags = [f"{number:02}" for number in range(20)]
    await grid.publish(*(push(tag) for tag in tags))
    assert hook.received == []
    azure.clock.advance(6)
    await grid.idle()
    arrived = [e["data"]["target"]["tag"] for e in hook.events]
    assert sorted(arrived) == tags
    assert arrived != tags


async def test_what_a_deleted_subscription_had_not_delivered_is_gone(
    azure: Azure, owner: Client, hook: Webhook
) -> None:
    hook.statuses = [500]
    grid = await ready(owner, hook)
    await grid.publish(push())
    await attempted(azure, 1)
    path = f"{REGISTRY}/providers/Microsoft.EventGrid/eventSubscriptions/sub"
    good(await owner.arm("DELETE", path, api_version="2025-02-15"), 202)
    await grid.idle()


async def test_only_the_subscriptions_of_the_source_get_an_event(owner: Client, hook: Webhook) -> None:
    grid = await ready(owner, hook)
    await grid.publish(push(), source=REGISTRY.replace("mybaseregistry", "another"))
    await grid.publish(push("upper"), source=REGISTRY.upper())
    await grid.idle()
    assert [e["subject"] for e in hook.events] == ["baseimages/node:upper"]


async def test_a_malformed_event_breaks_nothing(owner: Client, hook: Webhook) -> None:
    grid = await ready(owner, hook, filter={"advancedFilters": [
        {"operatorType": "StringNotIn", "key": "data.operationName", "values": ["x"]}]})  # fmt: skip
    await grid.publish({"eventType": push()["eventType"], "subject": None, "data": None}, push("good"))
    await grid.idle()
    assert {e["subject"] for e in hook.events} == {None, "baseimages/node:good"}


async def subscription_events(owner: Client, hook: Webhook, **properties: Any) -> Grid:
    """Return a grid that delivers the subscription's resource events to the webhook."""
    grid = Grid(owner)
    await grid.prepare()
    good(await grid.topic("subs", SUBSCRIPTION))
    topic = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/subs"
    good(await grid.subscribe(hook.url, on=topic, **properties), 201)
    return grid


def operations(hook: Webhook) -> list[tuple[str, str]]:
    return sorted((e["eventType"].rpartition(".")[2], e["data"]["operationName"]) for e in hook.events)


async def test_a_registry_and_its_children_raise_resource_events(owner: Client, hook: Webhook) -> None:
    grid = await subscription_events(owner, hook, filter={"subjectBeginsWith": f"{GROUP}/providers/Microsoft.Cont"})
    team = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/teamregistry"
    good(await owner.arm("PUT", team, {"location": "westus", "sku": {"name": "Basic"}}))
    good(await owner.arm("PATCH", team, {"tags": {"a": "b"}}))
    task = {"location": "westus", "properties": {"status": "Enabled", "platform": {"os": "Linux"}, "step": {
        "type": "EncodedTask", "encodedTaskContent": "c3RlcHM6IFtdCg==", "contextPath": "/dev/null"}}}  # fmt: skip
    good(await owner.arm("PUT", f"{team}/tasks/mytask", task, api_version="2025-03-01-preview"))
    good(await owner.arm("POST", f"{team}/tasks/mytask/listDetails", api_version="2025-03-01-preview"))
    good(await owner.arm("DELETE", team), 200, 202)
    await grid.idle()
    kind = "Microsoft.ContainerRegistry/registries"
    assert operations(hook) == sorted([
        ("ResourceWriteSuccess", f"{kind}/write"), ("ResourceWriteSuccess", f"{kind}/write"),
        ("ResourceWriteSuccess", f"{kind}/tasks/write"), ("ResourceActionSuccess", f"{kind}/tasks/listDetails/action"),
        ("ResourceDeleteSuccess", f"{kind}/delete"),
    ])  # fmt: skip


async def test_a_resource_event_has_the_documented_members(owner: Client, hook: Webhook) -> None:
    grid = await subscription_events(owner, hook, filter={"subjectEndsWith": "/resourceGroups/another"})
    path = f"{SUBSCRIPTION}/resourceGroups/another"
    created = good(await owner.arm("PUT", path, {"location": "westus"}), 201)
    await grid.idle()
    (event,) = hook.events
    assert (event["topic"], event["subject"], event["dataVersion"]) == (SUBSCRIPTION, path, "2")
    data = event["data"]
    assert (
        data["operationName"]
        == data["authorization"]["action"]
        == "Microsoft.Resources/subscriptions/resourceGroups/write"
    )
    assert data["authorization"]["scope"] == data["resourceUri"] == path
    assert data["authorization"]["evidence"]["role"] == "Owner"
    assert data["correlationId"] == created.headers["x-ms-correlation-request-id"]
    assert (data["resourceProvider"], data["status"]) == ("Microsoft.Resources", "Succeeded")
    assert "httpRequest" not in data, "documented for updates and deletions only"
    # What nobody may log: names and addresses of people.
    assert data["claims"]["name"] == "Local Owner"
    assert data["claims"]["ipaddr"] == "203.0.113.7"


async def test_an_update_and_a_deletion_tell_the_request(owner: Client, hook: Webhook) -> None:
    grid = await subscription_events(owner, hook, filter={"subjectEndsWith": "/resourceGroups/another"})
    path = f"{SUBSCRIPTION}/resourceGroups/another"
    for _ in range(2):
        good(await owner.arm("PUT", path, {"location": "westus"}))
    good(await owner.arm("DELETE", path), 200, 202)
    await grid.idle()
    requests = {e["data"]["httpRequest"]["method"] for e in hook.events if "httpRequest" in e["data"]}
    assert requests == {"PUT", "DELETE"}
    assert len(hook.events) == 3


async def test_a_failed_write_and_a_read_raise_no_event(azure: Azure, owner: Client) -> None:
    before = azure.events.count
    await owner.arm(
        "PUT", f"{GROUP}-missing/providers/Microsoft.ContainerRegistry/registries/abcdef", {"location": "x"}
    )
    await owner.arm("GET", SUBSCRIPTION)
    assert azure.events.count == before


async def test_a_resource_group_is_a_source_of_its_own(owner: Client, hook: Webhook) -> None:
    grid = Grid(owner)
    await grid.prepare()
    good(await grid.subscribe(hook.url, on=GROUP), 201)
    good(await owner.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/another", {"location": "westus"}))
    good(await owner.arm("PATCH", REGISTRY, {"tags": {"a": "b"}}))
    await grid.idle()
    events = [e for e in hook.events if "eventSubscriptions" not in e["subject"]]
    assert [(e["topic"], e["subject"]) for e in events] == [(GROUP, REGISTRY)]

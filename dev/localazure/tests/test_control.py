"""The control endpoint: what tests and demos can do to the local Azure."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from dev.localazure.azure import Azure
from dev.localazure.tests.eventgrid_fixtures import GROUP, REGISTRY, Grid, push
from dev.localazure.tests.webhook import Webhook, good
from dev.testing.azure import SUBSCRIPTION, Client


async def test_settings_of_all_services_can_be_read_and_changed(azure: Azure, owner: Client) -> None:
    settings = (await owner.control("GET", "/settings")).body
    assert settings["rbac"]["delay"] == 0
    assert settings["eventgrid"]["response_timeout"] == 30
    changes = {"rbac": {"delay": 90}, "identity": {"replication": 1.5}, "throttle": {"writes": {"burst": 5.5}},
               "eventgrid": {"duplicate": 2}, "clock": {"scale": 10}}  # fmt: skip
    changed = good(await owner.control("PATCH", "/settings", changes)).body
    assert changed["rbac"]["delay"] == azure.rbac.delay.total_seconds() == 90
    assert azure.identity.replication.total_seconds() == 1.5
    assert azure.throttle.limits["writes"].burst == 5.5
    assert azure.eventgrid.duplicate == 2
    assert azure.clock.scale == 10
    assert changed["throttle"]["writes"]["per_second"] == settings["throttle"]["writes"]["per_second"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"rbca": {"delay": 1}}, "no service 'rbca'"), ({"rbac": {"dleay": 1}}, "no setting rbac.dleay"),
    ({"rbac": {"delay": "soon"}}, "rbac.delay must be a number"), ({"rbac": {"delay": -1}}, "not negative"),
    ({"rbac": 1}, "rbac: an object"), ([], "an object of services"),
    ({"eventgrid": {"duplicate": 1.5}}, "whole number"),
    ({"throttle": {"writes": 1}}, "throttle.writes must be an object"), ({"rbac": {"delay": True}}, "must be a number"),
])  # fmt: skip
async def test_a_wrong_setting_is_refused_and_nothing_changes(
    azure: Azure, owner: Client, changes: Any, words: str
) -> None:
    before = (await owner.control("GET", "/settings")).body
    if isinstance(changes, dict):
        changes = {"identity": {"replication": 7}, **changes}
    reply = await owner.control("PATCH", "/settings", changes)
    assert reply.status == 400
    assert words in reply.text
    assert (await owner.control("GET", "/settings")).body == before


@pytest.mark.parametrize(("method", "path", "body", "words"), [
    ("POST", "/clock", {"advance": "1"}, "advance"), ("POST", "/clock", {"scale": 0}, "scale"),
    ("POST", "/clock", {"forward": 1}, "forward"), ("POST", "/clock", [], "dictionary"),
    ("POST", "/latency", {"seconds": -1}, "seconds"), ("POST", "/faults", {"status": 500, "path": "("}, "path"),
    ("POST", "/faults", {"status": "x"}, "status"), ("POST", "/faults", {}, "needs a status"),
    ("POST", "/faults", {"state": 500}, "unknown members: state"), ("POST", "/faults", [], "JSON object"),
    ("GET", "/journal?since=x", None, "since"), ("GET", "/journal?colour=red", None, "colour"),
    ("GET", "/journal?path=(", None, "path"), ("GET", "/idle?timeout=x", None, "timeout"),
    ("POST", "/events", {"event": {}}, "source"), ("POST", "/events", {"source": "/x", "event": []}, "event"),
    ("POST", "/apps", {}, "name"), ("POST", "/apps", {"name": "x", "userAssigned": ["/nowhere"]}, "/nowhere"),
])  # fmt: skip
async def test_a_wrong_request_is_refused_with_a_sentence(
    owner: Client, method: str, path: str, body: Any, words: str
) -> None:
    reply = await owner.control(method, path, body)
    assert reply.status == 400
    assert words in reply.text


async def test_what_is_not_json_is_refused(azure: Azure, session: aiohttp.ClientSession) -> None:
    url = f"http://127.0.0.1:{azure.control.port}/control/clock"
    async with session.post(url, data=b"{") as response:
        assert response.status == 400
        assert "not JSON" in await response.text()


async def test_a_fault_disturbs_the_requests_it_describes(owner: Client) -> None:
    fault = {"method": "GET", "path": ".*/resourceGroups/.*", "status": 429, "headers": {"Retry-After": "7"}}
    good(await owner.control("POST", "/faults", fault), 201)
    disturbed = await owner.arm("GET", GROUP)
    assert (disturbed.status, disturbed.headers["Retry-After"]) == (429, "7")
    assert (await owner.arm("GET", GROUP)).status == 404
    entries = (await owner.control("GET", "/journal?method=GET&status=429")).body["entries"]
    assert [(e["path"], e["fault"]) for e in entries] == [(GROUP, True)]


async def test_an_app_gets_an_environment_and_user_assigned_identities(
    azure: Azure, owner: Client, session: aiohttp.ClientSession
) -> None:
    good(await owner.arm("PUT", GROUP, {"location": "westus"}))
    identity = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    created = good(await owner.arm("PUT", identity, {"location": "westus"}, api_version="2024-11-30"))
    body = {"name": "app", "systemAssigned": False, "userAssigned": [created.body["id"]]}
    app = good(await owner.control("POST", "/apps", body), 201).body
    assert app["principalId"] is None
    assert [i.lower() for i in app["userAssigned"]] == [identity.lower()]
    environment = app["environment"]
    query = {"api-version": "2019-08-01", "resource": "https://management.azure.com",
             "client_id": created.body["properties"]["clientId"]}  # fmt: skip
    headers = {"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]}
    async with session.get(environment["IDENTITY_ENDPOINT"], params=query, headers=headers) as response:
        assert response.status == 200
    again = good(await owner.control("POST", "/apps", {"name": "app"}), 200).body
    assert again["environment"] == environment
    assert {a["name"] for a in (await owner.control("GET", "/apps")).body} == {"owner", "app"}


async def test_a_subscription_can_be_added(owner: Client) -> None:
    made = good(await owner.control("POST", "/subscriptions", {"displayName": "Second"}), 201).body
    good(await owner.arm("PUT", f"{made['id']}/resourceGroups/rg", {"location": "westus"}))
    listed = await owner.arm("GET", "/subscriptions", api_version="2022-12-01")
    assert {s["displayName"] for s in listed.body["value"]} == {"Local subscription", "Second"}
    reply = await owner.control("POST", "/subscriptions", {"subscriptionId": made["subscriptionId"]})
    assert reply.status == 400


async def test_published_events_and_their_deliveries_can_be_read(owner: Client) -> None:
    grid = Grid(owner)
    await grid.prepare()
    async with Webhook() as hook:
        good(await grid.subscribe(hook.url), 201)
        before = (await owner.control("GET", "/events")).body["last"]
        await grid.publish(push())
        await grid.idle()
    newer = (await owner.control("GET", f"/events?since={before}")).body["events"]
    assert [(e["topic"], e["subject"]) for e in newer] == [(REGISTRY, "baseimages/node:15-alpine")]
    (attempt,) = (await owner.control("GET", "/deliveries")).body["attempts"]
    assert (attempt["subscription"], attempt["status"], attempt["outcome"]) == ("sub", 200, "Success")


async def test_waiting_for_idle_ends_when_the_last_event_is_delivered(owner: Client) -> None:
    grid = Grid(owner)
    await grid.prepare()
    async with Webhook() as hook:
        good(await grid.subscribe(hook.url), 201)
        hook.slow = asyncio.Event()
        await grid.publish(push())
        assert not (await owner.control("GET", "/idle?timeout=0")).body["idle"]
        waiting = asyncio.create_task(owner.control("GET", "/idle?timeout=10"))
        hook.slow.set()
        assert (await waiting).body == {"idle": True, "runs": 0, "pendingEvents": 0}


async def test_reset_leaves_the_empty_world_of_the_same_owner(azure: Azure, owner: Client) -> None:
    grid = Grid(owner)
    await grid.prepare()
    empty = {"Microsoft.Resources/subscriptions": 1, "Microsoft.Authorization/roleAssignments": 1}
    token = await owner.token()
    async with Webhook([500]) as hook:
        good(await grid.subscribe(hook.url), 201)
        await grid.publish(push())
        good(await owner.control("POST", "/apps", {"name": "app"}), 201)
        good(await owner.control("POST", "/faults", {"status": 500, "path": "/x"}), 201)
        good(await owner.control("PATCH", "/settings", {"rbac": {"delay": 600}, "throttle": {"reads": {"burst": 1}}}))
        good(await owner.control("POST", "/reset"), 204)
    state = (await owner.control("GET", "/state")).body
    assert state["resources"] == empty
    assert (state["apps"], state["principals"], state["pendingEvents"], state["blobs"]) == (["owner"], 1, 0, 0)
    assert (await owner.control("GET", "/faults")).body == []
    assert (await owner.control("GET", "/settings")).body["rbac"]["delay"] == 0
    assert (await owner.control("GET", "/events")).body == {"last": 0, "events": []}
    headers = {"Authorization": f"Bearer {token}"}
    url = f"https://management.azure.com{SUBSCRIPTION}?api-version=2022-12-01"
    for _ in range(5):
        assert (await owner.request("GET", url, headers=headers)).status == 200
    await grid.prepare()

"""Day two as docs/operations.md describes it, where it takes a host that stops, starts or lacks a function."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dev.testing.functions_host import FunctionsHost, eventually
from shared.adapters.messages import REBUILD_REQUESTS
from tests.e2e.company import SITE, Company, wire
from tests.integration.company_life import OTHER_SUBSCRIPTION, built
from tests.integration.failing import FAR, mend_task, second_task, two_subscriptions, without_rights
from tests.integration.world import IMAGE, OPTED_IN, ROOT, TEAM, World, registry_id


@asynccontextmanager
async def groundswell(world: World, **settings: str) -> AsyncIterator[Company]:
    """Start the app, with keys of its own, and subscribe it to events."""
    environment = {**world.azure.environment(world.app), **world.settings, **settings}
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        environment[name] = str(world.azure.ca_bundle)
    values = Path(world.folder, "settings.json")
    values.write_text('{"IsEncrypted": false, "Values": {}}')
    with FunctionsHost(ROOT, environment, ("--settings", str(values))) as host:
        await wire(world, host)
        yield Company(world, host)


@pytest.fixture
async def team(world: World) -> World:
    """A company with a team that has its first run behind it."""
    await world.push("one")
    async with groundswell(world) as company:
        await world.create_registry(TEAM, tags=OPTED_IN)
        await company.runs_ended(1)

        async def ended() -> bool:
            return [row["state"] for row in await world.ledger("run|")] == ["ended"]

        await eventually(ended)
    return world


async def test_rebuilds_wait_while_their_function_is_disabled_and_then_only_the_newest_is_built(team: World) -> None:
    async with groundswell(team, **{"AzureWebJobs.rebuild_requested.Disabled": "true"}):
        for number, text in enumerate(("two", "three"), start=1):
            digest = await team.push(text)
            await eventually(partial(asked, team, number))
        assert len(await team.runs()) == 1
    async with groundswell(team) as company:
        await company.runs_ended(2)
        await eventually(partial(asked, team, 0))
    assert (await built(team))[1:] == [digest]


async def asked(world: World, count: int) -> bool:
    return await world.waiting(REBUILD_REQUESTS) == count


async def test_push_while_the_app_is_stopped_is_not_delivered_again_but_made_up_for_on_request(team: World) -> None:
    await team.arm("POST", f"{SITE}/stop", api_version="2024-04-01")
    digest = await team.push("two")
    await eventually(lambda: any(delivery.dead for delivery in team.azure.state.deliveries.values()))
    team.azure.clock.advance(301)
    ((letter,),) = await eventually(partial(dead_letters, team))
    assert (letter["subject"], letter["deliveryAttempts"]) == (IMAGE, 1)
    async with groundswell(team) as company:
        reply = await company.api("POST", "/runs", {"baseImage": IMAGE})
        assert (reply.status, reply.body) == (202, {"queued": 1})
        await company.runs_ended(2)
    assert (await built(team))[1:] == [digest]


async def dead_letters(world: World) -> list[list[dict[str, Any]]]:
    return [letter["events"] for letter in (await world.owner.control("GET", "/deadletters")).body]


async def test_push_while_the_app_restarts_is_built_once_when_it_is_back(team: World) -> None:
    digest = await team.push("two")
    await eventually(lambda: any(delivery.attempts for delivery in team.azure.state.deliveries.values()))
    async with groundswell(team) as company:
        team.azure.clock.advance(60)
        await company.runs_ended(2)
    assert (await built(team))[1:] == [digest]


async def test_subscription_without_rights_is_named_while_the_other_goes_on(world: World) -> None:
    await two_subscriptions(world)
    await without_rights(world)
    await world.push()
    watched = f"{registry_id(TEAM).split('/')[2]},{OTHER_SUBSCRIPTION}"
    async with groundswell(world, GROUNDSWELL_SUBSCRIPTIONS=watched) as company:
        reply = await company.api("POST", "/runs", {"all": True})
        assert (reply.status, reply.body["queued"]) == (202, 1)
        (problem,) = reply.body["problems"]
        assert (problem["subscription"], problem["requests"]) == (OTHER_SUBSCRIPTION, "set aside")
        assert "403 AuthorizationFailed" in problem["reason"]
        await company.runs_ended(1)
        assert (await company.ready())["tasks"][0]["ready"]
        refused = await company.api("GET", f"/registries/{FAR}")
        assert (refused.status, refused.body["title"]) == (502, "Azure does not permit this to Groundswell")
        assert OTHER_SUBSCRIPTION in refused.body["detail"]
        await company.logged(f"subscription={OTHER_SUBSCRIPTION}")


async def test_broken_task_file_is_named_while_the_other_task_goes_on(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    file = second_task(world)
    async with groundswell(world) as company:
        await world.push()
        await company.runs_ended(1)
        problem = await company.api("POST", f"/registries/{TEAM}/runs", {"task": "secondtask"})
        assert (problem.status, problem.body["title"]) == (500, "Groundswell is not configured correctly")
        mend_task(file)
        await company.runs_ended(2)
        assert {run["task"] for run in await world.runs()} == {"helloworldtask", "secondtask"}


async def test_keys_renewed_in_azure_are_good_at_once_and_the_old_ones_are_not(team: World) -> None:
    async with groundswell(team) as company:
        old = company.host.ready["functionKey"]
        for kind, name in (("functionKeys", "default"), ("systemKeys", "eventgrid_extension")):
            await team.arm("PUT", f"{SITE}/host/default/{kind}/{name}", {"properties": {}}, api_version="2024-04-01")
        assert (await company.api("GET", f"/registries/{TEAM}")).status == 401
        keys = (await team.arm("POST", f"{SITE}/host/default/listkeys", api_version="2024-04-01")).body
        company.host.ready["functionKey"] = keys["functionKeys"]["default"]
        assert company.host.ready["functionKey"] != old
        assert (await company.api("GET", f"/registries/{TEAM}")).status == 200
        await team.push("two")
        await company.runs_ended(2)


async def test_renewed_keys_shut_out_the_old_ones_and_events_go_on(team: World) -> None:
    async with groundswell(team) as before:
        assert (await before.api("GET", f"/registries/{TEAM}")).status == 200
    async with groundswell(team) as after:
        assert (await after.api("GET", f"/registries/{TEAM}")).status == 200
        old = {"x-functions-key": before.host.ready["functionKey"]}
        refused = await team.owner.request("GET", f"{after.host.url}/api/registries/{TEAM}", headers=old)
        assert refused.status == 401
        await team.push("two")
        await after.runs_ended(2)

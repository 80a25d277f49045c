"""Governed tenants: the policy's tags on what Groundswell creates, beside those of others."""

from __future__ import annotations

from dev.localazure.restrictions import Restriction
from dev.testing.azure import SUBSCRIPTION
from shared.adapters.messages import REBUILD_REQUESTS
from tests.integration.test_rebuilding import handle, request
from tests.integration.world import GROUP, OPTED_IN, TASKS, TEAM, USER_ASSIGNED, World, task_id

TAGS = "tags: {costCenter: CC-4711, owner: platform}\n"
PATH = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/myACRTasksId"


def governed(world: World, tags: str = TAGS) -> None:
    escaped = tags.replace("{", "{{").replace("}", "}}")
    world.write_policy(USER_ASSIGNED, world.policy_text.replace("tasks:", f"{escaped}tasks:", 1))


async def test_policys_tags_satisfy_a_tenant_that_demands_them(world: World) -> None:
    governed(world)
    await world.create_registry(TEAM, tags=OPTED_IN)
    demand = {"kind": "policy", "scope": SUBSCRIPTION, "name": "tags-for-all", "tag": "costCenter"}
    world.azure.restrictions.all.append(Restriction.model_validate(demand))
    await handle(world, request(await world.push()))
    assert len(await world.runs()) == 1
    wanted = {"costCenter": "CC-4711", "owner": "platform"}
    task = await world.task()
    assert wanted.items() <= task["tags"].items()
    assert "groundswell-spec" in task["tags"]
    assert (await world.arm("GET", PATH, api_version="2024-11-30")).body["tags"] == wanted


async def test_tags_that_changed_in_the_policy_reach_a_task_with_one_write_that_keeps_those_of_others(
    world: World,
) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(await world.push()))
    tags = (await world.task())["tags"]
    await world.arm("PATCH", task_id(), {"tags": {**tags, "Team": "web", "OWNER": "x"}}, api_version=TASKS)
    governed(world)
    for digest, writes in ((await world.push("two"), 1), (await world.push("three"), 0)):
        before = world.azure.journal.last
        await handle(world, request(digest, id=digest, eventId=digest))
        assert world.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"] * writes
    shown = (await world.task())["tags"]
    assert shown.pop("groundswell-spec") != tags["groundswell-spec"]
    assert shown == {"Team": "web", "costCenter": "CC-4711", "owner": "platform"}


async def test_tag_that_somebody_removed_is_put_back(world: World) -> None:
    governed(world)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(await world.push()))
    right = (await world.task())["tags"]
    del (changed := dict(right))["costCenter"]
    await world.arm("PATCH", task_id(), {"tags": changed}, api_version=TASKS)
    await handle(world, request(await world.push("two"), id="two", eventId="two"))
    assert (await world.task())["tags"] == right


async def test_task_whose_repair_would_have_too_many_tags_is_left_as_it_is_and_says_so(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    await handle(world, request(await world.push()))
    tags = {**(await world.task())["tags"], **{f"team{number}": "x" for number in range(48)}}
    await world.arm("PATCH", task_id(), {"tags": tags}, api_version=TASKS)
    governed(world)
    await handle(world, request(await world.push("two"), id="two", eventId="two"))
    assert await world.waiting(f"{REBUILD_REQUESTS}-poison") == 1
    assert (await world.task())["tags"] == tags
    reasons = [str(row["reason"]) for row in await world.ledger("request|")]
    assert any("48 tags of others" in reason for reason in reasons)

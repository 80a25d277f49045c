"""What is lost and made up for, and what somebody who forges events or messages can bring about: docs/security.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.localazure.restrictions import Restriction
from dev.testing.azure import SUBSCRIPTION
from shared.adapters.walk_messages import WALKS
from shared.domain.state.known import Why
from tests.integration.company_life import push_event
from tests.integration.test_governed import PATH, governed
from tests.integration.walks.steps import (
    HOUR,
    MINUTE,
    Company,
    ask_for_all,
    built,
    change_event,
    deliver,
    known,
    later,
    push,
    set_aside,
    statuses,
    walk,
    work_off,
)
from tests.integration.world import BASE, IMAGE, OPTED_IN, ROLES, TASKS, TEAM, deploy, registry_id, task_id

FOREIGN = "/subscriptions/00000000-0000-4000-8000-0000000000ff/resourceGroups/theirs"
FORGED = "sha256:" + "6" * 64


async def lose_storage(company: Company) -> None:
    """Lose queue and table."""
    await company.clear_queues()
    await company.groundswell.clients.tables().delete_table(company.table)
    await later(company, MINUTE)


# Lost


async def test_storage_that_is_lost_costs_no_run_and_no_write(company: Company) -> None:
    names = ("mailteam", "shopteam")
    for name in names:
        await company.create_registry(name, tags=OPTED_IN)
    digest = await push(company, "one")
    await later(company, MINUTE)
    await work_off(company)
    await lose_storage(company)
    before = company.azure.journal.last
    for _ in range(2):
        await deliver(company, push_event(digest, at=company.azure.clock.now()))
        for name in names:
            await deliver(company, change_event(registry_id(name)))
        await walk(company)
    assert company.app_writes(before) == []
    assert [len(await company.runs(name)) for name in names] == [1, 1]
    newest = await push(company, "two")
    await work_off(company)
    assert [(await built(company, name))[-1] for name in names] == [newest, newest]
    assert (await known(company, "mailteam")).runs[0].why is Why.FOUND


async def test_table_that_is_deleted_while_the_app_runs_is_made_anew_and_nothing_is_set_aside(
    company: Company,
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await later(company, MINUTE)
    await work_off(company)
    await push(company, "two")
    await company.groundswell.clients.tables().delete_table(company.table)
    digest = await push(company, "three")
    await work_off(company)
    await walk(company)
    assert await set_aside(company) == 0
    assert (await built(company))[-1] == digest


async def test_app_that_was_deployed_anew_with_another_identity_goes_on_where_the_old_one_ended(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    digest = await push(company, "one")
    await work_off(company)
    for role in company.roles.values():
        await company.arm("DELETE", role, api_version=ROLES)
    company.app = company.azure.identity.create_app("groundswell-2")
    monkeypatch.setenv("IDENTITY_HEADER", company.app.header)
    company.roles = await deploy(company.owner, company.app)
    await later(company, MINUTE)
    before = company.azure.journal.last
    await deliver(company, push_event(digest))
    await push(company, "two")
    await work_off(company)
    assert len(await built(company)) == 2
    assert company.app_writes(before) == []


async def test_base_image_that_is_rolled_back_is_built_again(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    good = await push(company, "good")
    await work_off(company)
    bad = await push(company, "bad")
    await work_off(company)
    # An untagging and tagging in the registry raises no event of a new content: the next walk sees it.
    await company.push("good")
    await push(company, "other", image="baseimages/python:3.9")
    await work_off(company)
    contents = await built(company)
    assert contents[:2] == [good, bad]
    assert len(contents) == 3


async def test_base_image_that_is_rolled_back_before_its_rebuilds_ran_is_built_by_nobody(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    good = await push(company, "good")
    await work_off(company)
    await push(company, "bad")
    await push(company, "good")
    await work_off(company)
    assert await built(company) == [good]


async def test_push_whose_event_was_lost_is_made_up_for_on_request(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    lost = push_event(await company.push("two"))
    await later(company, MINUTE)
    assert await ask_for_all(company, baseImage=IMAGE) == 1
    await work_off(company)
    assert len(await company.runs()) == 2
    await later(company, MINUTE)
    # Should the event come after all, it has nothing left to do.
    await deliver(company, lost)
    await work_off(company)
    assert len(await company.runs()) == 2


async def test_base_registry_with_a_firewall_does_not_stop_a_first_run_and_the_log_says_what_to_do(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    company.write_policy("{type: SystemAssigned}")
    await company.create_registry(TEAM, tags=OPTED_IN)
    properties = {"publicNetworkAccess": "Disabled", "networkRuleBypassAllowedForTasks": True}
    body = {"sku": {"name": "Premium"}, "properties": properties}
    await company.arm("PATCH", registry_id(BASE), body)
    await push(company, "one")
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]
    assert "base registry not looked at" in caplog.text
    assert "Let the app's address through the registry's firewall" in caplog.text
    assert "infra/app-roles.json" not in caplog.text


# Forged


async def test_forged_push_from_the_future_does_not_make_real_ones_look_old(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await deliver(company, push_event(FORGED, at=datetime.now(UTC) + timedelta(days=3650)))
    await work_off(company)
    digest = await push(company, "two")
    await work_off(company)
    assert (await built(company))[-1] == digest


async def test_forged_push_of_a_content_that_does_not_exist_builds_on_what_the_tag_really_is(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    real = await company.push("one")
    await deliver(company, push_event(FORGED))
    await work_off(company)
    assert await built(company) == [real]
    assert await statuses(company) == ["Succeeded"]


def test_event_of_any_size_becomes_a_message_that_fits_the_queue(company: Company) -> None:
    hear = company.groundswell.hearing.base_image_pushed
    event = push_event(FORGED, image=f"baseimages/python:3.{'9' * 100}")
    event["data"]["request"] = {"host": "x" * 900_000, "useragent": "y" * 100_000}
    event["data"]["target"]["length"] = 10**500
    message = hear(event)
    assert message
    assert len(message.encode()) < 2_000
    for part in ("id", "repository", "tag", "digest"):
        huge = push_event(FORGED)
        (huge if part == "id" else huge["data"]["target"])[part] = "a" * 900_000
        assert hear(huge) is None


@pytest.mark.parametrize(
    "registry",
    [
        f"{FOREIGN}/providers/Microsoft.ContainerRegistry/registries/theirregistry",
        f"{registry_id(TEAM)}/tasks/helloworldtask",
        registry_id(TEAM).replace("Microsoft.ContainerRegistry/registries", "Microsoft.Storage/storageAccounts"),
        registry_id("../../evil"),
        registry_id(BASE),
    ],
    ids=["other-subscription", "child", "other-provider", "path", "base-registry"],
)
async def test_message_in_the_queue_reaches_no_registry_that_is_not_watched(company: Company, registry: str) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    before = company.azure.journal.last
    await company.send(WALKS, json.dumps({"changed": {"registry": registry, "eventId": "forged"}}).encode())
    await work_off(company)
    assert [call for call in company.app_calls(before) if not call.startswith("GET")] == []
    assert [e["path"] for e in company.azure.journal.since(before, caller=company.app.name, path=".*theirs.*")] == []
    assert len(await company.runs_anywhere()) == 1


async def test_walk_of_a_subscription_that_is_not_watched_asks_azure_for_nothing(company: Company) -> None:
    before = company.azure.journal.last
    await company.send(WALKS, json.dumps({"subscription": FOREIGN.split("/")[2]}).encode())
    await work_off(company)
    foreign = company.azure.journal.since(before, caller=company.app.name, path=f".*{FOREIGN.split('/')[2]}.*")
    assert [entry["path"] for entry in foreign if entry["host"] == "management.azure.com"] == []


async def test_forged_request_in_the_queue_reaches_selected_registries_alone(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await company.create_registry("otherteam")
    await company.push()
    await company.send(WALKS, json.dumps({"ask": {"id": "forged", "by": "x"}}).encode())
    await work_off(company)
    assert len(await company.runs()) == 1
    assert await company.runs("otherteam") == []


# Governed


async def test_policys_tags_satisfy_a_tenant_that_demands_them(company: Company) -> None:
    governed(company)
    await company.create_registry(TEAM, tags=OPTED_IN)
    demand = {"kind": "policy", "scope": SUBSCRIPTION, "name": "tags-for-all", "tag": "costCenter"}
    company.azure.restrictions.all.append(Restriction.model_validate(demand))
    await push(company, "one")
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]
    wanted = {"costCenter": "CC-4711", "owner": "platform"}
    assert wanted.items() <= (await company.task())["tags"].items()
    assert (await company.arm("GET", PATH, api_version="2024-11-30")).body["tags"] == wanted


async def tagged(company: Company, tags: dict[str, Any]) -> None:
    """Let somebody change the task's tags, when lists know what was written before."""
    await later(company, 11 * MINUTE)
    await company.arm("PATCH", task_id(), {"tags": tags}, api_version=TASKS)


async def test_tags_that_changed_in_the_policy_reach_a_task_with_one_write_that_keeps_those_of_others(
    company: Company,
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    tags = (await company.task())["tags"]
    await tagged(company, {**tags, "Team": "web", "OWNER": "x"})
    governed(company)
    for text, writes in (("two", 1), ("three", 0)):
        before = company.azure.journal.last
        await push(company, text)
        await work_off(company)
        assert company.app_writes(before) == ["PUT Microsoft.ContainerRegistry/registries/tasks/write"] * writes
    shown = (await company.task())["tags"]
    assert shown.pop("groundswell-spec") != tags["groundswell-spec"]
    assert shown == {"Team": "web", "costCenter": "CC-4711", "owner": "platform"}


async def test_tag_that_somebody_removed_is_put_back(company: Company) -> None:
    governed(company)
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    right = (await company.task())["tags"]
    await tagged(company, {name: value for name, value in right.items() if name != "costCenter"})
    await push(company, "two")
    await work_off(company)
    assert (await company.task())["tags"] == right


async def test_task_whose_repair_would_have_too_many_tags_is_left_as_it_is_and_says_so(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    tags = {**(await company.task())["tags"], **{f"team{number}": "x" for number in range(48)}}
    await tagged(company, tags)
    governed(company)
    await push(company, "two")
    await work_off(company)
    assert (await company.task())["tags"] == tags
    armed = (await known(company)).armed
    assert "48 tags of others" in armed.problem
    assert armed.again
    assert (armed.again - company.azure.clock.now()).total_seconds() > HOUR / 2

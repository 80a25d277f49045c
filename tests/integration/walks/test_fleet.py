"""Many registries: one run for each content, writes and reads that are counted, and the pace that Azure allows."""

from __future__ import annotations

import pytest

from tests.integration.walks.steps import (
    HOUR,
    MINUTE,
    TASK,
    Company,
    ask,
    built,
    change_event,
    deliver,
    fleet,
    known,
    later,
    push,
    statuses,
    walk,
    work_off,
    work_once,
)
from tests.integration.world import OPTED_IN, SYSTEM_ASSIGNED, TEAM, USER_ASSIGNED, registry_id

IDENTITIES = pytest.mark.parametrize("identity", [USER_ASSIGNED, SYSTEM_ASSIGNED], ids=["user", "system"])


def writes(calls: list[str]) -> list[str]:
    return [call for call in calls if not call.startswith("GET")]


async def cost(company: Company, text: str) -> tuple[int, int]:
    """Return the writes and reads of a push, up to the moment when its runs were started and not looked at yet."""
    company.azure.agent.pace = HOUR
    await company.reconnect(GROUNDSWELL_FLEET_CACHE_SECONDS="300")
    before = company.azure.journal.last
    await push(company, text)
    await work_off(company)
    calls = company.app_calls(before)
    looks = [call for call in calls if call.endswith("/runs/read")]
    company.azure.agent.pace = 0
    await later(company, 6 * HOUR)
    await walk(company)
    return len(writes(calls)), len(calls) - len(writes(calls)) - len(looks)


@IDENTITIES
async def test_push_costs_one_write_for_each_registry_and_reads_that_do_not_grow(
    company: Company, identity: str
) -> None:
    company.write_policy(identity)
    await fleet(company, 4)
    await push(company, "one")
    await work_off(company)
    few = await cost(company, "two")
    for number in range(4, 12):
        await company.create_registry(f"team{number:03}", tags=OPTED_IN)
    await walk(company)
    many = await cost(company, "three")
    assert (few[0], many[0]) == (4, 12)
    assert many[1] <= few[1] <= 6
    assert {len(await company.runs(f"team{number:03}")) for number in range(4)} == {3}


async def test_fleet_is_built_within_a_small_budget_and_nothing_is_throttled(company: Company) -> None:
    names = await fleet(company, 60)
    company.azure.throttle.configure("writes", burst=20, per_second=5)
    before = company.azure.journal.last
    await push(company, "one")
    await work_off(company)
    await walk(company)
    assert {len(await company.runs(name)) for name in names} == {1}
    answers = [entry["status"] for entry in company.azure.journal.since(before, caller=company.app.name)]
    assert 429 not in answers


async def test_throttled_run_is_started_after_the_delay_azure_asks_for(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    company.fault(path=".*/scheduleRun", status=429, headers={"Retry-After": "170"})
    await push(company, "two")
    await work_once(company)
    assert len(await company.runs()) == 1
    claim = (await known(company)).claim
    assert claim
    assert 150 < (claim.until - company.azure.clock.now()).total_seconds() <= 170
    await later(company, 171)
    await walk(company)
    assert await statuses(company) == ["Succeeded", "Succeeded"]


async def test_second_newcomer_shares_identity_and_grant_of_the_first(company: Company) -> None:
    await push(company, "one")
    await work_off(company)
    counts = []
    for name in (TEAM, "second"):
        await company.create_registry(name, tags=OPTED_IN)
        before = company.azure.journal.last
        await deliver(company, change_event(registry_id(name)))
        await work_once(company)
        counts.append(len(writes(company.app_calls(before))))
    assert counts == [4, 2]


async def test_newcomers_that_somebody_asks_for_are_built_while_they_wait(company: Company) -> None:
    await company.push()
    for name in (TEAM, "second"):
        await company.create_registry(name, tags=OPTED_IN)
        assert (await ask(company, name)).run_id


async def test_content_that_comes_back_is_built_and_what_comes_twice_is_not(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    digests = []
    for text in ("one", "two", "two", "one"):
        digests.append(await push(company, text))
        await work_off(company)
    one, two, _, _ = digests
    assert await built(company) == [one, two, one]


async def test_pushes_that_wait_together_are_one_run_of_the_newest(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await push(company, "two")
    newest = await push(company, "three")
    await work_off(company)
    await walk(company)
    assert await built(company) == [newest]


async def test_same_content_under_another_tag_is_built_there_too_once(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await push(company, "one", image="baseimages/python:3.13")
    await work_off(company)
    await later(company, MINUTE)
    await walk(company)
    assert len(await company.runs()) == 1


async def test_run_is_told_which_base_image_to_build_on_and_its_end_is_recorded(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    digest = await push(company, "one")
    await work_off(company)
    target = await known(company)
    assert target.run
    assert (target.run.content, target.run.succeeded, target.run.asked_by) == (digest, True, "event")
    (run,) = await company.runs()
    assert (run["task"], run["outputImages"][0]["tag"]) == (TASK, run["runId"])

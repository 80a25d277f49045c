"""A subscription, a list, a log, a task's file, a row: what fails stops nothing else, and comes back by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.walk_messages import WALKS
from shared.domain.errors import GroundswellError
from shared.domain.state.known import Failure
from shared.domain.state.steps import State
from tests.integration.company_life import OTHER_SUBSCRIPTION
from tests.integration.failing import (
    FAR,
    LISTS,
    Way,
    deleted,
    disabled,
    mend,
    mend_task,
    second_task,
    throttled,
    two_subscriptions,
    without_rights,
)
from tests.integration.test_broken_tasks import BREAKS
from tests.integration.walks.steps import (
    HOUR,
    MINUTE,
    Company,
    ask,
    ask_for_all,
    built,
    change_event,
    deliver,
    known,
    later,
    push,
    set_aside,
    stands,
    statuses,
    walk,
    work_off,
)
from tests.integration.world import BASE, OPTED_IN, TEAM, registry_id

WAYS = pytest.mark.parametrize("fail", [without_rights, deleted, disabled, throttled])
BASES = pytest.mark.parametrize("base", [BASE, registry_id(BASE)], ids=["base-by-name", "base-by-id"])


# Subscriptions


@BASES
@WAYS
async def test_push_is_built_in_the_other_subscriptions_and_waits_for_the_one_that_fails(
    company: Company, fail: Way, base: str
) -> None:
    await two_subscriptions(company, base)
    await fail(company)
    digest = await push(company, "one")
    await work_off(company)
    assert await built(company) == [digest]
    assert fail is not throttled or (WALKS, 17) in company.delays
    assert await set_aside(company) == 0
    if fail is deleted:
        return
    await mend(company)
    await later(company, HOUR + 1, GROUNDSWELL_SUBSCRIPTIONS=",".join(company.groundswell.settings.subscriptions))
    await walk(company)
    assert await built(company, FAR) == [digest]
    assert await built(company) == [digest]


@WAYS
async def test_team_of_another_subscription_is_onboarded_and_run(company: Company, fail: Way) -> None:
    await two_subscriptions(company)
    await fail(company)
    await push(company, "one")
    await work_off(company)
    await company.create_registry("newteam", tags=OPTED_IN)
    await deliver(company, change_event(registry_id("newteam")))
    await work_off(company)
    assert len(await company.runs("newteam")) == 1
    assert (await ask(company)).run_id


@WAYS
async def test_request_for_the_fleet_reaches_the_others_at_once_and_the_one_that_fails_once_it_can_be_read(
    company: Company, fail: Way
) -> None:
    await two_subscriptions(company)
    await company.push()
    await fail(company)
    assert await ask_for_all(company) == 1
    await work_off(company, most=200)
    assert len(await company.runs()) == 1


async def test_page_of_a_list_that_cannot_be_read_fails_its_subscription_alone(company: Company) -> None:
    await two_subscriptions(company)
    listed = f"/subscriptions/{OTHER_SUBSCRIPTION}/providers/Microsoft.ContainerRegistry/registries"
    further = {"value": [], "nextLink": f"https://management.azure.com{listed}?api-version=2025-11-01&page=2"}
    company.fault(method="GET", path=listed, status=200, body=further)
    company.fault(method="GET", path=listed, status=403)
    await push(company, "one")
    await work_off(company)
    assert len(await company.runs()) == 1
    await walk(company)
    assert len(await company.runs_anywhere()) == 2


# Lists, look-ups and logs

UNNAMEABLE = {"id": registry_id("no-name"), "name": "no-name", "location": "eastus", "tags": OPTED_IN, "properties": {}}


@pytest.mark.parametrize(
    "entry", [None, "nonsense", {}, {"id": None}, {"id": "x", "name": "x"}, {"tags": [1]}, 7, UNNAMEABLE]
)
async def test_entry_of_a_list_that_is_none_hides_no_other(company: Company, entry: Any) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    whole = (await company.arm("GET", registry_id(TEAM))).body
    company.write_policy(text=company.policy_text.replace("mybaseregistry", registry_id(BASE)))
    company.fault(method="GET", path=LISTS, status=200, body={"value": [entry, whole]}, times=-1)
    await push(company, "one")
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]


NONSENSE = {"status": 200, "body": ["nonsense"]}
FAILURES: list[dict[str, Any]] = [
    {"status": 400}, {"status": 403}, {"status": 404}, {"status": 429}, {"status": 500}, {"reset": "before"}, NONSENSE,
]  # fmt: skip
IDS = [*(str(failure.get("status")) for failure in FAILURES[:-2]), "cut", "nonsense"]


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
async def test_base_registry_that_cannot_be_looked_into_stops_no_push(
    company: Company, failure: dict[str, Any]
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.fault(host=rf"{BASE}\.azurecr\.io", times=-1, **failure)
    company.azure.front.faults[-1].caller = None
    digest = await push(company, "one")
    await work_off(company)
    assert (await built(company))[0] == digest


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
async def test_list_that_only_saves_calls_may_fail(company: Company, failure: dict[str, Any]) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await later(company, 11 * MINUTE)
    company.fault(method="GET", path=".*/subscriptions/[^/]+/resources", times=-1, **failure)
    await push(company, "two")
    await work_off(company)
    assert len(await company.runs()) == 2


async def failed_run(company: Company) -> None:
    """Let a run go on that cannot log in to the base registry."""
    company.azure.agent.pace = MINUTE
    company.azure.rbac.delay = timedelta(minutes=30)
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    company.azure.agent.pace = 0


@pytest.mark.parametrize("failure", FAILURES[:3], ids=IDS[:3])
async def test_end_of_a_run_is_recorded_though_its_log_is_refused(company: Company, failure: dict[str, Any]) -> None:
    await failed_run(company)
    company.fault(path=".*/listLogSasUrl", times=-1, **failure)
    await later(company, 5 * MINUTE)
    await walk(company)
    run = (await known(company)).run
    assert run
    assert run.failure is Failure.UNKNOWN


@pytest.mark.parametrize("failure", FAILURES[3:], ids=IDS[3:])
async def test_log_that_fails_in_passing_is_read_again_so_that_a_refused_login_is_still_found(
    company: Company, failure: dict[str, Any]
) -> None:
    await failed_run(company)
    company.fault(path=".*/listLogSasUrl", times=6, **failure)
    await later(company, 2 * MINUTE)
    await walk(company)
    await later(company, MINUTE)
    await walk(company)
    assert (await known(company)).runs[0].failure is Failure.PASSING


# Tasks


@pytest.mark.parametrize("broken", BREAKS)
async def test_task_whose_file_is_broken_waits_alone_until_it_is_mended(company: Company, broken: str) -> None:
    breaking: Callable[[Path], object] = BREAKS[broken]
    await company.create_registry(TEAM, tags=OPTED_IN)
    file = second_task(company)
    breaking(file)
    await push(company, "one")
    await work_off(company)
    assert [run["task"] for run in await company.runs()] == ["helloworldtask"]
    with pytest.raises(GroundswellError, match="secondtask cannot run until its file is fixed"):
        await ask(company, task="secondtask")
    assert await ask_for_all(company) == 1
    mend_task(file)
    await walk(company)
    assert sorted({run["task"] for run in await company.runs()}) == ["helloworldtask", "secondtask"]


# Storage


@pytest.mark.parametrize("lost", ["created", "registry", "run", "armed", "wanted", "image", "moved", "last"])
async def test_row_that_is_not_understood_stops_no_registry(company: Company, lost: str) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    await later(company, MINUTE)
    table = company.groundswell.clients.tables().get_table_client(company.table)
    async for row in table.query_entities("RowKey ge ' '"):
        await table.update_entity({**row, "json": str(row["json"]).replace(f'"{lost}":', '"unknown":')})
    await later(company, MINUTE)
    digest = await push(company, "two")
    await work_off(company)
    await walk(company)
    target = await known(company)
    assert target.run
    assert (target.run.content, target.run.succeeded) == (digest, True)
    assert (await stands(company)).state is State.CURRENT
    assert await set_aside(company) == 0


@pytest.mark.parametrize("message", [b'{"hello": "world"}', b"nonsense", b"{}"])
async def test_message_that_is_none_is_set_aside_and_the_next_one_handled(company: Company, message: bytes) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await company.groundswell.calls.called(message, "one")
    assert await set_aside(company) == 1
    await push(company, "one")
    await work_off(company)
    assert await statuses(company) == ["Succeeded"]

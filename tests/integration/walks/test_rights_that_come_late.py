"""Rights that do not work yet: they are waited for, and what is missing for good is not asked for all the time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.walks.steps import HOUR, MINUTE, Company, built, known, later, push, set_aside, walk, work_off
from tests.integration.world import OPTED_IN, ROLES, TEAM, deploy


async def revoke(company: Company, *names: str) -> None:
    for name in names or company.roles:
        await company.arm("DELETE", company.roles[name], api_version=ROLES)


async def test_push_on_day_one_is_built_once_the_apps_roles_work(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await revoke(company)
    company.azure.rbac.delay = timedelta(minutes=8)
    await deploy(company.owner, company.app)
    digest = await push(company, "one")
    await work_off(company)
    for _ in range(4):
        await later(company, 2 * MINUTE)
        await walk(company)
    company.azure.rbac.delay = timedelta()
    await later(company, 2 * MINUTE)
    await walk(company)
    assert max(delay for _, delay in company.delays) <= 120
    assert set(await built(company)) == {digest}
    assert await set_aside(company) == 0


@pytest.mark.parametrize("role", ["tasks", "grantPull", "createIdentity", "assignIdentity"])
async def test_role_that_does_not_work_yet_is_tried_often_and_one_that_is_missing_hourly(
    company: Company, role: str
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    digest = await push(company, "one")
    await revoke(company, role)
    await work_off(company)
    for _ in range(8):
        await later(company, 2 * MINUTE)
        await walk(company)
    armed = (await known(company)).armed
    assert "Give the app's identity the role named in infra/app-roles.json" in armed.problem
    assert armed.again
    assert armed.again - company.azure.clock.now() > timedelta(minutes=50)
    before = company.azure.journal.last
    await later(company, 30 * MINUTE)
    await walk(company)
    assert company.app_writes(before) == []
    company.roles = await deploy(company.owner, company.app)
    await later(company, HOUR)
    await walk(company)
    assert await built(company) == [digest]

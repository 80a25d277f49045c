"""What stays and what goes when somebody deletes by hand: grants, tasks, registries."""

from __future__ import annotations

import pytest

from dev.localazure.azure import Azure
from dev.localazure.tests.task_runs import TASK, TASKS_API, Scenario, registry_id
from dev.testing.azure import Client

BASE, TEAM = registry_id("mybaseregistry"), registry_id("myregistry")
ASSIGNMENTS = f"{BASE}/providers/Microsoft.Authorization/roleAssignments"
ASSIGNMENTS_API = "2022-04-01"


async def grantees(owner: Client) -> dict[str, str]:
    """Return what is assigned on the base registry itself: principal → id of the assignment."""
    reply = await owner.arm("GET", ASSIGNMENTS, api_version=ASSIGNMENTS_API)
    found = [one for one in reply.body["value"] if one["properties"]["scope"] == BASE]
    return {one["properties"]["principalId"]: one["id"] for one in found}


async def resolves(owner: Client, principal: str) -> bool:
    token = await owner.token("https://graph.microsoft.com")
    url = "https://graph.microsoft.com/v1.0/directoryObjects/getByIds"
    reply = await owner.request("POST", url, json={"ids": [principal]}, headers={"Authorization": f"Bearer {token}"})
    assert reply.status == 200
    return bool(reply.body["value"])


async def test_grant_of_a_deleted_registrys_task_stays_and_its_principal_does_not(
    azure: Azure, owner: Client, scenario: Scenario
) -> None:
    principal = await scenario.create_granted_task()
    assert await resolves(owner, principal)
    born = (await owner.arm("GET", TEAM)).body["properties"]["creationDate"]
    assert (await owner.arm("DELETE", TEAM)).status == 200
    assert (await owner.arm("GET", TASK, api_version=TASKS_API)).body["error"]["code"] == "ParentResourceNotFound"
    orphan = (await grantees(owner))[principal]
    assert not await resolves(owner, principal)
    azure.clock.advance(1)
    await scenario.create_registry("myregistry")
    assert (await owner.arm("GET", TEAM)).body["properties"]["creationDate"] > born
    assert scenario.tags() == {}
    assert await scenario.create_task() != principal
    assert (await owner.arm("DELETE", orphan, api_version=ASSIGNMENTS_API)).status == 200
    assert principal not in await grantees(owner)


async def test_grants_on_a_deleted_registry_go_with_it(owner: Client, scenario: Scenario) -> None:
    principal = await scenario.create_granted_task()
    await owner.arm("DELETE", BASE)
    await scenario.create_registry("mybaseregistry")
    assert principal not in await grantees(owner)


async def test_run_after_its_grant_was_deleted_cannot_log_in(owner: Client, scenario: Scenario) -> None:
    principal = await scenario.create_granted_task()
    assert (await scenario.run()).status == "Succeeded"
    grant = (await grantees(owner))[principal]
    assert (await owner.arm("DELETE", grant, api_version=ASSIGNMENTS_API)).status == 200
    assert (await scenario.run()).status == "Failed"


@pytest.mark.usefixtures("granted_task")
async def test_deleted_task_takes_its_identity_along_and_leaves_its_runs(owner: Client, scenario: Scenario) -> None:
    run = await scenario.run()
    (principal,) = set(await grantees(owner))
    assert (await owner.arm("DELETE", TASK, api_version=TASKS_API)).status == 200
    assert (await owner.arm("GET", TASK, api_version=TASKS_API)).body["error"]["code"] == "ResourceNotFound"
    assert (await scenario.schedule()).status == 404
    assert not await resolves(owner, principal)
    assert (await scenario.get(run.id))["task"] == "helloworldtask"

"""The app with exactly the roles of infra/app-roles.json: they are enough in every mode, and each of them is needed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dev.sandbox import infra
from dev.testing.functions_host import eventually
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS
from tests.e2e.company import PLACE, Company
from tests.integration.world import BASE, OPTED_IN, ROLES, SYSTEM_ASSIGNED, TEAM, World, deploy, registry_id

LEGACY, ABAC = "LegacyRegistryPermissions", "AbacRepositoryPermissions"
RUNS = f"/registries/{TEAM}/runs"

# Role → modes of base and team registry in which the app needs it, and what Azure refuses without it.
NEEDED = {
    "tasks": (LEGACY, LEGACY, r"write task helloworldtask of myregistry: 403 AuthorizationFailed"),
    "grantPull": (LEGACY, LEGACY, r"assign AcrPull on mybaseregistry: 403 AuthorizationFailed"),
    "grantPush": (LEGACY, ABAC, r"assign Container Registry Repository Writer on myregistry: 403 AuthorizationFailed"),
    "createIdentity": (LEGACY, LEGACY, r"create identity myACRTasksId in resource group myResourceGroup: 403"),
    "assignIdentity": (
        LEGACY, LEGACY, r"write task helloworldtask of myregistry: 403 LinkedAuthorizationFailed.*/assign/action",
    ),
}  # fmt: skip
# Without these a run still starts, but nobody knows from which content.
LOOK_UPS = {"lookUpImages"}


@pytest.fixture
def changes() -> dict[str, str]:
    """Nobody waits here for a role that might only not work yet."""
    return {"GROUNDSWELL_GRANT_PATIENCE_SECONDS": "0"}


async def prepare(world: World, base: str, team: str) -> None:
    """Create a team registry that opts in, beside a base registry that has its image."""
    mode = {"properties": {"roleAssignmentMode": base}}
    await world.arm("PATCH", registry_id(BASE), mode, api_version="2026-09-01-preview")
    await world.push()
    # The push is over before there is anybody to rebuild, so that one request follows, for the registry.
    await eventually(lambda: world.azure.eventgrid.pending == 0)

    async def fanned_out() -> bool:
        return await world.waiting(FAN_OUTS) == 0

    await eventually(fanned_out)
    await world.create_registry(TEAM, tags=OPTED_IN, properties={"roleAssignmentMode": team})


async def take_away(world: World, *roles: str) -> None:
    for role in roles:
        await world.arm("DELETE", world.roles[role], api_version=ROLES)


def refusals(world: World) -> list[str]:
    """Return what Resource Manager refused to the app."""
    entries = world.azure.journal.since(caller=world.app.name, host="management.azure.com", status="40[13]")
    return [f"{entry['method']} {entry['operation']}" for entry in entries]


def test_what_every_role_is_for_is_proved_here() -> None:
    # Azurite, which has no roles, stands for the storage account; telemetry goes nowhere here.
    elsewhere = ("storageAccount", "applicationInsights")
    roles = infra.read("app-roles")
    assert {role["name"] for role in roles["assignments"] if role["scope"] not in elsewhere} == {*NEEDED, *LOOK_UPS}
    assert [role["name"] for role in roles["topicAssignments"]] == ["deadLetters"]


@pytest.mark.parametrize("team", [LEGACY, ABAC], ids=["team-legacy", "team-abac"])
@pytest.mark.parametrize("base", [LEGACY, ABAC], ids=["base-legacy", "base-abac"])
@pytest.mark.parametrize("identity", ["user-assigned", "system-assigned"])
async def test_registry_is_onboarded_and_rebuilt_in_every_mode(
    company: Company, identity: str, base: str, team: str
) -> None:
    world = company.world
    if identity == "system-assigned":
        world.write_policy(SYSTEM_ASSIGNED)
    await prepare(world, base, team)
    await company.ready()
    await company.runs_ended(1)
    digest = await world.push("two")
    await company.runs_ended(2)
    asked = await company.api("POST", RUNS, {})
    assert asked.status == 202, asked.text
    runs = await company.runs_ended(3)
    assert [run["status"] for run in runs] == ["Succeeded"] * 3
    shown = await company.api("GET", f"/registries/{TEAM}")
    assert shown.body["runs"][0]["baseImage"].endswith(digest)
    assert refusals(world) == []


@pytest.mark.parametrize("role", NEEDED)
async def test_missing_role_sets_the_request_aside_with_its_reason_and_is_named_to_callers(
    company: Company, role: str
) -> None:
    world, (base, team, refused) = company.world, NEEDED[role]
    await take_away(world, role)
    await prepare(world, base, team)
    reason = rf"Could not {refused}.*Give the app's identity the role named in infra/app-roles\.json"

    poison: list[dict[str, Any]] = await eventually(lambda: world.take(f"{REBUILD_REQUESTS}-poison"))
    assert [message["registry"] for message in poison] == [registry_id(TEAM)]
    (row,) = await world.ledger("request|")
    assert row["outcome"] == "NotPermitted"
    assert re.match(reason, row["reason"]), row["reason"]
    assert await world.runs() == []

    problem = await company.api("POST", RUNS, {})
    assert (problem.status, problem.headers["Content-Type"]) == (502, "application/problem+json")
    assert problem.body["title"] == "Azure does not permit this to Groundswell"
    assert re.match(reason, problem.body["detail"]), problem.body["detail"]

    await deploy(world.owner, world.app)
    assert (await company.api("POST", RUNS, {})).status == 202
    (run,) = await company.runs_ended(1)
    assert run["status"] == "Succeeded"


async def test_missing_look_up_role_starts_the_run_and_warns_that_its_base_content_is_unknown(company: Company) -> None:
    world = company.world
    await take_away(world, *LOOK_UPS)
    await prepare(world, ABAC, LEGACY)
    warning = await company.logged("base image not looked up")
    assert "Could not look up baseimages/node:15-alpine in mybaseregistry: 401" in warning
    assert "infra/app-roles.json" in warning
    (run,) = await company.runs_ended(1)
    assert run["status"] == "Succeeded"
    shown = await company.api("GET", f"/registries/{TEAM}")
    assert shown.body["runs"][0]["baseImage"] == "baseimages/node:15-alpine"


async def test_right_to_assign_roles_includes_looking_up_images_of_a_registry_without_abac(company: Company) -> None:
    """Role Based Access Control Administrator contains `*/read`, and so `registries/pull/read`."""
    await prepare(company.world, LEGACY, LEGACY)
    await company.runs_ended(1)
    shown = await company.api("GET", f"/registries/{TEAM}")
    assert shown.body["runs"][0]["baseImage"].startswith("baseimages/node:15-alpine@sha256:")


async def test_log_is_refused_with_its_reason_when_the_tasks_role_is_missing(company: Company) -> None:
    await prepare(company.world, LEGACY, LEGACY)
    (run,) = await company.runs_ended(1)
    await take_away(company.world, "tasks")
    problem = await company.api("GET", f"{RUNS}/{run['runId']}/logs")
    assert problem.status == 502
    assert problem.body["detail"].startswith(f"Could not find the log of run {run['runId']} of myregistry: 403")


async def test_push_without_roles_is_set_aside_and_replayed_when_they_are_back(company: Company) -> None:
    world = company.world
    await prepare(world, LEGACY, LEGACY)
    await company.followed(1)
    await take_away(world, *world.roles)
    await world.push("two")
    line = await company.logged("message set aside")
    assert "queue=fan-outs-poison" in line
    assert "Could not list the registries of subscription" in line
    assert "infra/app-roles.json" in line
    assert len(await world.runs()) == 1

    await deploy(world.owner, world.app)
    assert (await company.api("POST", "/rebuilds/replay")).body == {"replayed": 1, "kept": 0}
    assert [run["status"] for run in await company.runs_ended(2)] == ["Succeeded"] * 2


async def test_event_fails_loudly_without_roles_and_is_delivered_again_when_they_are_back(company: Company) -> None:
    world = company.world
    await take_away(world, *world.roles)
    await world.create_registry(TEAM, tags=OPTED_IN)
    line = await company.logged("Failed after")
    assert "NotPermitted: Could not read registry myregistry" in line
    assert "infra/app-roles.json" in line

    await deploy(world.owner, world.app)
    world.azure.clock.advance(60)
    await company.ready()


@pytest.mark.parametrize("has_role", [True, False], ids=["with-role", "without"])
async def test_event_that_nobody_could_handle_for_a_day_is_kept_where_event_grid_may_write(
    company: Company, has_role: bool
) -> None:
    world = company.world
    letters = PLACE.scopes["deadLetterContainer"]
    if not has_role:
        listed = await world.arm(
            "GET", f"{letters}/providers/Microsoft.Authorization/roleAssignments", api_version=ROLES
        )
        for assignment in listed.body["value"]:
            if assignment["properties"]["scope"] == letters:
                await world.arm("DELETE", assignment["id"], api_version=ROLES)
    await take_away(world, *world.roles)
    await world.create_registry(TEAM, tags=OPTED_IN)
    await company.logged("NotPermitted: Could not read registry myregistry")

    async def given_up() -> list[dict[str, Any]]:
        world.azure.clock.advance(3600)
        fates = ("dropped", "deadLettered")
        return [counts for counts in world.azure.eventgrid.counts() if any(counts[fate] for fate in fates)]

    await eventually(given_up)
    found = (await world.owner.control("GET", "/deadletters")).body
    assert [letter["events"][0]["subject"] for letter in found] == ([registry_id(TEAM)] if has_role else [])

"""Onboarding against the local Azure, with the real SDKs and the app's own roles."""

from __future__ import annotations

from shared.onboarding import Target, ensure, observe
from tests.integration.world import BASE, OPTED_IN, SYSTEM_ASSIGNED, TEAM, World, registry_id


async def target(world: World, team: str = TEAM) -> Target:
    policy = world.services.policy
    registry = await world.services.fleet.find(team)
    assert registry
    return Target(policy, policy.tasks[0], registry, await world.services.base_registry(policy))


async def test_user_assigned_onboarding_creates_identity_grant_and_task_with_its_credential(world: World) -> None:
    await world.create_registry(TEAM, tags=OPTED_IN)
    applied = await ensure(world.services, await target(world))
    assert applied.writes == (
        "create identity myACRTasksId",
        "grant AcrPull on mybaseregistry",
        "write task helloworldtask",
    )
    task = await world.task(details=True)
    (identity,) = task["identity"]["userAssignedIdentities"].values()
    assert task["properties"]["credentials"]["customRegistries"] == {
        "mybaseregistry.azurecr.io": {"identity": identity["clientId"]}
    }
    (grant,) = await world.assignments(registry_id(BASE), identity["principalId"])
    assert grant["roleDefinitionId"].endswith("7f951dda-4ed3-4680-a7ca-43fe172d538d")


async def test_onboarding_twice_writes_nothing_the_second_time(world: World) -> None:
    for identity in (None, SYSTEM_ASSIGNED):
        if identity:
            world.write_policy(identity)
        name = f"team{'system' if identity else 'user'}"
        await world.create_registry(name, tags=OPTED_IN)
        await ensure(world.services, await target(world, name))
        before = world.azure.journal.last
        applied = await ensure(world.services, await target(world, name))
        assert applied.writes == ()
        assert world.app_writes(before) == []
        assert not [call for call in world.app_calls(before) if not call.startswith("GET")]
        state = await observe(world.services, await target(world, name))
        assert [condition.ready for condition in state.conditions] == [True] * 4

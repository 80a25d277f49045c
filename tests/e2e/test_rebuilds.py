"""From an event to a finished run, through the Functions host."""

from __future__ import annotations

from tests.e2e.company import Company
from tests.integration.world import OPTED_IN, TEAM


async def test_new_registry_is_onboarded_by_its_event_and_a_push_rebuilds_its_image(company: Company) -> None:
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    digest = await company.world.push("one")
    (run,) = await company.runs_ended(1)
    assert run["status"] == "Succeeded"
    tags = company.world.azure.registries
    assert run["outputImages"][0]["repository"] == "hello-world"
    del digest, tags

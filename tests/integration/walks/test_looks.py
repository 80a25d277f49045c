"""Who sees a push first does not matter: every subscription hears of it."""

from __future__ import annotations

from tests.integration.company_life import OTHER_GROUP, OTHER_SUBSCRIPTION, push_event
from tests.integration.failing import FAR, two_subscriptions
from tests.integration.walks.steps import HOUR, Company, ask, built, change_event, deliver, later, push, work_off
from tests.integration.world import IMAGE, TEAM, registry_id


async def test_push_that_was_seen_on_the_way_to_a_new_registry_is_built_everywhere(company: Company) -> None:
    await two_subscriptions(company)
    await deliver(company, change_event(registry_id(FAR, OTHER_GROUP)))
    digest = await push(company, "one")
    await work_off(company)
    assert (await built(company), await built(company, FAR)) == ([digest], [digest])


async def test_push_that_was_seen_at_the_end_of_a_run_is_built_everywhere(company: Company) -> None:
    await two_subscriptions(company)
    await push(company, "one")
    await work_off(company)
    company.azure.agent.pace = HOUR
    await ask(company, FAR)
    company.azure.agent.pace = 0
    digest = await company.push("two")
    await later(company, 6 * HOUR, GROUNDSWELL_SUBSCRIPTIONS=",".join(company.groundswell.settings.subscriptions))
    await company.groundswell.waking.raise_one(OTHER_SUBSCRIPTION)
    await work_off(company)
    # The event comes when everything was seen.
    await deliver(company, push_event(digest, image=IMAGE, at=company.azure.clock.now()))
    await work_off(company)
    assert (await built(company, TEAM))[-1] == digest

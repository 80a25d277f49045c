"""From an event to a finished run, through the Functions host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dev.testing.functions_host import eventually
from tests.e2e.company import SITE, Company
from tests.integration.world import BASE, IMAGE, OPTED_IN, SYSTEM_ASSIGNED, TEAM, registry_id

EVENTS = Path(__file__).resolve().parents[1] / "events"


async def test_new_registry_is_onboarded_by_its_event_and_a_push_rebuilds_its_image(company: Company) -> None:
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    assert await company.world.runs() == []
    await company.world.push("one")
    (run,) = await company.runs_ended(1)
    assert (run["status"], run["outputImages"][0]["repository"]) == ("Succeeded", "hello-world")
    found = company.world.azure.registries.find(await company.world.login_server(TEAM))
    assert found
    assert list(company.world.azure.registries.repository(found, "hello-world").tags) == [run["runId"]]
    await company.logged("run ended status=Succeeded")


async def test_system_assigned_option_works_the_same_way(company: Company) -> None:
    company.world.write_policy(SYSTEM_ASSIGNED)
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    await company.world.push("one")
    (run,) = await company.runs_ended(1)
    assert run["status"] == "Succeeded"
    assert (await company.world.task())["identity"]["type"] == "SystemAssigned"


async def test_only_registries_that_opted_in_are_rebuilt(company: Company) -> None:
    for name, tags in {"shopteam": OPTED_IN, "mailteam": OPTED_IN, "otherteam": {}, "idleteam": {"team": "x"}}.items():
        await company.world.create_registry(name, tags=tags)
    for name in ("shopteam", "mailteam"):
        await company.ready(name)
    await company.world.push("one")
    for name in ("shopteam", "mailteam"):
        (run,) = await company.runs_ended(1, name)
        assert run["status"] == "Succeeded"
    writes = {entry["path"].split("/registries/")[1].split("/")[0] for entry in company.task_writes()}
    assert writes == {"shopteam", "mailteam"}


async def test_pushing_the_same_content_again_builds_nothing_and_new_content_builds_once_more(company: Company) -> None:
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    for region in ("westeurope", "japaneast"):
        await company.world.arm("PUT", f"{registry_id(BASE)}/replications/{region}", {"location": region})
    await company.world.push("one")
    await company.runs_ended(1)
    await company.world.push("one")
    await eventually(lambda: company.host.log.count("reason=already-asked-for") >= 5)
    assert len(await company.world.runs()) == 1
    await company.world.push("two")
    assert len(await company.runs_ended(2)) == 2


async def test_registry_that_opts_in_later_is_onboarded_by_the_tag(company: Company) -> None:
    await company.world.create_registry(TEAM)
    await company.logged("reason=not-selected")
    await company.world.arm("PATCH", registry_id(TEAM), {"tags": OPTED_IN}, api_version="2026-09-01-preview")
    await company.ready()


async def test_registry_that_opts_in_in_the_portal_is_onboarded_by_the_tag(company: Company) -> None:
    """The portal and `az tag` do not write the registry, but its tags."""
    await company.world.create_registry(TEAM)
    await company.logged("reason=not-selected")
    tags = f"{registry_id(TEAM)}/providers/Microsoft.Resources/tags/default"
    change = {"operation": "Merge", "properties": {"tags": OPTED_IN}}
    await company.world.arm("PATCH", tags, change, api_version="2024-11-01")
    await company.ready()


async def test_deleted_registry_is_recorded(company: Company) -> None:
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    await company.world.arm("DELETE", registry_id(TEAM), api_version="2026-09-01-preview")
    (row,) = await eventually(lambda: company.world.ledger("registry"))
    assert row["id"].lower() == registry_id(TEAM).lower()


async def test_apps_own_writes_come_back_as_events_and_start_nothing(company: Company) -> None:
    """Without the filter of the event subscription, as if somebody had made it by hand."""
    topic = "/".join(SITE.split("/")[:5]) + "/providers/Microsoft.EventGrid/systemTopics/subscription"
    path = f"{topic}/eventSubscriptions/groundswell-team-registry-changed"
    change = {"filter": {"includedEventTypes": ["Microsoft.Resources.ResourceWriteSuccess"]}}
    await company.world.arm("PATCH", path, change, api_version="2022-06-15")
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    await company.logged("registries/tasks/write")
    await company.logged("roleAssignments/write")
    requests = await company.world.ledger("request|")
    assert {row["cause"] for row in requests} == {"registry-changed"}
    assert len(requests) == 1


async def test_every_event_that_is_none_of_ours_is_logged_with_its_reason_and_no_personal_data(
    company: Company,
) -> None:
    function_of = {True: "base_image_pushed", False: "team_registry_changed"}
    for path in sorted(EVENTS.glob("*.json")):
        document = json.loads(path.read_text())
        event: dict[str, Any] = document[0] if isinstance(document, list) else document
        kind = str(event.get("eventType") or event.get("type"))
        status = await company.deliver(function_of[kind.startswith("Microsoft.ContainerRegistry")], event)
        assert status == 202, path.name
        await company.logged(f"event_id={event['id']}")
    for secret in ("claims", "@contoso", "ipaddr"):
        assert secret not in company.host.log
    assert await company.world.runs_anywhere() == []


async def test_broken_policy_fails_loudly_and_the_event_is_delivered_again(company: Company) -> None:
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    company.world.write_policy(text="baseRegistry: {identity}")
    await company.world.push("one")
    await company.logged("is wrong. baseRegistry")
    company.world.write_policy()
    company.world.azure.clock.advance(60)
    (run,) = await company.runs_ended(1)
    assert run["status"] == "Succeeded"


async def test_message_that_is_none_ends_in_the_poison_queue(company: Company) -> None:
    await company.world.send("rebuild-requests", b"not json")
    await eventually(lambda: company.world.waiting("rebuild-requests-poison"))
    await company.logged("message set aside")


async def test_base_registry_itself_is_never_onboarded(company: Company) -> None:
    await company.world.arm("PATCH", registry_id(BASE), {"tags": OPTED_IN}, api_version="2026-09-01-preview")
    await company.logged("is-the-base-registry")
    await company.world.push("one", image=IMAGE)
    await company.logged("requests=0")
    assert company.task_writes() == []

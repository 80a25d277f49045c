"""Events come from where they should, and lead to functions that take them."""

from __future__ import annotations

from typing import Any

import pytest

from dev.localazure.arm.topictypes import TOPIC_TYPES
from dev.localazure.eventgrid.subscription import settled
from dev.sandbox.infra import Place, event_subscriptions
from tests.infra.predicted import BASE, BASE_REGISTRY, EVENTS, OTHER, SUBSCRIPTIONS, TEAM, functions, listed, made


def function_of(subscription: dict[str, Any]) -> str:
    """Return the function that the properties of an event subscription lead to."""
    return str(subscription["destination"]["properties"]["resourceId"].rpartition("/")[2])


@pytest.mark.parametrize(("case", "teams"), [
    ("default", [TEAM]), ("several", [TEAM, OTHER]), ("trailing-comma", [TEAM]), ("repeated", [TEAM]),
    ("existing-topics", [TEAM, OTHER]),
])  # fmt: skip
def test_events_come_from_the_base_registry_and_each_team_subscription(case: str, teams: list[str]) -> None:
    sources = [
        (one["id"].split("/")[2], function_of(one["properties"])) for one in made(f"events-{case}", SUBSCRIPTIONS)
    ]
    expected = [(BASE.split("/")[2], "base_image_pushed"), *((team, "team_registry_changed") for team in teams)]
    assert sorted(sources) == sorted(expected)


def test_topics_that_exist_are_used_and_only_the_others_made() -> None:
    made_topics = [one["id"] for one in made("events-existing-topics", "Microsoft.EventGrid/systemTopics")]
    assert [topic.split("/")[2] for topic in made_topics] == [OTHER]
    topics = {one["name"].partition("/")[0] for one in made("events-existing-topics", SUBSCRIPTIONS)}
    assert {"theirs", "audit"} < topics


@pytest.mark.parametrize("case", EVENTS)
def test_every_topic_that_is_made_has_an_identity_that_may_write_dead_letters(case: str) -> None:
    for topic in made(case, "Microsoft.EventGrid/systemTopics"):
        assert topic["identity"] == {"type": "SystemAssigned"}
        assert topic["location"] == "global" or "Registries" in topic["properties"]["topicType"]
    given = [one["properties"]["roleDefinitionId"].rpartition("/")[2]
             for one in made(case, "Microsoft.Authorization/roleAssignments")]  # fmt: skip
    wanted = [role["roleDefinitionId"] for role in listed("app-roles.json", "topicAssignments")]
    assert given == wanted * len(made(case, SUBSCRIPTIONS))


def test_subscriptions_ask_for_events_that_exist_and_lead_to_functions_that_take_them() -> None:
    triggered = {name for name, bindings in functions().items()
                 if any(one["type"] == "eventGridTrigger" for one in bindings)}  # fmt: skip
    entries = listed("event-subscriptions.json", "subscriptions")
    assert {one["function"] for one in entries} == triggered
    for one in entries:
        types = TOPIC_TYPES[one["topicType"]][2]
        assert set(one["filter"]["includedEventTypes"]) <= set(types)
        settled({**one, "destination": {"endpointType": "AzureFunction", "properties": {"resourceId": "x"}}}, types)


@pytest.mark.parametrize("case", EVENTS)
def test_local_deployment_subscribes_in_the_same_way(case: str) -> None:
    place = Place("/subscriptions/s/resourceGroups/g", BASE_REGISTRY)
    local = {function_of(put.body["properties"]): put.body["properties"] for put in event_subscriptions(place)}
    for one in made(case, SUBSCRIPTIONS):
        ours, theirs = one["properties"], local[function_of(one["properties"])]
        for member in ("filter", "eventDeliverySchema", "retryPolicy"):
            assert ours[member] == theirs[member]
        ours, theirs = (one["deadLetterWithResourceIdentity"] for one in (ours, theirs))
        assert ours["identity"] == theirs["identity"]
        ours, theirs = (one["deadLetterDestination"]["properties"] for one in (ours, theirs))
        assert ours["blobContainerName"] == theirs["blobContainerName"]

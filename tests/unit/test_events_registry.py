"""Which events of a subscription are about a registry itself, and that nothing personal in them is repeated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.event_grid import read
from shared.domain.events import Ignored, Reason, RegistryChanged, image_pushed, registry_changed
from shared.domain.registries import RegistryId
from tests.builders import SUBSCRIPTION, event, registry_id, replaced
from tests.unit.test_events_base_image import JSON, WRONG

CREATED = event("registry_created")
OURS = (SUBSCRIPTION,)
SUBSCRIPTION_EVENTS = [
    "registry_created",
    "registry_updated",
    "registry_deleted",
    "registry_tagged",
    "registry_written_in_other_casing",
    "registry_created_in_other_subscription",
    "task_written",
    "webhook_written",
    "role_assignment_written",
    "run_scheduled",
    "deployment_written",
]


@pytest.mark.parametrize(
    ("name", "deleted"),
    [
        ("registry_created", False),
        ("registry_updated", False),
        ("registry_deleted", True),
        ("registry_written_in_other_casing", False),
    ],
)
def test_write_and_deletion_of_a_registry_are_accepted(name: str, deleted: bool) -> None:
    delivered = event(name)

    decision = registry_changed(read(delivered), OURS)

    assert decision == RegistryChanged(delivered["id"], RegistryId.parse(delivered["data"]["resourceUri"]), deleted)


@pytest.mark.parametrize(
    ("name", "reason", "told"),
    [
        ("task_written", Reason.OTHER_OPERATION, "Microsoft.ContainerRegistry/registries/tasks/write"),
        ("webhook_written", Reason.OTHER_OPERATION, "Microsoft.ContainerRegistry/registries/webhooks/write"),
        ("role_assignment_written", Reason.OTHER_OPERATION, "Microsoft.Authorization/roleAssignments/write"),
        ("deployment_written", Reason.OTHER_OPERATION, "Microsoft.Resources/deployments/write"),
        ("run_scheduled", Reason.OTHER_TYPE, "Microsoft.Resources.ResourceActionSuccess"),
        ("registry_created_in_other_subscription", Reason.OTHER_SUBSCRIPTION, "c2a94e70-1d3b-4f58-8e6a-07b5d9f1c364"),
    ],
)
def test_event_that_is_not_about_a_registry_of_ours_is_ignored_with_its_reason(
    name: str, reason: Reason, told: str
) -> None:
    assert registry_changed(read(event(name)), OURS) == Ignored(reason, told)


@pytest.mark.parametrize(
    "suffix", ["", "/providers/Microsoft.Resources/tags/default", "/PROVIDERS/microsoft.resources/Tags/Default"]
)
def test_tags_of_a_registry_count_as_the_registry(suffix: str) -> None:
    tagged = replaced(event("registry_tagged"), "data.resourceUri", registry_id("myregistry") + suffix)

    assert registry_changed(read(tagged), OURS) == RegistryChanged(
        tagged["id"], RegistryId.parse(registry_id("myregistry")), deleted=False
    )


@pytest.mark.parametrize("resource", ["/tasks/helloworldtask", "/providers/Microsoft.Resources/tags/other"])
def test_tags_of_something_else_are_of_no_concern(resource: str) -> None:
    uri = f"{registry_id('myregistry')}{resource}/providers/Microsoft.Resources/tags/default"
    tagged = replaced(event("registry_tagged"), "data.resourceUri", uri)

    assert registry_changed(read(tagged), OURS) == Ignored(
        Reason.OTHER_OPERATION, "Microsoft.Resources/tags/write of another resource"
    )


def test_push_is_no_event_of_a_subscription() -> None:
    decision = registry_changed(read(event("image_pushed")), OURS)

    assert decision == Ignored(Reason.OTHER_TYPE, "Microsoft.ContainerRegistry.ImagePushed")


@pytest.mark.parametrize("kind", ["Write", "Delete"])
def test_operation_must_fit_the_event_type(kind: str) -> None:
    other = {"Write": "delete", "Delete": "write"}[kind]
    mixed = replaced(CREATED, "eventType", f"Microsoft.Resources.Resource{kind}Success")
    mixed = replaced(mixed, "data.operationName", f"Microsoft.ContainerRegistry/registries/{other}")

    assert registry_changed(read(mixed), OURS) == Ignored(
        Reason.OTHER_OPERATION, f"Microsoft.ContainerRegistry/registries/{other}"
    )


def test_subscriptions_are_compared_in_any_casing() -> None:
    assert isinstance(registry_changed(read(CREATED), (SUBSCRIPTION.upper(),)), RegistryChanged)


@pytest.mark.parametrize("value", [..., None, ""])
def test_subject_stands_in_for_a_missing_resource_uri(value: Any) -> None:
    decision = registry_changed(read(replaced(CREATED, "data.resourceUri", value)), OURS)

    assert decision == RegistryChanged(CREATED["id"], RegistryId.parse(CREATED["subject"]), deleted=False)


@pytest.mark.parametrize(
    "uri",
    [
        f"{registry_id('myregistry')}/tasks/helloworldtask",
        f"{registry_id('myregistry')}/replications/westus",
        registry_id("myregistry").replace("registries", "vaults"),
        registry_id("my registry"),
        f"{registry_id('myregistry')}\n",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/myResourceGroup",
        *[value for value in WRONG if value],
    ],
)
def test_event_of_a_resource_that_is_no_registry_is_malformed(uri: Any) -> None:
    decision = registry_changed(read(replaced(CREATED, "data.resourceUri", uri)), OURS)

    assert decision == Ignored(Reason.MALFORMED, "data.resourceUri is not the id of a registry")


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path in ("data", "eventType", "data.operationName") for value in [..., *WRONG]]
    + [("id", value) for value in [..., *WRONG] if value != "../.."],
)
def test_event_with_a_broken_member_is_ignored(path: str, value: Any) -> None:
    decision = registry_changed(read(replaced(CREATED, path, value)), OURS)

    assert isinstance(decision, Ignored)
    reasons = {"eventType": Reason.OTHER_TYPE, "data.operationName": Reason.OTHER_OPERATION}
    expected = reasons.get(path, Reason.MALFORMED) if isinstance(value, str) else Reason.MALFORMED
    assert decision.reason is expected


@given(st.dictionaries(st.text(max_size=9), JSON))
@example({})
def test_no_json_object_makes_the_decision_raise(anything: dict[str, Any]) -> None:
    assert isinstance(registry_changed(read(anything), OURS), Ignored)


@given(
    path=st.sampled_from(["id", "eventType", "subject", "data", "data.operationName", "data.resourceUri"]), value=JSON
)
def test_no_json_in_place_of_a_member_makes_the_decision_raise(path: str, value: Any) -> None:
    assert isinstance(registry_changed(read(replaced(CREATED, path, value)), OURS), Ignored | RegistryChanged)


@given(
    name=st.sampled_from([*SUBSCRIPTION_EVENTS, "image_pushed"]),
    claims=st.dictionaries(st.sampled_from(["name", "upn", "ipaddr", "puid"]), st.just("Hong Gildong")),
    broken=st.sampled_from(["id", "eventType", "subject", "data.operationName", "data.resourceUri", "data.claims"]),
    value=JSON,
)
def test_claims_are_never_repeated(name: str, claims: dict[str, str], broken: str, value: Any) -> None:
    delivered = replaced(event(name), "data.claims", {**claims, "sub": "Hong Gildong"})
    delivered = replaced(delivered, broken, value)

    for decision in (registry_changed(read(delivered), OURS), image_pushed(read(delivered), "mybaseregistry")):
        assert "Gildong" not in repr(decision)


@pytest.mark.parametrize("name", SUBSCRIPTION_EVENTS)
def test_no_claim_of_a_real_event_is_repeated(name: str) -> None:
    delivered = event(name)
    said = repr(registry_changed(read(delivered), OURS)) + repr(image_pushed(read(delivered), "mybaseregistry"))

    for claim in ("name", "ipaddr", "puid", "appid", "http://schemas.microsoft.com/identity/claims/objectidentifier"):
        assert delivered["data"]["claims"].get(claim, "Gildong") not in said

"""Registries as Resource Manager describes them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.registries import Network, Registry, RegistryId, from_arm, normalized_location
from tests.builders import SUBSCRIPTION, registry_id

ANSWER: dict[str, Any] = {
    "sku": {"name": "Standard", "tier": "Standard"},
    "type": "Microsoft.ContainerRegistry/registries",
    "id": registry_id("MyRegistry"),
    "name": "MyRegistry",
    "location": "westeurope",
    "tags": {"base-image-rebuilds": "enabled"},
    "properties": {
        "loginServer": "MyRegistry-e7ggejfuhzhgedc8.azurecr.io",
        "creationDate": "2026-09-10T06:54:24.1875712Z",
        "provisioningState": "Succeeded",
        "roleAssignmentMode": "AbacRepositoryPermissions",
    },
}


def test_id_is_read_in_any_casing_and_kept_as_it_was_written() -> None:
    text = registry_id("MyRegistry").replace("resourceGroups", "resourcegroups")

    assert RegistryId.parse(text) == RegistryId(SUBSCRIPTION, "myResourceGroup", "MyRegistry", text)
    assert from_arm({**ANSWER, "id": text}).address == RegistryId.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MyRegistry",
        registry_id("my-registry"),
        registry_id("\u017fervice"),
        f"{registry_id('MyRegistry')}\n",
        f"{registry_id('MyRegistry')}/tasks/helloworldtask",
        registry_id("MyRegistry").replace("myResourceGroup", ""),
        registry_id("MyRegistry").replace("myResourceGroup", "a?b"),
        registry_id("MyRegistry").replace(SUBSCRIPTION, "mine"),
        registry_id("MyRegistry").replace("ContainerRegistry", "Storage"),
    ],
)
def test_what_is_no_id_of_a_registry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a registry"):
        RegistryId.parse(text)


def test_registry_is_read_from_azures_answer() -> None:
    assert from_arm(ANSWER) == Registry(
        id=registry_id("MyRegistry"),
        name="MyRegistry",
        group="myResourceGroup",
        subscription=SUBSCRIPTION,
        location="westeurope",
        login_server="myregistry-e7ggejfuhzhgedc8.azurecr.io",
        abac=True,
        created="2026-09-10T06:54:24.1875712Z",
        tags={"base-image-rebuilds": "enabled"},
    )


@pytest.mark.parametrize("mode", ["LegacyRegistryPermissions", None])
def test_registry_in_the_older_mode_is_not_abac(mode: str | None) -> None:
    properties = {"loginServer": "myregistry.azurecr.io", "roleAssignmentMode": mode}

    assert not from_arm({**ANSWER, "properties": properties}).abac


@pytest.mark.parametrize(
    ("properties", "network"),
    [
        ({}, Network()),
        ({"publicNetworkAccess": None, "networkRuleSet": None, "networkRuleBypassOptions": None}, Network()),
        ({"publicNetworkAccess": "Enabled", "networkRuleSet": {"defaultAction": "Allow", "ipRules": []}}, Network()),
        ({"publicNetworkAccess": "Disabled"}, Network(disabled=True)),
        ({"publicNetworkAccess": "disabled"}, Network(disabled=True)),
        ({"publicNetworkAccess": "SecuredByPerimeter"}, Network(perimeter=True)),
        ({"networkRuleSet": {"defaultAction": "Deny"}}, Network(denied=True)),
        ({"networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}]}},
         Network(denied=True, ip_rules=True)),
        ({"publicNetworkAccess": "Disabled",
          "networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}]}},
         Network(disabled=True, denied=True)),
        # Rules under Allow keep nobody out.
        ({"networkRuleSet": {"defaultAction": "Allow", "ipRules": [{"value": "1.2.3.4"}]}}, Network()),
        ({"networkRuleBypassOptions": "None"}, Network(trusted_services=False)),
        ({"networkRuleBypassOptions": "AzureServices", "networkRuleBypassAllowedForTasks": True}, Network(tasks=True)),
        ({"networkRuleBypassAllowedForTasks": None}, Network()),
    ],
)  # fmt: skip
def test_network_settings_are_read_and_what_is_left_out_has_its_default(
    properties: dict[str, Any], network: Network
) -> None:
    assert from_arm({**ANSWER, "properties": {**ANSWER["properties"], **properties}}).network == network


@pytest.mark.parametrize("missing", [{"tags": None}, {"tags": {}}, {"tags": {}, "properties": None}])
def test_registry_without_tags_or_properties_is_still_a_registry(missing: dict[str, Any]) -> None:
    registry = from_arm({**ANSWER, **missing})

    assert registry.name == "MyRegistry"
    assert registry.tags == {}


@pytest.mark.parametrize("text", ["westeurope", "West Europe", "WEST EUROPE"])
def test_location_is_the_same_place_however_it_is_written(text: str) -> None:
    assert normalized_location(text) == "westeurope"

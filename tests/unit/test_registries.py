"""Registries as Resource Manager describes them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.registries import Registry, from_arm, normalized_location
from tests.builders import SUBSCRIPTION, registry_id

ANSWER = {
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


@pytest.mark.parametrize("missing", [{"tags": None}, {"tags": {}}, {"tags": {}, "properties": None}])
def test_registry_without_tags_or_properties_is_still_a_registry(missing: dict[str, Any]) -> None:
    registry = from_arm({**ANSWER, **missing})

    assert registry.name == "MyRegistry"
    assert registry.tags == {}


@pytest.mark.parametrize("text", ["westeurope", "West Europe", "WEST EUROPE"])
def test_location_is_the_same_place_however_it_is_written(text: str) -> None:
    assert normalized_location(text) == "westeurope"

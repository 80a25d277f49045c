"""Tags as the portal and `az tag` write them."""

from __future__ import annotations

from typing import Any

import pytest

from dev.localazure.azure import Azure
from dev.testing.azure import SUBSCRIPTION, Client

REGISTRY = f"{SUBSCRIPTION}/resourceGroups/mine/providers/Microsoft.ContainerRegistry/registries/myregistry"
TAGS = f"{REGISTRY}/providers/Microsoft.Resources/tags/default"


async def create(owner: Client) -> None:
    await owner.arm("PUT", f"{SUBSCRIPTION}/resourceGroups/mine", {"location": "eastus"}, api_version="2024-11-01")
    body = {"location": "eastus", "sku": {"name": "Standard"}, "tags": {"Team": "shop", "stage": "test"}}
    await owner.arm("PUT", REGISTRY, body, api_version="2026-09-01-preview")


@pytest.mark.parametrize(
    ("method", "operation", "tags", "result"),
    [
        ("PATCH", "Merge", {"team": "mail", "new": "1"}, {"stage": "test", "team": "mail", "new": "1"}),
        ("PATCH", "Replace", {"new": "1"}, {"new": "1"}),
        ("PATCH", "Delete", {"team": "shop"}, {"stage": "test"}),
        ("PUT", None, {"new": "1"}, {"new": "1"}),
    ],
)
async def test_tags_are_changed_without_writing_the_registry(
    azure: Azure, owner: Client, method: str, operation: str | None, tags: dict[str, str], result: dict[str, str]
) -> None:
    await create(owner)
    before = len(azure.events.published)
    body: dict[str, Any] = {"properties": {"tags": tags}} | ({"operation": operation} if operation else {})
    answer = await owner.arm(method, TAGS, body, api_version="2024-11-01")
    assert (answer.status, answer.body["properties"]["tags"]) == (200, result)
    assert (await owner.arm("GET", REGISTRY)).body["tags"] == result
    assert (await owner.arm("GET", TAGS, api_version="2024-11-01")).body["properties"]["tags"] == result
    raised = {(e["data"]["operationName"], e["subject"]) for e in list(azure.events.published)[before:]}
    assert raised == {("Microsoft.Resources/tags/write", REGISTRY)}


async def test_unknown_operation_is_refused(owner: Client) -> None:
    await create(owner)
    body = {"operation": "Add", "properties": {"tags": {"a": "b"}}}
    assert (await owner.arm("PATCH", TAGS, body, api_version="2024-11-01")).status == 400

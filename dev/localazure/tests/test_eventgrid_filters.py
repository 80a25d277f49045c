"""Filters of event subscriptions."""

from __future__ import annotations

from typing import Any

import pytest

from dev.localazure.eventgrid import filters

EVENT = {
    "id": "1", "eventType": "Microsoft.Resources.ResourceWriteSuccess", "subject": "/subscriptions/S/Registries/Team",
    "data": {
        "operationName": "Microsoft.ContainerRegistry/registries/write", "size": 3023, "done": True, "nothing": None,
        "target": {"tag": "15-alpine"}, "a.b": "dotted", "tags": ["one", "two"],
    },
}  # fmt: skip


def advanced(operator: str, key: str, **values: Any) -> dict[str, Any]:
    return {"advancedFilters": [{"operatorType": operator, "key": key, **values}]}


@pytest.mark.parametrize("filter_", [
    {}, {"includedEventTypes": None, "subjectBeginsWith": None},
    {"includedEventTypes": ["x", "microsoft.resources.resourcewritesuccess"]},
    {"subjectBeginsWith": "/SUBSCRIPTIONS/s/", "subjectEndsWith": "/team"},
    {"subjectBeginsWith": "/subscriptions/S/", "isSubjectCaseSensitive": True},
    advanced("StringIn", "data.operationName", values=["microsoft.containerregistry/REGISTRIES/write"]),
    advanced("StringNotIn", "data.operationName", values=["microsoft.containerregistry/registries/tasks/write"]),
    advanced("StringBeginsWith", "Data.OperationName", values=["x", "microsoft.c"]),
    advanced("StringEndsWith", "data.operationName", values=["/WRITE"]),
    advanced("StringContains", "subject", values=["regis"]),
    advanced("StringNotContains", "subject", values=["other"]),
    advanced("StringNotBeginsWith", "eventType", values=["Microsoft.Storage"]),
    advanced("StringNotEndsWith", "eventType", values=["Failure"]),
    advanced("StringIn", "data.target.tag", values=["15-alpine"]),
    advanced("StringIn", "data.a.b", values=["dotted"]),
    advanced("NumberIn", "data.size", values=[1, 3023]), advanced("NumberNotIn", "data.size", values=[1]),
    advanced("NumberLessThan", "data.size", value=3024), advanced("NumberLessThanOrEquals", "data.size", value=3023),
    advanced("NumberGreaterThan", "data.size", value=3022.5),
    advanced("NumberGreaterThanOrEquals", "data.size", value=3023),
    advanced("NumberInRange", "data.size", values=[[1, 2], [3000, 3100]]),
    advanced("NumberNotInRange", "data.size", values=[[1, 2]]),
    advanced("BoolEquals", "data.done", value=True),
    advanced("IsNullOrUndefined", "data.nothing"), advanced("IsNullOrUndefined", "data.missing"),
    advanced("IsNotNull", "data.size"),
    advanced("StringNotIn", "data.missing", values=["x"]), advanced("NumberNotIn", "data.missing", values=[1]),
    {**advanced("StringIn", "data.tags", values=["TWO"]), "enableAdvancedFilteringOnArrays": True},
    {**advanced("StringNotIn", "data.tags", values=["three"]), "enableAdvancedFilteringOnArrays": True},
])  # fmt: skip
def test_an_event_passes(filter_: dict[str, Any]) -> None:
    assert filters.check(filter_) is None
    assert filters.matches(filter_, EVENT)


@pytest.mark.parametrize("filter_", [
    {"includedEventTypes": ["Microsoft.Resources.ResourceDeleteSuccess"]},
    {"subjectBeginsWith": "/Team"}, {"subjectEndsWith": "/subscriptions"},
    {"subjectBeginsWith": "/SUBSCRIPTIONS/s/", "isSubjectCaseSensitive": True},
    advanced("StringIn", "data.operationName", values=["Microsoft.ContainerRegistry/registries"]),
    advanced("StringNotIn", "data.operationName", values=["microsoft.containerregistry/registries/write"]),
    advanced("StringIn", "data.missing", values=["x"]), advanced("StringIn", "data.size", values=["3023"]),
    advanced("NumberIn", "data.operationName", values=[1]), advanced("NumberIn", "data.done", values=[1]),
    advanced("NumberLessThan", "data.size", value=3023), advanced("NumberInRange", "data.size", values=[[1, 2]]),
    advanced("NumberGreaterThan", "data.missing", value=1),
    advanced("BoolEquals", "data.done", value=False), advanced("BoolEquals", "data.size", value=True),
    advanced("IsNullOrUndefined", "data.size"), advanced("IsNotNull", "data.nothing"),
    advanced("IsNotNull", "data.missing"), advanced("StringIn", "data.tags", values=["two"]),
    {**advanced("StringNotIn", "data.tags", values=["two"]), "enableAdvancedFilteringOnArrays": True},
])  # fmt: skip
def test_an_event_is_held_back(filter_: dict[str, Any]) -> None:
    assert filters.check(filter_) is None
    assert not filters.matches(filter_, EVENT)


def test_all_advanced_filters_must_hold() -> None:
    right = {"operatorType": "BoolEquals", "key": "data.done", "value": True}
    wrong = {"operatorType": "BoolEquals", "key": "data.done", "value": False}
    assert filters.matches({"advancedFilters": [right, right]}, EVENT)
    assert not filters.matches({"advancedFilters": [right, wrong]}, EVENT)


@pytest.mark.parametrize("filter_", [
    {"advancedFilters": {"a": 1}}, {"advancedFilters": [1]}, advanced("Equals", "data.size", values=[1]),
    advanced("StringIn", "", values=["a"]), advanced("StringIn", "data.size"), advanced("StringIn", "a", values=[1]),
    advanced("StringIn", "a", values=["x" * 513]), advanced("NumberIn", "a", values=["1"]),
    advanced("NumberIn", "a", values=[True]), advanced("NumberLessThan", "a", value="1"),
    advanced("NumberInRange", "a", values=[1, 2]), advanced("BoolEquals", "a", value=1),
    advanced("StringIn", "a", values=["x"] * 26),
])  # fmt: skip
def test_a_filter_that_event_grid_refuses_is_named(filter_: dict[str, Any]) -> None:
    assert filters.check(filter_)

"""The recordings: localazure answers as they say, and whoever compares notices when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev import localazure
from dev.conformance.recorded import table
from dev.conformance.recorded.replay import read, replay_all
from dev.conformance.recorded.shape import compare
from dev.localazure.azure import Azure
from dev.localazure.journal import Fault


@pytest.mark.parametrize("story", [story.name for story in read()])
async def test_localazure_answers_as_azure_was_recorded(azure: Azure, story: str) -> None:
    azure.agent.pace = 0.02
    results = [result async for result in replay_all(azure.environment(), story)]
    assert results
    assert {result.exchange.name: result.differences for result in results if result.differences} == {}


def test_readme_lists_every_difference_from_the_recordings() -> None:
    readme = Path(localazure.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert table().strip() in readme


async def test_every_place_where_an_answer_differs_is_told(azure: Azure) -> None:
    body = {"location": "WestUS", "tags": None, "id": "x", "type": "y", "name": "myIdentity", "more": 1}
    azure.front.faults.append(Fault(method="GET", path=".*/userAssignedIdentities/.*", status=200, body=body))
    results = [result async for result in replay_all(azure.environment(), "identities")]
    (_, lines, *_) = [result.differences for result in results]
    told = {line.split(":")[0] for line in lines}
    assert {"body.location", "body.tags", "body.id", "body.type", "body.properties", "body.more", "body"} <= told
    assert "header x-ms-request-id" in told


async def test_an_explained_difference_that_is_gone_is_told(azure: Azure) -> None:
    (story,) = (story for story in read() if story.name == "identities")
    story.exchanges[1].differs["body.name"] = "Once upon a time it was another name."
    results = [result async for result in replay_all(azure.environment(), "identities", stories=[story])]
    assert results[0].differences == ["body.name: is as recorded by now; take it out of the list of differences"]


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ({"a": 1}, {}),
        ({}, {"a": None}),
        ({"a": None}, {"a": ""}),
        ({"a": True}, {"a": 1}),
        ({"a": "Enabled"}, {"a": "enabled"}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": []}, {"a": [1]}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ("<guid>", "2EFDDAA5-3F1F-4DF3-97DF-AF3F13818F4C"),
        ("<offset-time>", "2026-09-10T06:55:10.4018600+00:00"),
        ("<offset-time>", "2026-09-10T06:55:10.4018602Z"),
        ("<whole-second>", "2026-09-10T06:55:10.1+00:00"),
        ("<object>", []),
        ("<integer>", True),
        ("a<guid>", "a"),
    ],
)
def test_values_that_are_not_the_same_differ(expected: Any, seen: Any) -> None:
    assert compare(expected, seen, {})


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ("<offset-time>", "2026-09-10T06:55:10.4018602+00:00"),
        ("<offset-time>", "2026-09-10T06:55:10+00:00"),
        ("/x/<name>/{registry}", "/x/<name>/base"),
        ({"{registry}": "<integer>"}, {"base": 3}),
        ("a.b", "a.b"),
    ],
)
def test_values_of_the_recorded_form_are_the_same(expected: Any, seen: Any) -> None:
    assert compare(expected, seen, {"registry": "base"}) == []


def test_the_order_of_members_counts_only_where_it_is_known() -> None:
    assert compare({"a": 1, "b": 2}, {"b": 2, "a": 1}, {}, ordered=False) == []


def test_what_an_answer_names_is_expected_from_then_on() -> None:
    known: dict[str, str] = {}
    assert compare("id-<principal:number>", "id-17", known) == []
    assert compare({"principalId": "{principal}"}, {"principalId": "18"}, known)
    assert compare({"principalId": "{principal}"}, {"principalId": "17"}, known) == []


def test_the_table_of_differences_has_a_reason_in_every_row() -> None:
    rows = [row.strip("| ").split(" | ") for row in table().splitlines()[2:]]
    assert len(rows) > 10
    assert all(len(row) == 3 and row[2].endswith(".") for row in rows)


def test_every_recording_names_its_source_or_only_sets_the_scene() -> None:
    for story in read():
        replayed = [exchange for exchange in story.exchanges if exchange.source]
        assert replayed
        for exchange in story.exchanges:
            assert exchange.source or not exchange.differs

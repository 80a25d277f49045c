"""The policy's tags are such as Azure takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import policy_document
from tests.unit.policies import parse, refusal


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"costCenter": "CC-4711", "Owner Team": "platform, EU", "data:class": ""},
        {f"tag{number}": "x" for number in range(49)},
        {"n" * 512: "v" * 256},
        {"hidden-title": "Ünïcode <is> fine & well in values"},
    ],
)
def test_tags_that_azure_takes_are_taken(tags: dict[str, str], folder: Path) -> None:
    assert parse(policy_document(tags=tags), folder).tags == tags


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"a<b": "x"}, "'a<b' cannot be the name of a tag"),
        ({"a/b": "x"}, "cannot be the name"),
        ({"a\\b": "x"}, "cannot be the name"),
        ({"a%b": "x"}, "cannot be the name"),
        ({"a&b": "x"}, "cannot be the name"),
        ({"a?b": "x"}, "cannot be the name"),
        ({"a\nb": "x"}, "cannot be the name"),
        ({" a": "x"}, "cannot be the name"),
        ({"": "x"}, "cannot be the name"),
        ({"n" * 513: "x"}, "cannot be the name"),
        ({"a": "v" * 257}, "has 257 characters"),
        ({"a": 4711}, "4711 of tag 'a' is no text: put it in quotes"),
        ({"a": None}, "put it in quotes"),
        ({"a": True}, "put it in quotes"),
        ({2026: "x"}, "put it in quotes"),
        ({"a": ["x"]}, "put it in quotes"),
        ({"Groundswell-Spec": "x"}, "Groundswell's own"),
        ({"base-image-rebuilds": "enabled"}, "Groundswell's own"),
        ({"Base-Image-Rebuilds.image": "x"}, "Groundswell's own"),
        ({"azureOwner": "x"}, "Azure keeps such names"),
        ({"Microsoft.x": "x"}, "Azure keeps such names"),
        ({"owner": "a", "Owner": "b"}, "is there twice"),
        ({f"tag{number}": "x" for number in range(50)}, "50 are too many"),
        (["a"], "dictionary"),
        ("a=b", "dictionary"),
    ],
)
def test_tags_that_azure_would_refuse_are_refused_by_name(tags: Any, words: str, folder: Path) -> None:
    text = refusal(policy_document(tags=tags), folder)

    assert "tags" in text
    assert words in text

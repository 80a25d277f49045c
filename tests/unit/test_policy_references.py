"""`rebuildOn` and `exclude` name what a push can match, and what can match nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.domain.images import BaseImage
from tests.builders import policy_document, registry_id, task_document
from tests.unit.policies import parse, refusal

OWN_HOSTS = [
    "mybaseregistry.azurecr.io",
    "MyBaseRegistry.AzureCR.io",
    "mybaseregistry.azurecr.io:443",
    "mybaseregistry-e7ggejfuhzhgedc8.azurecr.io",
    "MYBASEREGISTRY-E7GGEJFUHZHGEDC8.azurecr.cn",
    "mybaseregistry.westeurope.geo.azurecr.io",
]


@pytest.mark.parametrize("base", ["mybaseregistry", "MyBaseRegistry", registry_id("mybaseregistry")])
@pytest.mark.parametrize("host", OWN_HOSTS)
def test_reference_with_the_base_registrys_host_is_the_one_without(host: str, base: str, folder: Path) -> None:
    special = task_document(
        rebuildOn=[f"{host}/baseimages/node:15-*"], exclude=[f"{host}/baseimages/node:15-buildcache"]
    )

    policy = parse(policy_document(special, baseRegistry=base), folder)

    assert policy.builds_on(BaseImage("baseimages/node", "15-alpine"))
    assert not policy.builds_on(BaseImage("baseimages/node", "15-buildcache"))


def test_repository_that_is_called_like_a_host_is_named_behind_the_base_registrys(folder: Path) -> None:
    special = task_document(rebuildOn=["mybaseregistry.azurecr.io/docker.io/library/node:15"])

    assert parse(policy_document(special), folder).builds_on(BaseImage("docker.io/library/node", "15"))


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("docker.io/library/node:15", "another registry"),
        ("docker.io/library/node", "another registry"),
        ("otherregistry.azurecr.io/baseimages/node:15", "another registry"),
        ("mybaseregistry2.azurecr.io/baseimages/node:15", "another registry"),
        ("mybaseregistry.azurecr.io.example.com/baseimages/node:15", "another registry"),
        ("mybaseregistry.azurecr.io:5000/baseimages/node:15", "another registry"),
        ("localhost/node:15", "another registry"),
        ("localhost:5000/node:15", "another registry"),
        ("https://mybaseregistry.azurecr.io/baseimages/node:15", ""),
        (f"baseimages/node@sha256:{'ab' * 32}", "digest"),
        (f"baseimages/node:15@sha256:{'ab' * 32}", "digest"),
        ("mybaseregistry.azurecr.io/baseimages/node", "no tag"),
        ("mybaseregistry.azurecr.io/BaseImages/node:15", "lower case"),
        ("baseimages/node", "no tag"),
        ("baseimages/node:", "tag is empty"),
        (":15", "malformed"),
        ("BaseImages/Node:15", "lower case"),
        ("baseimages/*:15", "only the tag may be a glob"),
        ("*/node:15", "only the tag may be a glob"),
        (f"baseimages/node:{'x' * 129}", "128"),
        (f"baseimages/node:{'?' * 128}*?", "128"),
        ("baseimages/node:-15*", "no image can ever have"),
        ("baseimages/node:.*", "no image can ever have"),
        ("baseimages/node:15-[a", "no image can ever have"),
        ("baseimages/node:15-[z-a]", "no image can ever have"),
        (f"baseimages/node:sha256-{'ab' * 32}.sig", "no image can ever have"),
        ("baseimages/node:15 ", "characters"),
        ("${REGISTRY_NAME}/baseimages/node:15-alpine", ""),
        ("baseimages/node:15-alpine AS build", "characters"),
    ],
)
def test_reference_that_no_push_can_ever_match_is_refused_with_its_reason(
    reference: str, reason: str, folder: Path
) -> None:
    said = refusal(policy_document(task_document(rebuildOn=["baseimages/python:3", reference])), folder)

    assert f"tasks.0.rebuildOn.1: {reference!r} is not repository:tag" in said
    assert reason in said


@pytest.mark.parametrize("twice", ["baseimages/node:15-*", "MyBaseRegistry.azurecr.io/baseimages/node:15-*"])
def test_reference_that_is_written_twice_is_refused(twice: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(rebuildOn=["baseimages/node:15-*", twice])), folder)

    assert "tasks.0.rebuildOn: 'baseimages/node:15-*' is written twice" in said


@pytest.mark.parametrize(
    ("rebuild_on", "exclude"),
    [
        (["baseimages/node:15-alpine"], ["15-alpine"]),
        (["baseimages/node:15-alpine"], ["*-alpine"]),
        (["baseimages/node:15-*"], ["*"]),
        (["baseimages/node:15-*"], ["baseimages/node:1*"]),
        (["baseimages/node:15-*"], ["15-[!0-9]*", "15-[0-9]*", "15-"]),
        (["baseimages/python:3", "baseimages/node:15-*"], ["baseimages/node:*"]),
    ],
)
def test_exclude_that_leaves_nothing_of_an_entry_is_refused(
    rebuild_on: list[str], exclude: list[str], folder: Path
) -> None:
    said = refusal(policy_document(task_document(rebuildOn=rebuild_on, exclude=exclude)), folder)

    assert f"tasks.0.exclude: nothing is left of {rebuild_on[-1]!r} under rebuildOn" in said


def test_exclude_for_a_repository_that_is_not_there_is_refused(folder: Path) -> None:
    special = task_document(rebuildOn=["baseimages/node:15-*"], exclude=["baseimages/nodes:*-amd64"])

    assert "tasks.0.exclude: 'baseimages/nodes:*-amd64' excludes nothing" in refusal(policy_document(special), folder)

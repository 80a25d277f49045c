"""Who gets a task, when it runs and with which values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.images import BaseImage
from shared.domain.policy import OPT_TAG, Selection, select, values_for
from shared.domain.values import refusal
from tests.builders import NODE, VALUES, policy, registry, task, task_document

SELECTOR = {"tags": {"Base-Image-Rebuilds": "enabled", "team": "Web"}}


@pytest.mark.parametrize(
    ("tags", "selection"),
    [
        ({"base-image-rebuilds": "enabled"}, Selection.SELECTED),
        ({"BASE-Image-Rebuilds": "Enabled", "cost-center": "7"}, Selection.SELECTED),
        ({"base-image-rebuilds": "disabled"}, Selection.OPTED_OUT),
        ({"Base-Image-Rebuilds": "DISABLED"}, Selection.OPTED_OUT),
        ({"base-image-rebuilds": "paused"}, Selection.PAUSED),
        ({"base-image-rebuilds": " Enabled "}, Selection.SELECTED),
        ({"base-image-rebuilds": "disabled "}, Selection.OPTED_OUT),
        ({"base-image-rebuilds": " Paused"}, Selection.PAUSED),
        ({"base-image-rebuilds": "enable"}, Selection.NOT_SELECTED),
        ({"base-image-rebuilds": "enabled-not"}, Selection.NOT_SELECTED),
        ({"base-image-rebuilds": "yes"}, Selection.NOT_SELECTED),
        ({"base-image-rebuilds": ""}, Selection.NOT_SELECTED),
        ({"team": "web"}, Selection.NOT_SELECTED),
        ({}, Selection.NOT_SELECTED),
    ],
)
def test_team_opts_in_and_out_and_pauses_by_tag(tags: dict[str, str], selection: Selection) -> None:
    assert select(policy(), task(), "myregistry", tags) is selection


@pytest.mark.parametrize(
    ("tags", "selection"),
    [
        ({"base-image-rebuilds": "enabled", "Team": "web"}, Selection.SELECTED),
        ({"base-image-rebuilds": "enabled"}, Selection.NOT_SELECTED),
        ({"base-image-rebuilds": "enabled", "team": "ops"}, Selection.NOT_SELECTED),
        ({"base-image-rebuilds": "paused", "team": "web"}, Selection.PAUSED),
        ({"base-image-rebuilds": "paused", "team": "ops"}, Selection.NOT_SELECTED),
        ({"base-image-rebuilds": "disabled", "team": "ops"}, Selection.OPTED_OUT),
    ],
)
def test_all_tags_of_the_selector_must_match(tags: dict[str, str], selection: Selection) -> None:
    assert select(policy(), task(registries=SELECTOR), "myregistry", tags) is selection


@pytest.mark.parametrize(
    ("tags", "selection"),
    [
        ({"team": "web"}, Selection.SELECTED),
        ({"team": "web", "base-image-rebuilds": "paused"}, Selection.PAUSED),
        ({"team": "web", "base-image-rebuilds": "disabled"}, Selection.OPTED_OUT),
        ({"team": "web", "base-image-rebuilds": "Enabled"}, Selection.SELECTED),
    ],
)
def test_team_can_leave_a_task_that_it_did_not_opt_in_to(tags: dict[str, str], selection: Selection) -> None:
    assert select(policy(), task(registries={"tags": {"team": "web"}}), "myregistry", tags) is selection


@pytest.mark.parametrize(
    "said", ["off", "false", "no", "disable", "pause", "disabled!", "", " ", "true", "yes", "on", "smoke", "enabled,"]
)
def test_whatever_a_team_says_but_enabled_means_no(said: str) -> None:
    tags = {"team": "web", "base-image-rebuilds": said}

    assert select(policy(), task(registries={"tags": {"team": "web"}}), "myregistry", tags) is Selection.NOT_SELECTED


def test_what_the_selector_asks_for_means_yes_and_nothing_else() -> None:
    smoke = task(registries={"tags": {"base-image-rebuilds": "Smoke"}})

    assert select(policy(), smoke, "myregistry", {"base-image-rebuilds": "smoke"}) is Selection.SELECTED
    assert select(policy(), smoke, "myregistry", {"base-image-rebuilds": "enabled"}) is Selection.NOT_SELECTED


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"base-image-rebuilds": "off"}, "'off'"),
        ({"Base-Image-Rebuilds": "disable"}, "'disable'"),
        ({"base-image-rebuilds": ""}, "''"),
        ({"base-image-rebuilds": "x" * 21}, "something else"),
    ],
)
def test_word_that_nobody_knows_is_named_with_what_is_allowed(tags: dict[str, str], said: str) -> None:
    rules = policy(task_document(), task_document(name="smoketask", registries={"tags": {OPT_TAG: "smoke"}}))

    assert rules.opt_problem(tags) == (
        f"the tag base-image-rebuilds says {said}, which counts as no: write enabled, smoke, paused or disabled"
    )


@pytest.mark.parametrize("said", ["enabled", "Enabled", " paused", "disabled ", "SMOKE"])
def test_word_that_is_allowed_is_no_problem(said: str) -> None:
    rules = policy(task_document(), task_document(name="smoketask", registries={"tags": {OPT_TAG: "smoke"}}))

    assert rules.opt_problem({"base-image-rebuilds": said}) == ""
    assert rules.opt_problem({"team": said}) == ""


@pytest.mark.parametrize("name", ["mybaseregistry", "MyBaseRegistry"])
def test_base_registry_is_never_selected(name: str) -> None:
    assert select(policy(), task(), name, {"base-image-rebuilds": "enabled"}) is Selection.IS_BASE


@pytest.mark.parametrize(
    ("pattern", "tag", "builds"),
    [
        ("baseimages/node:15-alpine", "15-alpine", True),
        ("baseimages/node:15-alpine", "15-Alpine", False),
        ("baseimages/node:15-alpine", "15-alpine3.12", False),
        ("baseimages/node:15-*", "15-alpine", True),
        ("baseimages/node:15-*", "15", False),
        ("baseimages/node:*", "15-alpine", True),
        ("baseimages/node:1?", "15", True),
        ("baseimages/node:1[456]", "15", True),
        ("baseimages/node:1[!5]", "15", False),
        ("baseimages/python:15-alpine", "15-alpine", False),
        ("node:15-alpine", "15-alpine", False),
    ],
)
def test_push_makes_a_task_run_if_repository_and_tag_fit(pattern: str, tag: str, builds: bool) -> None:
    assert task(rebuildOn=[pattern]).builds_on(BaseImage("baseimages/node", tag)) is builds


@pytest.mark.parametrize(
    ("exclude", "tag", "builds"),
    [
        (["*-amd64", "*-buildcache"], "15-alpine", True),
        (["*-amd64", "*-buildcache"], "15-alpine-amd64", False),
        (["*-amd64", "*-buildcache"], "15-buildcache", False),
        (["baseimages/node:*-amd64"], "15-alpine-amd64", False),
        (["baseimages/node:*-amd64"], "15-alpine", True),
        (["15-rc[0-9]"], "15-rc1", False),
        (["15-rc[0-9]"], "15-rc", True),
        ([], "15-alpine-amd64", True),
    ],
)
def test_excluded_push_makes_nothing_run(exclude: list[str], tag: str, builds: bool) -> None:
    special = task(rebuildOn=["baseimages/node:15-*"], exclude=exclude)

    assert special.builds_on(BaseImage("baseimages/node", tag)) is builds


def test_exclude_of_one_repository_does_not_reach_another() -> None:
    special = task(rebuildOn=["baseimages/node:*", "baseimages/python:*"], exclude=["baseimages/node:*-amd64"])

    assert special.builds_on(BaseImage("baseimages/python", "3-amd64"))


def test_push_makes_every_task_run_that_builds_on_the_image() -> None:
    tasks = [
        task_document(name="first"),
        task_document(name="second", rebuildOn=["baseimages/python:3", "baseimages/node:15-*"]),
        task_document(name="third", rebuildOn=["baseimages/python:3"]),
    ]

    assert [found.name for found in policy(*tasks).builds_on(NODE)] == ["first", "second"]


@pytest.mark.parametrize(
    ("patterns", "image"),
    [
        (["baseimages/node:15-alpine"], BaseImage("baseimages/node", "15-alpine")),
        (["baseimages/node:15-*", "baseimages/node:16"], BaseImage("baseimages/node", "16")),
        (["baseimages/node:15-*", "baseimages/node:1?"], None),
    ],
)
def test_first_image_without_a_glob_is_what_a_run_builds_on_by_default(
    patterns: list[str], image: BaseImage | None
) -> None:
    assert task(rebuildOn=patterns).default_image == image


def test_task_is_found_in_any_casing() -> None:
    found = policy().task("HelloWorldTask")

    assert found is not None
    assert found.name == "helloworldtask"
    assert policy().task("another") is None


def test_team_overrides_values_by_tag_in_any_casing() -> None:
    ours = "https://github.com/contoso/shop.git#main:services/web"
    tags = {"Base-Image-Rebuilds.CONTEXTURL": ours, "base-image-rebuilds": "enabled", "other.image": "x"}

    values = values_for(task(), tags)

    assert values.values == {**VALUES, "contextUrl": ours}
    assert values.problems == ()


def test_without_overrides_the_policys_values_hold() -> None:
    assert values_for(task(), registry().tags).values == VALUES


@pytest.mark.parametrize(
    ("tag", "value", "problem"),
    [
        ("base-image-rebuilds.branch", "main", "does not have"),
        ("base-image-rebuilds.", "main", "does not have"),
        ("base-image-rebuilds.registryName", "evil.example", "does not have"),
        ("base-image-rebuilds.image", "x --build-arg y=z", "characters"),
        ("base-image-rebuilds.image", "", "characters"),
    ],
)
def test_wrong_override_changes_nothing_and_is_named(tag: str, value: str, problem: str) -> None:
    values = values_for(task(), {tag: value})

    assert values.values == VALUES
    (told,) = values.problems
    assert tag in told
    assert problem in told


def test_override_of_another_tasks_value_is_no_mistake() -> None:
    rules = policy(task_document(), task_document(name="second", values={"Branch": "main"}))
    first, second = rules.tasks
    tags = {"base-image-rebuilds.branch": "next", "base-image-rebuilds.image": "shop"}

    assert rules.values(first, tags).problems == ()
    assert rules.values(first, tags).values == {**VALUES, "image": "shop"}
    assert rules.values(second, tags).values == {"Branch": "next"}
    assert len(rules.values(second, {"base-image-rebuilds.brunch": "next"}).problems) == 1


def test_refused_override_is_named_and_not_repeated() -> None:
    secret = "https://x-access-token:s3cr3t@github.com/contoso/shop.git"
    tags = {"base-image-rebuilds.contextUrl": secret, f"base-image-rebuilds.{secret}": "x"}

    first, second = values_for(task(), tags).problems

    assert "base-image-rebuilds.contextUrl" in first
    assert "credential" in first
    assert "s3cr3t" not in first + second


def test_override_of_one_task_does_not_reach_another() -> None:
    first = task()

    values_for(first, {"base-image-rebuilds.image": "shop"})

    assert values_for(first, {}).values == VALUES


@pytest.mark.parametrize(
    "value",
    [
        "hello-world",
        "mybaseregistry.azurecr.io/baseimages/node:15-alpine",
        f"node@sha256:{'ab' * 32}",
        "https://github.com/Azure-Samples/acr-build-helloworld-node.git#main",
        "https://dev.azure.com/contoso/shop%20web/_git/shop#feature/x+y:src/app",
        "git@github.com:contoso/shop.git",
        "x" * 256,
    ],
)
def test_image_references_and_git_urls_are_safe_values(value: str) -> None:
    assert not refusal(value)


@pytest.mark.parametrize("character", [*" \t\n\r\0\"'`$&|;<>(){}[]*?!\\,^é", "{{", "}}", "\u2028", "\ud800"])
def test_value_that_a_shell_yaml_or_template_would_read_is_unsafe(character: str) -> None:
    for value in (character, f"{character}image", f"image{character}", f"im{character}age"):
        assert refusal(value)


@pytest.mark.parametrize("value", ["", "-t", "--build-arg", "#comment", "%x", "=x", "~", "+x", "image:", "x" * 257])
def test_value_that_starts_an_option_or_comment_or_ends_in_a_colon_is_unsafe(value: str) -> None:
    assert refusal(value)


@given(st.text(min_size=1))
def test_safe_value_is_one_word_of_ascii(value: str) -> None:
    if not refusal(value):
        assert value.isascii()
        assert value.split() == [value]
        assert not set(value) & set("\"'`$&|;<>(){}[]*?!\\,")

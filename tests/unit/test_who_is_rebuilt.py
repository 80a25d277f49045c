"""Which registries run which tasks, and what a person is told who asks for one that may not."""

from __future__ import annotations

import pytest

from shared.domain.choosing import find_task
from shared.domain.errors import NotFound, NotSelected
from shared.flows.fanout import affected
from tests.builders import NODE, base_registry, policy, registry, task_document

WEB = task_document(name="webtask", registries={"tags": {"team": "web"}})
HELLO = task_document()
BOTH = policy(HELLO, WEB)


def test_push_affects_every_registry_that_opted_in_and_no_other() -> None:
    fleet = (
        base_registry(tags={"base-image-rebuilds": "enabled"}),
        registry("firstteam"),
        registry("secondteam", tags={"Base-Image-Rebuilds": "Enabled"}),
        registry("outteam", tags={"base-image-rebuilds": "disabled"}),
        registry("pausedteam", tags={"base-image-rebuilds": "paused"}),
        registry("silentteam", tags={}),
    )
    rules = policy()

    pairs = affected(rules, rules.builds_on(NODE), fleet)

    assert [(team.name, task.name) for team, task in pairs] == [
        ("firstteam", "helloworldtask"),
        ("secondteam", "helloworldtask"),
    ]


def test_registry_with_several_tasks_is_affected_once_for_each() -> None:
    team = registry(tags={"base-image-rebuilds": "enabled", "team": "web"})

    pairs = affected(BOTH, BOTH.tasks, (team, registry("otherteam", tags={"team": "web"})))

    assert [(team.name, task.name) for team, task in pairs] == [
        ("myregistry", "helloworldtask"),
        ("myregistry", "webtask"),
        ("otherteam", "webtask"),
    ]


def test_nobody_is_affected_in_an_empty_fleet_or_by_no_task() -> None:
    assert affected(BOTH, BOTH.tasks, ()) == []
    assert affected(BOTH, (), (registry(),)) == []


@pytest.mark.parametrize(
    ("name", "tags", "found"),
    [
        ("", {"base-image-rebuilds": "enabled"}, "helloworldtask"),
        ("", {"team": "web"}, "webtask"),
        ("", {"base-image-rebuilds": "enabled", "team": "web"}, "helloworldtask"),
        ("webtask", {"base-image-rebuilds": "enabled", "team": "web"}, "webtask"),
        ("WebTask", {"team": "web"}, "webtask"),
    ],
)
def test_manual_run_means_the_named_task_or_the_first_that_the_registry_has(
    name: str, tags: dict[str, str], found: str
) -> None:
    assert find_task(BOTH, registry(tags=tags), name).name == found


def test_unknown_task_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFound, match=r"no task 'other'; it has helloworldtask, webtask\."):
        find_task(BOTH, registry(), "other")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"base-image-rebuilds": "paused"}, "is paused by its tag base-image-rebuilds=paused: set it to enabled"),
        ({"base-image-rebuilds": "disabled"}, "has opted out by its tag base-image-rebuilds=disabled"),
        ({}, "does not give myregistry the task helloworldtask: set the tag base-image-rebuilds=enabled"),
    ],
)
def test_registry_that_is_not_selected_is_told_what_to_change(tags: dict[str, str], said: str) -> None:
    with pytest.raises(NotSelected, match=f"myregistry.*{said}|{said}"):
        find_task(policy(), registry(tags=tags), "")


def test_base_registry_cannot_be_rebuilt() -> None:
    with pytest.raises(NotSelected, match="mybaseregistry is the base registry"):
        find_task(policy(), base_registry(tags={"base-image-rebuilds": "enabled"}), "")


def test_named_task_is_refused_even_if_another_would_do() -> None:
    with pytest.raises(NotSelected, match="does not give myregistry the task webtask: set the tag team=web"):
        find_task(BOTH, registry(), "webtask")

"""Which task a person means who asks for a run, and why there may be none. Pure functions."""

from __future__ import annotations

from shared.domain.echo import quoted
from shared.domain.errors import InvalidInput, NotFound, NotSelected
from shared.domain.images import BaseImage
from shared.domain.policy import Policy, Selection, TaskPolicy, select
from shared.domain.registries import Registry


def find_task(policy: Policy, team: Registry, name: str, image: BaseImage | None = None) -> TaskPolicy:
    """Return the task that a manual run of a registry means: the one with this name, or that builds on this image.

    Without either it is the first that the policy gives the registry.

    Raises:
        NotFound: The policy has no such task.
        NotSelected: The policy gives the registry no task, or not this one.
        InvalidInput: None of them builds on the image, or several do.
    """
    wanted = [policy.task(name)] if name else list(policy.tasks)
    tasks = [task for task in wanted if task]
    if not tasks:
        known = ", ".join(task.name for task in policy.tasks)
        raise NotFound(f"The policy has no task {quoted(name)}; it has {known}.")
    selections = {task.name: select(policy, task, team.name, team.tags) for task in tasks}
    selected = [task for task in tasks if selections[task.name] is Selection.SELECTED]
    if not selected:
        raise NotSelected(_why_not(policy, team, tasks[0], selections[tasks[0].name]))
    if image is None:
        return selected[0]
    builders = [task for task in selected if task.builds_on(image)]
    if not builders:
        builds = ", ".join(_builds(task) for task in selected)
        if len(selected) == 1:
            text = f"Task {selected[0].name} does not build on {image.name}: it builds on {builds}."
        else:
            text = f"No task of {team.name} builds on {image.name}: they build on {builds}."
        raise InvalidInput(text, "baseImage")
    if len(builders) > 1:
        names = ", ".join(task.name for task in builders)
        raise InvalidInput(f"Several tasks of {team.name} build on {image.name}: name one of {names} as task.", "task")
    return builders[0]


def _builds(task: TaskPolicy) -> str:
    without = f" without {', '.join(map(str, task.exclude))}" if task.exclude else ""
    return f"{', '.join(map(str, task.rebuild_on))}{without}"


def _why_not(policy: Policy, team: Registry, task: TaskPolicy, selection: Selection) -> str:
    if selection is Selection.IS_BASE:
        return f"{team.name} is the base registry: only team registries are rebuilt."
    if selection is Selection.PAUSED:
        return f"{team.name} is paused by its tag base-image-rebuilds=paused: set it to enabled to go on."
    if selection is Selection.OPTED_OUT:
        return f"{team.name} has opted out by its tag base-image-rebuilds=disabled."
    if problem := policy.opt_problem(team.tags):
        return f"{team.name} is not selected: {problem}."
    tags = " and ".join(f"{key}={value}" for key, value in task.registries.tags.items())
    return f"The policy does not give {team.name} the task {task.name}: set the tag {tags} on the registry."

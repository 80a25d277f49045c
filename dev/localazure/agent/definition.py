"""What a run is to do, fixed at the moment it is scheduled: the same form for tasks and for quick runs."""

from __future__ import annotations

import copy
from typing import Any, TypedDict

_DOCKER = ("imageNames", "isPushEnabled", "noCache", "dockerFilePath", "target", "arguments")
_FILE = ("taskFilePath", "valuesFilePath", "values")
_ENCODED = ("encodedTaskContent", "encodedValuesContent", "values")

# Run request → type of the step that it amounts to, and the properties that the two share.
QUICK_RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "DockerBuildRequest": ("Docker", _DOCKER),
    "FileTaskRunRequest": ("FileTask", _FILE),
    "EncodedTaskRunRequest": ("EncodedTask", _ENCODED),
}


class Definition(TypedDict):
    """What a run is to do.

    Attributes:
        task: The task's name, "" for a quick run.
        step: A task step (`Docker`, `FileTask` or `EncodedTask`), overrides applied.
        credentials: As on a task, secrets included.
        identity: The task's managed identities, as ARM shows them.
        caller: Object id of who scheduled the run: what a credential's `[caller]` stands for.
        platform: `os`, `architecture` and maybe `variant`.
        timeout: Seconds.
    """

    task: str
    step: dict[str, Any]
    credentials: dict[str, Any]
    identity: dict[str, Any]
    caller: str
    platform: dict[str, str]
    timeout: int


def of_task(
    name: str, properties: dict[str, Any], identity: dict[str, Any] | None, override: dict[str, Any], caller: str
) -> Definition:
    """Return the definition of a task's run.

    Args:
        name: The task's name.
        properties: The task's properties, secrets included.
        identity: The task's identity.
        override: `overrideTaskStepProperties`; only Docker steps have arguments, only the others have values.
        caller: Object id of the caller.
    """
    step = copy.deepcopy(properties["step"])
    for member in ("contextPath", "target"):
        if override.get(member):
            step[member] = override[member]
    if override.get("file"):
        step["dockerFilePath" if step["type"] == "Docker" else "taskFilePath"] = override["file"]
    member = "arguments" if step["type"] == "Docker" else "values"
    by_name = {item["name"]: item for item in [*step.get(member, []), *(override.get(member) or [])]}
    step[member] = list(by_name.values())
    return Definition(
        task=name,
        step=step,
        credentials=copy.deepcopy(properties.get("credentials") or {}),
        identity=copy.deepcopy(identity or {}),
        caller=caller,
        platform=dict(properties.get("platform") or {}),
        timeout=properties["timeout"],
    )


def of_quick_run(request: dict[str, Any], caller: str) -> Definition:
    """Return the definition of a run that comes with all it needs."""
    kind, members = QUICK_RUNS[request["type"]]
    step = {name: request[name] for name in members if request.get(name) is not None}
    return Definition(
        task="",
        step={"type": kind, **step, "contextPath": request.get("sourceLocation")},
        credentials=copy.deepcopy(request.get("credentials") or {}),
        identity={},
        caller=caller,
        platform=dict(request.get("platform") or {}),
        timeout=request.get("timeout") or 3600,
    )


def docker_step(step: dict[str, Any], registry: str) -> tuple[str, list[str]]:
    """Return the build command that a Docker step amounts to, and its tags; templates in it are not rendered yet."""
    names = [name if name.startswith(f"{registry}/") else f"{registry}/{name}" for name in step.get("imageNames") or []]
    words = ["--no-cache"] if step.get("noCache") else []
    words += ["-f", step.get("dockerFilePath") or "Dockerfile"]
    for name in names:
        words += ["-t", name]
    for argument in step.get("arguments") or []:
        words += ["--build-arg", f"{argument['name']}={argument.get('value') or ''}"]
    if step.get("target"):
        words += ["--target", step["target"]]
    return " ".join([*words, "."]), names

"""Small factories for what the decisions work on. Each gives the plain case; arguments say what is special."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.domain.desired import UserIdentity
from shared.domain.images import BaseImage
from shared.domain.policy import Policy, TaskPolicy
from shared.domain.registries import Registry
from shared.domain.task_files import TaskFile

SUBSCRIPTION = "3f6b8d1e-52c4-4a7e-9b0d-6c1f2a8e7d35"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/myResourceGroup"
DIGEST = f"sha256:{'ab' * 32}"
NODE = BaseImage("baseimages/node", "15-alpine", DIGEST)

TASK_FILE = """\
version: v1.1.0
steps:
  - build: -t $Registry/{{.Values.image}}:$ID {{.Values.contextUrl}}
  - push: ["$Registry/{{.Values.image}}:$ID"]
"""
VALUES = {"contextUrl": "https://github.com/contoso/hello-world.git#main", "image": "hello-world"}

IDENTITY = UserIdentity(
    id=f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/myACRTasksId",
    client_id="0c7d9e52-8b1f-4a36-b2e4-5f90d1c6a783",
    principal_id="a48f1b67-2e0c-4d95-9a73-e6b5c8d2f014",
)


def registry_id(name: str) -> str:
    return f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/{name}"


def registry(name: str = "myregistry", *, tags: Mapping[str, str] | None = None, **special: Any) -> Registry:
    """A team registry that has opted in."""
    plain: dict[str, Any] = {
        "id": registry_id(name),
        "name": name,
        "group": "myResourceGroup",
        "subscription": SUBSCRIPTION,
        "location": "westeurope",
        "login_server": f"{name.lower()}.azurecr.io",
        "created": "2026-11-01T08:00:00.1234567Z",
        "tags": {"base-image-rebuilds": "enabled"} if tags is None else tags,
    }
    return Registry(**{**plain, **special})


def base_registry(**special: Any) -> Registry:
    return registry("mybaseregistry", **{"tags": {}, **special})


def task_document(**special: Any) -> dict[str, Any]:
    """A task as the policy file writes it; None leaves a member out."""
    plain = {
        "name": "helloworldtask",
        "file": "task.yaml",
        "rebuildOn": ["baseimages/node:15-alpine"],
        "registries": {"tags": {"base-image-rebuilds": "enabled"}},
        "values": VALUES,
    }
    return _without_none({**copy.deepcopy(plain), **special})


def policy_document(*tasks: dict[str, Any], **special: Any) -> dict[str, Any]:
    """A policy as its file writes it; None leaves a member out."""
    plain = {
        "baseRegistry": "mybaseregistry",
        "identity": {"type": "UserAssigned", "name": "myACRTasksId", "resourceGroup": "myResourceGroup"},
        "tasks": list(tasks) or [task_document()],
    }
    return _without_none({**plain, **special})


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def task(**special: Any) -> TaskPolicy:
    return policy(task_document(**special)).tasks[0]


def policy(*tasks: dict[str, Any], **special: Any) -> Policy:
    """A policy whose task files are found and sound."""
    document = policy_document(*tasks, **special)
    return Policy.of(
        {**document, "tasks": [{**each, "file": TaskFile(each["file"], TASK_FILE)} for each in document["tasks"]]}
    )


def event(name: str) -> dict[str, Any]:
    """An event as Event Grid delivers it, from tests/events."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "events" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def replaced(document: Any, path: str, value: Any) -> Any:
    """A copy with the member at `path` (`data.target.tag`) replaced, or left out if the value is `...`."""
    document = copy.deepcopy(document)
    *way, last = path.split(".")
    place = document
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return document


def task_answer(body: dict[str, Any], *, details: bool = False) -> dict[str, Any]:
    """A task as Azure answers it: read-only members added, and the credentials' values hidden unless asked for."""
    answer = replaced(body, "properties.provisioningState", "Succeeded")
    answer = replaced(answer, "properties.creationDate", "2026-11-10T06:55:10.4018602+00:00")
    answer["properties"]["step"]["baseImageDependencies"] = [
        {
            "type": "Runtime",
            "registry": "mybaseregistry.azurecr.io",
            "repository": "baseimages/node",
            "tag": "15-alpine",
            "digest": "sha256:1",
        }
    ]
    if not details:
        answer["properties"]["credentials"]["customRegistries"] = dict.fromkeys(
            answer["properties"]["credentials"]["customRegistries"]
        )
    if "userAssignedIdentities" in answer["identity"]:
        inner = {"principalId": IDENTITY.principal_id, "clientId": IDENTITY.client_id}
        answer["identity"]["userAssignedIdentities"] = {IDENTITY.id.replace("resourceGroups", "resourcegroups"): inner}
    else:
        answer["identity"] |= {"principalId": IDENTITY.principal_id, "tenantId": "9e4d17a2-6b83-4c5f-a1d0-38f27c6e5b94"}
    return {
        "id": f"{registry_id('myregistry')}/tasks/helloworldtask",
        "name": "helloworldtask",
        "type": "Microsoft.ContainerRegistry/registries/tasks",
        "systemData": {"lastModifiedAt": "2026-11-10T06:55:09.1441046+00:00"},
        **answer,
    }

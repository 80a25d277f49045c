"""The task that a team registry must have: its step, its identity and its credentials. Pure functions.

With the credentials it pulls the base image, once its identity holds the grants of `shared.domain.grants`
(https://learn.microsoft.com/azure/container-registry/container-registry-tasks-cross-registry-authentication).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shared.domain.errors import PermanentError
from shared.domain.grants import logs_in_at_home
from shared.domain.images import BaseImage
from shared.domain.policy import MOST_TAGS, SPEC_TAG, TaskPolicy
from shared.domain.registries import Registry

SYSTEM = "[system]"
"""How a credential names the task's system-assigned identity."""


@dataclass(frozen=True)
class UserIdentity:
    """A user-assigned identity: three ids, none of which can stand in for another.

    Attributes:
        id: ARM id: what the task's `identity` block names.
        client_id: What a credential names.
        principal_id: What a role assignment names.
    """

    id: str
    client_id: str
    principal_id: str


def task_body(
    task: TaskPolicy,
    team: Registry,
    base: Registry,
    values: Mapping[str, str],
    identity: UserIdentity | None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the whole task as one PUT writes it: step, identity and credential.

    `trigger` is left out on purpose: with ACR's own base-image trigger every push would build twice.

    Args:
        identity: The user-assigned identity; None for a system-assigned one.
        tags: The policy's tags.
    """
    reference = identity.client_id if identity else SYSTEM
    credentials: dict[str, Any] = {"customRegistries": {base.login_server: {"identity": reference}}}
    at_home = logs_in_at_home(team, system_assigned=identity is None)
    if at_home:
        credentials["customRegistries"][team.login_server] = {"identity": reference}
    if team.abac:
        credentials["sourceRegistry"] = {"identity": reference}
    elif at_home:
        credentials["sourceRegistry"] = {"loginMode": "None"}
    body: dict[str, Any] = {
        "location": team.location,
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity.id: {}}}
        if identity
        else {"type": "SystemAssigned"},
        "properties": {
            "status": "Enabled",
            "platform": {"os": task.platform.os, "architecture": task.platform.architecture},
            "agentConfiguration": {"cpu": 2},
            "timeout": task.timeout,
            "step": {
                "type": "EncodedTask",
                "encodedTaskContent": task.encoded,
                "values": _set_values({**values, **image_values(base, task.default_image)}),
            },
            "credentials": credentials,
        },
    }
    # Without tags of the policy's, the fingerprint is the one that it was before there were any.
    whole = {**body, "tags": dict(tags)} if tags else body
    spec = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]
    return {**body, "tags": {**tags, SPEC_TAG: spec}}


def spec_of(body: Mapping[str, Any]) -> str:
    """Return the fingerprint that a desired task carries."""
    return str(body["tags"][SPEC_TAG])


def tags_hold(body: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    """Tell whether a task has the tags that it should have, the fingerprint aside; it may have others.

    Azure compares names without regard to case, values with
    (https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources).
    """
    have = {name.lower(): value for name, value in tags.items()}
    return all(have.get(name.lower()) == value for name, value in body["tags"].items() if name != SPEC_TAG)


def with_tags_kept(body: Mapping[str, Any], task: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a desired task with the tags that others put on the one that is there: a PUT would take them away.

    Raises:
        PermanentError: Both together are more than a resource can have.
    """
    ours = {name.lower() for name in body["tags"]}
    others = {name: value for name, value in ((task or {}).get("tags") or {}).items() if name.lower() not in ours}
    if len(others) + len(ours) > MOST_TAGS:
        raise PermanentError(
            f"Task {(task or {}).get('name')} has {len(others)} tags of others, and {len(ours)} of Groundswell's come "
            f"to them: more than the {MOST_TAGS} that Azure allows. Delete some."
        )
    return {**body, "tags": {**others, **body["tags"]}}


def image_values(base: Registry, image: BaseImage | None) -> dict[str, str]:
    """Return the values that tell a run which base image to build on."""
    return {
        "registryName": base.login_server,
        "baseRepository": image.repository if image else "",
        "baseTag": image.tag if image else "",
        "baseDigest": image.digest if image else "",
    }


def run_body(task_id: str, base: Registry, image: BaseImage | None) -> dict[str, Any]:
    """Return the body of scheduleRun: for a task with encoded content only `values` take effect."""
    return {
        "type": "TaskRunRequest",
        "taskId": task_id,
        "overrideTaskStepProperties": {"values": _set_values(image_values(base, image))},
    }


def _set_values(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value, "isSecret": False} for name, value in sorted(values.items())]

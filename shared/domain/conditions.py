"""What is there compared with what should be: the conditions of a registry. Pure functions on ARM's JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.domain.desired import SYSTEM, UserIdentity, spec_of, tags_hold
from shared.domain.grants import Grant
from shared.domain.policy import SPEC_TAG
from shared.domain.registries import normalized_location


class Kind(StrEnum):
    """What a team registry needs: what Azure keeps for it, and values that can be accepted."""

    IDENTITY = "identity"
    TASK = "task"
    GRANT = "grant"
    CREDENTIAL = "credential"
    NETWORK = "network"
    VALUES = "values"


@dataclass(frozen=True)
class Condition:
    """One of them, as it is now.

    Attributes:
        ready: True, False, or None if it cannot be told yet.
        reason: One word for programs, e.g. `Missing`.
        message: A sentence for people.
    """

    kind: Kind
    ready: bool | None
    reason: str
    message: str


@dataclass(frozen=True)
class Observed:
    """What Azure answered about a registry.

    Attributes:
        identity: The fleet's user-assigned identity; None if it is missing (or the policy wants system-assigned).
        task: The task as GET shows it, or None.
        details: The task as listDetails shows it (credentials in clear), or None if nobody looked.
        principal_id: Whom grants must name; "" while there is no identity yet.
        held: Grants that the principal holds.
        granted: When the youngest of those was made, or None.
    """

    identity: UserIdentity | None
    task: Mapping[str, Any] | None
    details: Mapping[str, Any] | None = None
    principal_id: str = ""
    held: frozenset[Grant] = frozenset()
    granted: datetime | None = None


def task_differences(desired: Mapping[str, Any], task: Mapping[str, Any]) -> tuple[str, ...]:
    """Name what differs between the desired task and the one that GET shows, credentials aside."""
    want, have = desired["properties"], task.get("properties") or {}
    found: list[str] = []
    if normalized_location(str(task.get("location", ""))) != normalized_location(desired["location"]):
        found.append("location")
    if str(have.get("status", "Enabled")) != "Enabled":
        found.append("status")
    if _lower(have.get("platform")) != _lower(want["platform"]):
        found.append("platform")
    if (have.get("agentConfiguration") or {}).get("cpu", 2) != want["agentConfiguration"]["cpu"]:
        found.append("agentConfiguration")
    if have.get("timeout") != want["timeout"]:
        found.append("timeout")
    found.extend(_step_differences(want["step"], have.get("step") or {}))
    if not _same_identity(desired["identity"], task.get("identity") or {}):
        found.append("identity")
    trigger = have.get("trigger") or {}
    if _enabled(trigger):
        found.append("trigger")
    tags = task.get("tags") or {}
    # A fingerprint of ours that is another one than today's must go, or the task would be looked at anew each time.
    if not tags_hold(desired, tags) or tags.get(SPEC_TAG, spec_of(desired)) != spec_of(desired):
        found.append("tags")
    return tuple(found)


def _lower(platform: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: str(value).lower() for key, value in (platform or {}).items() if value}


def _step_differences(want: Mapping[str, Any], have: Mapping[str, Any]) -> list[str]:
    if have.get("type") != want["type"]:
        return ["step.type"]
    found = []
    if _decoded(have.get("encodedTaskContent")) != _decoded(want["encodedTaskContent"]):
        found.append("step.encodedTaskContent")
    if _values(have) != _values(want):
        found.append("step.values")
    if have.get("contextPath"):
        found.append("step.contextPath")
    return found


def _decoded(content: object) -> str:
    try:
        return base64.b64decode(str(content or ""), validate=True).decode().replace("\r\n", "\n").strip()
    except (binascii.Error, UnicodeDecodeError):
        return str(content)


def _values(step: Mapping[str, Any]) -> dict[str, object]:
    return {str(item.get("name")): item.get("value") for item in step.get("values") or []}


def _same_identity(want: Mapping[str, Any], have: Mapping[str, Any]) -> bool:
    wanted = {part.strip() for part in want["type"].split(",")}
    present = {part.strip() for part in str(have.get("type", "")).split(",")}
    ids = {key.lower() for key in have.get("userAssignedIdentities") or {}}
    return wanted <= present and {key.lower() for key in want.get("userAssignedIdentities") or {}} <= ids


def _enabled(trigger: Mapping[str, Any]) -> bool:
    """Tell whether ACR would start runs by itself: each would be a second build of the same thing."""
    base = trigger.get("baseImageTrigger") or {}
    return str(base.get("status", "Enabled" if base else "Disabled")) == "Enabled"


def credential_problem(desired: Mapping[str, Any], observed: Observed, *, verified: bool) -> str | None:
    """Tell what is wrong with the task's credentials, "" if nothing is, None if only listDetails can tell.

    GET shows that a custom registry has a credential, never whose it is.

    Args:
        verified: The credential is known to be right as of the task's last change.
    """
    want = desired["properties"]["credentials"]
    have = ((observed.task or {}).get("properties") or {}).get("credentials") or {}
    present = {key.lower() for key in have.get("customRegistries") or {}}
    for server in want["customRegistries"]:
        if server not in present:
            return f"no credential for {server}"
    if problem := _source_problem(want.get("sourceRegistry") or {}, have.get("sourceRegistry") or {}):
        return problem
    if not verified and observed.details is None:
        return None
    if observed.details is None:
        return ""
    shown = ((observed.details.get("properties") or {}).get("credentials") or {}).get("customRegistries") or {}
    actual = {key.lower(): value or {} for key, value in shown.items()}
    for server, credential in want["customRegistries"].items():
        if str(actual.get(server, {}).get("identity") or "").lower() != credential["identity"].lower():
            return f"the credential for {server} belongs to somebody else"
    return ""


def _source_problem(want: Mapping[str, Any], have: Mapping[str, Any]) -> str:
    """Tell what is wrong with how the task logs in to its own registry, or ""."""
    identity = want.get("identity")
    if identity and str(have.get("identity") or "").lower() != identity.lower():
        return "the task does not log in to its own registry with its identity"
    if not identity and want.get("loginMode", "Default") != (have.get("loginMode") or "Default"):
        return f"the login mode of its own registry is {have.get('loginMode') or 'Default'}"
    return ""


def of(desired: Mapping[str, Any] | None, observed: Observed, grants: tuple[Grant, ...], *,
       system_assigned: bool, verified: bool, told: bool = True) -> tuple[Condition, ...]:  # fmt: skip
    """Return the conditions that writes of Groundswell's bring about.

    Args:
        desired: The task that should be there; None while the identity it names does not exist.
        told: The values say what the task should be.
    """
    return (
        _identity(observed, system_assigned=system_assigned),
        _task(desired, observed, told=told),
        _grant(observed, grants),
        _credential(desired, observed, verified=verified),
    )


def _identity(observed: Observed, *, system_assigned: bool) -> Condition:
    if observed.principal_id:
        kind = "system-assigned" if system_assigned else "user-assigned"
        return Condition(Kind.IDENTITY, True, "Exists", f"The {kind} identity has principal {observed.principal_id}.")
    text = "The task has no system-assigned identity." if system_assigned else "The user-assigned identity is missing."
    return Condition(Kind.IDENTITY, False, "Missing", text)


def _task(desired: Mapping[str, Any] | None, observed: Observed, *, told: bool) -> Condition:
    if observed.task is None:
        return Condition(Kind.TASK, False, "Missing", "The task does not exist.")
    if desired is None:
        return Condition(Kind.TASK, False, "IdentityMissing", "The task cannot be right without its identity.")
    if not told:
        return Condition(Kind.TASK, None, "ValuesRefused", "What the task should be cannot be told from its values.")
    if differences := task_differences(desired, observed.task):
        return Condition(Kind.TASK, False, "Differs", f"The task differs in {', '.join(differences)}.")
    return Condition(Kind.TASK, True, "AsDesired", "The task is as the policy wants it.")


def _grant(observed: Observed, grants: tuple[Grant, ...]) -> Condition:
    if not observed.principal_id:
        return Condition(Kind.GRANT, False, "IdentityMissing", "There is no identity that could hold a role.")
    missing = [
        f"{grant.role_name} on {grant.scope.rpartition('/')[2]}" for grant in grants if grant not in observed.held
    ]
    if missing:
        return Condition(Kind.GRANT, False, "Missing", f"The identity lacks {' and '.join(missing)}.")
    names = " and ".join(f"{grant.role_name} on {grant.scope.rpartition('/')[2]}" for grant in grants)
    return Condition(Kind.GRANT, True, "Assigned", f"The identity holds {names}.")


def _credential(desired: Mapping[str, Any] | None, observed: Observed, *, verified: bool) -> Condition:
    if observed.task is None or desired is None:
        return Condition(Kind.CREDENTIAL, False, "TaskMissing", "There is no task that could hold the credential.")
    problem = credential_problem(desired, observed, verified=verified)
    if problem is None:
        return Condition(Kind.CREDENTIAL, None, "NotChecked", "A credential exists; whose it is was not looked up.")
    if problem:
        return Condition(Kind.CREDENTIAL, False, "Wrong", f"The task cannot log in: {problem}.")
    registries = desired["properties"]["credentials"]["customRegistries"]
    whose = next(iter(registries.values()))["identity"]
    name = "its system-assigned identity" if whose == SYSTEM else f"client id {whose}"
    return Condition(Kind.CREDENTIAL, True, "Present", f"The task logs in to {' and '.join(registries)} with {name}.")


def of_values(refused: tuple[str, ...]) -> Condition:
    """Return the condition of a team's values; `refused` says what is wrong with them."""
    if refused:
        text = f"Nothing is written or run until this is fixed: {'; '.join(refused)}."
        return Condition(Kind.VALUES, False, "Refused", text)
    return Condition(
        Kind.VALUES, True, "Accepted", "The values are the policy's, and the team's where its tags say so."
    )

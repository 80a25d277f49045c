"""What keeps even an Owner from writing: locks, Azure Policy, disabled subscriptions, unregistered providers.

Set up through `/control/restrictions`; here they are no resources of their own. Wording and codes:
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors,
https://github.com/Azure/azure-sdk-for-java/issues/2560 (locks),
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy,
https://github.com/microsoft/vscode-azureappservice/issues/1646 (disabled),
https://github.com/nforgeio/neonKUBE/issues/1670 (not registered).
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dev.localazure import ids
from dev.localazure.errors import ArmError


class Restriction(BaseModel):
    """One restriction of a scope and everything below it.

    Attributes:
        kind: `lock`; `policy`, which demands a tag on resources that are written; `disabled`, for a subscription;
            `unregistered`, for a subscription without a resource provider.
        level: Of a lock.
        name: The policy assignment's name.
        tag: What the policy demands.
        details_only: Name the policy assignment in the answer's details alone, as ARM does when there are many.
        namespace: The resource provider.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["lock", "policy", "disabled", "unregistered"]
    scope: str = Field(min_length=1)
    level: Literal["ReadOnly", "CanNotDelete"] = "ReadOnly"
    name: str = "require-a-tag"
    tag: str = ""
    details_only: bool = Field(default=False, alias="detailsOnly")
    namespace: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Restriction:
        needed = {"policy": "tag", "unregistered": "namespace"}.get(self.kind)
        if needed and not getattr(self, needed):
            raise ValueError(f"a restriction of kind {self.kind} needs a {needed}")
        return self


class Restrictions:
    """All restrictions. The gateway asks them after authorization, for everything but reads."""

    def __init__(self) -> None:
        """Start with none."""
        self.all: list[Restriction] = []

    def reset(self) -> None:
        """Lift all."""
        self.all.clear()

    def disable(self, subscription: str) -> bool:
        """Tell whether a subscription is disabled."""
        return any(one.kind == "disabled" and ids.covers(one.scope, subscription) for one in self.all)

    def check(self, method: str, scope: str, body: Any) -> None:
        """Refuse a call (its HTTP method, scope and JSON body) that a restriction forbids.

        Raises:
            ArmError: 409 `ScopeLocked`, `ReadOnlyDisabledSubscription` or `MissingSubscriptionRegistration`, or 403
                `RequestDisallowedByPolicy`.
        """
        if method in ("GET", "HEAD"):
            return
        for restriction in self.all:
            if ids.covers(restriction.scope, scope):
                _CHECKS[restriction.kind](restriction, method, scope, body)


def _lock(lock: Restriction, method: str, scope: str, _: Any) -> None:
    verb = "delete" if method == "DELETE" else "write"
    if lock.level == "ReadOnly" or verb == "delete":
        text = (
            f"The scope '{scope}' cannot perform {verb} operation because following scope(s) are locked: "
            f"'{lock.scope}'. Please remove the lock and try again."
        )
        raise ArmError(409, "ScopeLocked", text, gateway=True)


def _policy(policy: Restriction, method: str, scope: str, body: Any) -> None:
    # Actions and role assignments carry no tags; policies of mode Indexed leave them alone.
    if method not in ("PUT", "PATCH") or "/providers/microsoft.authorization/" in scope.lower():
        return
    tags = body.get("tags") if isinstance(body, dict) else None
    if method == "PATCH" and tags is None:
        return
    if policy.tag.lower() in {name.lower() for name in tags or {}}:
        return
    assignment = f"{policy.scope}/providers/Microsoft.Authorization/policyAssignments/{policy.name}"
    definition = "/providers/Microsoft.Authorization/policyDefinitions/871b6d14-10aa-478d-b590-94f262ecfa99"
    title, resource = "Require a tag on resources", scope.rpartition("/")[2]
    named = [{"policyAssignment": {"name": policy.name, "id": assignment},
              "policyDefinition": {"name": title, "id": definition}}]  # fmt: skip
    text = f"Resource '{resource}' was disallowed by policy. "
    identifiers = json.dumps(named, separators=(",", ":"))
    text += (
        "See error details for policy resource IDs." if policy.details_only else f"Policy identifiers: '{identifiers}'."
    )
    info: dict[str, Any] = {
        "policyDefinitionDisplayName": title, "policyDefinitionId": definition,
        "policyAssignmentName": policy.name, "policyAssignmentDisplayName": policy.name,
        "policyAssignmentId": assignment, "policyAssignmentScope": policy.scope,
    }  # fmt: skip
    raise ArmError(403, "RequestDisallowedByPolicy", text, gateway=True, target=resource,
                   additional_info=[{"type": "PolicyViolation", "info": info}])  # fmt: skip


def _disabled(disabled: Restriction, method: str, _scope: str, _body: Any) -> None:
    # https://learn.microsoft.com/azure/cost-management-billing/manage/subscription-states
    if method == "DELETE":
        return
    subscription = disabled.scope.rpartition("/")[2]
    text = (
        f"The subscription '{subscription}' is disabled and therefore marked as read only. You cannot perform any "
        "write actions on this subscription until it is re-enabled."
    )
    raise ArmError(409, "ReadOnlyDisabledSubscription", text, gateway=True)


def _unregistered(missing: Restriction, _method: str, scope: str, _body: Any) -> None:
    if f"/providers/{missing.namespace}/".lower() in scope.lower():
        text = (
            f"The subscription is not registered to use namespace '{missing.namespace}'. See "
            "https://aka.ms/rps-not-found for how to register subscriptions."
        )
        raise ArmError(409, "MissingSubscriptionRegistration", text, gateway=True)


_CHECKS = {"lock": _lock, "policy": _policy, "disabled": _disabled, "unregistered": _unregistered}

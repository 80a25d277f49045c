"""Locks, policies, disabled subscriptions and unregistered providers, as Azure words them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.testing.azure import SUBSCRIPTION, Client

GROUP = f"{SUBSCRIPTION}/resourceGroups/mine"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
BODY = {"location": "eastus"}


async def restrict(owner: Client, **restriction: Any) -> None:
    await owner.arm("PUT", GROUP, BODY, api_version="2024-11-01")
    await owner.arm("PUT", IDENTITY, BODY, api_version="2024-11-30")
    assert (await owner.control("POST", "/restrictions", restriction)).status == 201


async def write(owner: Client, method: str = "PUT", **body: Any) -> tuple[int, dict[str, Any]]:
    reply = await owner.arm(method, IDENTITY, {**BODY, **body}, api_version="2024-11-30")
    return reply.status, (reply.body or {}).get("error") or {}


@pytest.mark.parametrize("scope", [IDENTITY, GROUP, SUBSCRIPTION])
async def test_read_only_lock_forbids_writes_below_its_scope_until_it_is_lifted(owner: Client, scope: str) -> None:
    await restrict(owner, kind="lock", scope=scope)
    status, error = await write(owner)
    assert (status, error["code"]) == (409, "ScopeLocked")
    assert error["message"] == (
        f"The scope '{IDENTITY}' cannot perform write operation because following scope(s) are locked: '{scope}'. "
        "Please remove the lock and try again."
    )
    assert (await owner.arm("GET", IDENTITY, api_version="2024-11-30")).status == 200
    assert (await owner.control("DELETE", "/restrictions")).status == 204
    assert (await write(owner))[0] == 200


async def test_lock_against_deletion_forbids_nothing_else(owner: Client) -> None:
    await restrict(owner, kind="lock", level="CanNotDelete", scope=GROUP)
    assert (await write(owner))[0] == 200
    status, error = await write(owner, "DELETE")
    assert (status, error["code"]) == (409, "ScopeLocked")
    assert "cannot perform delete operation" in error["message"]


@pytest.mark.parametrize("details_only", [False, True])
async def test_policy_that_demands_a_tag_names_its_assignment(owner: Client, details_only: bool) -> None:
    await restrict(owner, kind="policy", scope=SUBSCRIPTION, name="all", tag="costCenter", detailsOnly=details_only)
    status, error = await write(owner)
    assert (status, error["code"], error["target"]) == (403, "RequestDisallowedByPolicy", "one")
    assignment = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/policyAssignments/all"
    (violation,) = error["additionalInfo"]
    assert violation["info"]["policyAssignmentId"] == assignment
    assert (json.dumps(assignment) in error["message"]) is not details_only
    assert (await write(owner, tags={"COSTCENTER": "x"}))[0] == 200
    assert (await write(owner, "PATCH"))[0] == 200


async def test_disabled_subscription_takes_no_writes(owner: Client) -> None:
    await restrict(owner, kind="disabled", scope=SUBSCRIPTION)
    status, error = await write(owner)
    assert (status, error["code"]) == (409, "ReadOnlyDisabledSubscription")


async def test_provider_that_is_not_registered_takes_no_writes_and_others_do(owner: Client) -> None:
    await restrict(owner, kind="unregistered", scope=SUBSCRIPTION, namespace="Microsoft.ManagedIdentity")
    status, error = await write(owner)
    assert (status, error["code"]) == (409, "MissingSubscriptionRegistration")
    assert "'Microsoft.ManagedIdentity'" in error["message"]
    assert (await owner.arm("PUT", GROUP, BODY, api_version="2024-11-01")).status == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"kind": "lock"}, {"kind": "other", "scope": "/x"}, {"kind": "policy", "scope": "/x"},
     {"kind": "unregistered", "scope": "/x"}, {"kind": "lock", "scope": "/x", "levle": "ReadOnly"}],
)  # fmt: skip
async def test_wrong_restriction_is_refused_with_a_sentence(owner: Client, body: dict[str, Any]) -> None:
    assert (await owner.control("POST", "/restrictions", body)).status == 400
    assert (await owner.control("GET", "/restrictions")).body == []

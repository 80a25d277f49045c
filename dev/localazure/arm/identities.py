"""Microsoft.ManagedIdentity/userAssignedIdentities, and the `identity` block of the resources that use identities.

https://learn.microsoft.com/rest/api/managedidentity/user-assigned-identities
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from dev.localazure import ids
from dev.localazure.arm import envelope
from dev.localazure.arm.groups import page
from dev.localazure.call import Answer, Call
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.state import Resource

TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
API_VERSIONS = (
    "2015-08-31-preview", "2018-11-30", "2021-09-30-preview", "2022-01-31-preview", "2023-01-31",
    "2023-07-31-preview", "2024-11-30", "2025-01-31-preview", "2025-05-31-preview",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}")
SYSTEM, USER = "SystemAssigned", "UserAssigned"


def register(gateway: Gateway) -> None:
    """Register the operations."""
    group = "/subscriptions/{sub}/resourceGroups/{group}"
    identity = f"{group}/providers/{TYPE}/{{identity}}"
    route = partial(envelope.route, gateway, TYPE, API_VERSIONS)
    route("PUT", identity, "write", _put)
    route("PATCH", identity, "write", _patch)
    route("GET", identity, "read", _get)
    route("DELETE", identity, "delete", _delete)
    route("GET", f"{group}/providers/{TYPE}", "read", _list, group)
    route("GET", f"/subscriptions/{{sub}}/providers/{TYPE}", "read", _list, "/subscriptions/{sub}")


def _view(resource: Resource, api_version: str) -> dict[str, Any]:
    stored = resource.properties
    properties: dict[str, Any] = {}
    if api_version[:10] >= "2024-11-30":
        properties["isolationScope"] = stored["isolationScope"]
    if api_version[:10] >= "2025-05-31":
        properties["assignmentRestrictions"] = {"providers": []}
    properties |= {name: stored[name] for name in ("tenantId", "principalId", "clientId")}
    return {
        "location": resource.location, "tags": resource.tags or {}, "id": resource.id, "name": resource.name,
        "type": TYPE, "properties": properties,
    }  # fmt: skip


async def _put(call: Call) -> Answer:
    body, state = call.object_body(), call.core.state
    existing = state.get(call.scope)
    location = envelope.location_of(body, TYPE, existing)
    name = call.params["identity"]
    if not _NAME.fullmatch(name):
        raise ArmError(400, "BadRequest", f"Resource name '{name}' is invalid: 3 to 128 letters, digits, '-' and '_', "
                       "beginning with a letter or a digit.")  # fmt: skip
    tags = envelope.tags_in(body, {})
    isolation = envelope.object_in(body, "properties").get("isolationScope") or "None"
    if existing is not None:
        existing.tags, existing.properties["isolationScope"] = tags, isolation
        return Answer(200, _view(existing, call.api_version))
    # This provider writes its ids with a lower-case `resourcegroups`.
    resource_id = envelope.new_id(call, TYPE, name).replace("/resourceGroups/", "/resourcegroups/")
    principal = call.core.identity.create_principal(name, resource_id=resource_id, explicit=True)
    properties = {"isolationScope": isolation, "tenantId": state.tenant, "principalId": principal.object_id,
                  "clientId": principal.app_id}  # fmt: skip
    created = state.put(Resource(resource_id, TYPE, name, location, tags, properties=properties))
    return Answer(201, _view(created, call.api_version), {"location": created.id})


async def _patch(call: Call) -> Answer:
    resource, body = call.resource(), call.object_body()
    resource.tags = envelope.tags_in(body, resource.tags)
    isolation = envelope.object_in(body, "properties").get("isolationScope")
    if isolation:
        resource.properties["isolationScope"] = isolation
    return Answer(200, _view(resource, call.api_version))


async def _get(call: Call) -> Answer:
    return Answer(200, _view(call.resource(), call.api_version))


async def _delete(call: Call) -> Answer:
    removed = call.core.state.remove(call.scope)
    for resource in removed:
        call.core.forget(resource)
    return Answer(200 if removed else 204)


async def _list(call: Call) -> Answer:
    found = call.core.state.of_type(TYPE, call.scope)
    return Answer(200, page(call, [_view(resource, call.api_version) for resource in found]))


def assign(call: Call, resource: Resource, name: str, *, patch: bool = False) -> None:
    """Give a resource the managed identities that the request's `identity` block asks for.

    A system-assigned identity lives as long as the resource keeps it; dropped and taken again it is another principal
    (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/overview).

    Args:
        name: Display name for a new system-assigned principal.
        patch: No block leaves everything as it is (in a PUT it means no identity), user-assigned identities that are
            not mentioned stay, and null removes one.

    Raises:
        ArmError: 400 for a bad block or an identity that does not exist, 403 `LinkedAuthorizationFailed` without
            `Microsoft.ManagedIdentity/userAssignedIdentities/assign/action` on a user-assigned identity.
    """
    wanted, current = envelope.object_in(call.object_body(), "identity"), resource.identity or {}
    if patch and not wanted:
        return
    kinds = _kinds(str(wanted.get("type") or (current.get("type", "None") if patch else "None")))
    user = _user_assigned(call, resource, wanted, current, kinds, patch=patch)
    identity: dict[str, Any] = {}
    if SYSTEM in kinds:
        object_id = current.get("principalId")
        if object_id is None:
            object_id = call.core.identity.create_principal(name, resource_id=resource.id).object_id
        identity |= {"principalId": object_id, "tenantId": call.core.state.tenant}
    elif "principalId" in current:
        call.core.identity.delete_principals_of(resource.id)
    identity["type"] = ", ".join(kinds)
    if user:
        identity["userAssignedIdentities"] = user
    resource.identity = identity if kinds else None


def _kinds(text: str) -> list[str]:
    asked = {part.strip().lower() for part in text.split(",")}
    known = {SYSTEM.lower(): SYSTEM, USER.lower(): USER}
    if asked == {"none"}:
        return []
    if not asked <= known.keys():
        raise ArmError(400, "InvalidIdentityType",
                       f"The identity type '{text}' is not supported: '{SYSTEM}', '{USER}', '{SYSTEM}, {USER}' or "
                       "'None'.", gateway=True)  # fmt: skip
    return [kind for key, kind in known.items() if key in asked]


def _user_assigned(
    call: Call, resource: Resource, wanted: dict[str, Any], current: dict[str, Any], kinds: list[str], *, patch: bool
) -> dict[str, dict[str, str]]:
    sent = envelope.object_in(wanted, "userAssignedIdentities")
    if USER not in kinds:
        return {}
    kept: dict[str, dict[str, str]] = dict(current.get("userAssignedIdentities", {})) if patch else {}
    for text, value in sent.items():
        for known in [known for known in kept if known.lower() == text.lower()]:
            del kept[known]
        if value is not None or not patch:
            kept[text] = _resolve(call, resource, text)
    if not kept:
        raise ArmError(
            400, "MissingIdentityIds", f"The identity ids must not be null or empty for '{USER}' identity type.",
            gateway=True,
        )  # fmt: skip
    return kept


def _resolve(call: Call, resource: Resource, text: str) -> dict[str, str]:
    try:
        parsed = ids.parse(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.type.lower() != TYPE.lower():
        raise ArmError(
            400, "LinkedInvalidPropertyId",
            f"Property id '{text}' at path 'identity.userAssignedIdentities' is invalid. Expect fully qualified "
            "resource Id that start with '/subscriptions/{subscriptionId}' or "
            "'/providers/{resourceProviderNamespace}/'.",
            gateway=True,
        )  # fmt: skip
    call.require(f"{TYPE}/assign/action", text)
    found = call.core.state.get(text)
    if found is None:
        raise ArmError(
            400, "FailedIdentityOperation",
            f"Identity operation for resource '{resource.id}' failed with error 'Failed to perform resource identity "
            "operation. Status: 'BadRequest'. Response: "
            f"'{{\"error\":{{\"code\":\"BadRequest\",\"message\":\"Resource '{text}' was not found.\"}}}}'.'.",
            gateway=True,
        )  # fmt: skip
    return {"principalId": found.properties["principalId"], "clientId": found.properties["clientId"]}

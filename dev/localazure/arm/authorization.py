"""Microsoft.Authorization: role definitions and role assignments at any scope.

Reference: https://learn.microsoft.com/rest/api/authorization/role-assignments and
https://learn.microsoft.com/azure/role-based-access-control/troubleshooting for the refusals.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

from dev.localazure import conditions, ids
from dev.localazure.arm.groups import page
from dev.localazure.call import Answer, Call
from dev.localazure.clock import iso
from dev.localazure.conditions import ConditionError
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.rbac import ROLE_ASSIGNMENT, Decision, forbidden
from dev.localazure.roles import ROLES, RoleDefinition
from dev.localazure.state import Principal, Resource

ROLE_DEFINITION = "Microsoft.Authorization/roleDefinitions"
_PRINCIPAL_TYPES = ("ServicePrincipal", "User", "Group")
_DEFINITION_ID = re.compile(r".*/providers/Microsoft\.Authorization/roleDefinitions/([^/]+)", re.IGNORECASE)


def register(gateway: Gateway) -> None:
    """Register the operations."""
    route = gateway.route
    for prefix in ("", "/{scope:path}"):
        provider = f"{prefix}/providers/Microsoft.Authorization"
        one, many = f"{provider}/roleAssignments/{{name}}", f"{provider}/roleAssignments"
        # Writes and deletes are authorized below: conditions look at what is assigned.
        route("PUT", one, f"{ROLE_ASSIGNMENT}/write", partial(_put_assignment, gateway), open_to_all=True)
        route("DELETE", one, f"{ROLE_ASSIGNMENT}/delete", _delete_assignment, open_to_all=True)
        route("GET", one, f"{ROLE_ASSIGNMENT}/read", _get_assignment)
        route("GET", many, f"{ROLE_ASSIGNMENT}/read", _list_assignments, scope=provider)
        route("GET", f"{provider}/roleDefinitions/{{name}}", f"{ROLE_DEFINITION}/read", _get_definition)
        route("GET", f"{provider}/roleDefinitions", f"{ROLE_DEFINITION}/read", _list_definitions, scope=provider)


def _target(call: Call) -> str:
    """Return the scope that an assignment is about, "/" for the tenant."""
    return "/" + call.params.get("scope", "").strip("/")


def _subscription(scope: str) -> str:
    """Return the subscription's part of a scope, "" outside of subscriptions."""
    parts = scope.split("/")
    return "/".join(parts[:3]) if len(parts) > 2 and parts[1].lower() == "subscriptions" else ""


def _zulu(moment: str) -> str:
    return moment.replace("+00:00", "Z")


def _bad_request(code: str, message: str) -> ArmError:
    return ArmError(400, code, message)


def _plain(guid: str) -> str:
    return guid.replace("-", "")


def _is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


# Role definitions


def _definition_view(role: RoleDefinition, scope: str) -> dict[str, Any]:
    permissions = {
        "actions": list(role.actions), "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions), "notDataActions": list(role.not_data_actions),
    }  # fmt: skip
    return {
        "properties": {
            "roleName": role.name, "type": "BuiltInRole", "description": role.description, "assignableScopes": ["/"],
            "permissions": [permissions], "createdOn": "2015-02-02T21:55:09.8806423Z",
            "updatedOn": "2021-11-11T20:13:47.8628684Z", "createdBy": None, "updatedBy": None,
        },
        "id": f"{_subscription(scope)}/providers/{ROLE_DEFINITION}/{role.id}",
        "type": ROLE_DEFINITION, "name": role.id,
    }  # fmt: skip


async def _get_definition(call: Call) -> Answer:
    return Answer(body=_definition_view(_role(call.params["name"]), _target(call)))


def _role(name: str) -> RoleDefinition:
    role = ROLES.get(name.lower())
    if role is None:
        raise ArmError(404, "RoleDefinitionDoesNotExist",
                       f"The specified role definition with ID '{_plain(name)}' does not exist.")  # fmt: skip
    return role


async def _list_definitions(call: Call) -> Answer:
    kept = list(ROLES.values())
    for name, value in _clauses(call, {"rolename", "type", "atscopeandbelow()"}):
        if name == "rolename":
            kept = [role for role in kept if role.name.lower() == value.lower()]
        elif name == "type" and value.lower() != "builtinrole":
            kept = []
    return Answer(body={"value": [_definition_view(role, _target(call)) for role in kept]})


_CLAUSE = re.compile(r"(\w+)\s+eq\s+'([^']*)'|(\w+)\(\s*(?:'([^']*)')?\s*\)", re.IGNORECASE)


def _clauses(call: Call, known: set[str]) -> list[tuple[str, str]]:
    """Return the clauses of `$filter` as (name in lower case, value); a function's name ends with its parentheses."""
    text = call.query.get("$filter", "").strip()
    found = []
    for part in re.split(r"\s+and\s+", text, flags=re.IGNORECASE) if text else []:
        match = _CLAUSE.fullmatch(part.strip())
        name = "" if not match else (match[1] or f"{match[3]}()").lower()
        if match is None or name not in known:
            raise _bad_request("InvalidFilter", f"The filter '{text}' is not supported here.")
        found.append((name, match[2] or match[4] or ""))
    return found


# Role assignments


def _assignment_view(assignment: Resource, scope: str, *, arrived: str | None = None) -> dict[str, Any]:
    """Show an assignment as seen from a scope: Azure puts the scope's subscription before the role's id.

    Args:
        assignment: What to show.
        scope: The scope that was asked.
        arrived: When the PUT that made it came in, in the answer to that PUT: `createdBy` is still null then.
    """
    stored = assignment.properties
    role = stored["roleDefinitionId"].rsplit("/", 1)[-1]

    return {
        "properties": {
            "roleDefinitionId": f"{_subscription(scope)}/providers/{ROLE_DEFINITION}/{role}",
            "principalId": stored["principalId"], "principalType": stored["principalType"], "scope": stored["scope"],
            "condition": stored.get("condition"), "conditionVersion": stored.get("conditionVersion"),
            "createdOn": _zulu(arrived or stored["createdOn"]), "updatedOn": _zulu(stored["updatedOn"]),
            "createdBy": None if arrived else stored.get("createdBy"), "updatedBy": stored.get("updatedBy"),
            "delegatedManagedIdentityResourceId": stored.get("delegatedManagedIdentityResourceId"),
            "description": stored.get("description"),
        },
        "id": assignment.id, "type": ROLE_ASSIGNMENT, "name": assignment.name,
    }  # fmt: skip


async def _get_assignment(call: Call) -> Answer:
    found = call.core.state.get(call.scope)
    if found is None:
        name = call.params["name"]
        raise ArmError(404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found.")
    return Answer(body=_assignment_view(found, _target(call)))


async def _list_assignments(call: Call) -> Answer:
    scope = _target(call)
    clauses = dict(_clauses(call, {"atscope()", "principalid", "assignedto()"}))
    if "principalid" in clauses and "atscope()" in clauses:
        raise _bad_request("InvalidFilter", "The filters 'principalId' and 'atScope()' cannot be used together.")
    # There are no groups here, so what is assigned to somebody is what names them.
    principal = clauses.get("principalid") or clauses.get("assignedto()")

    def wanted(assignment: Resource) -> bool:
        at = assignment.properties["scope"]
        inside = ids.covers(at, scope) or ("atscope()" not in clauses and ids.covers(scope, at))
        return inside and (principal is None or assignment.properties["principalId"].lower() == principal.lower())

    found = [a for a in call.core.state.of_type(ROLE_ASSIGNMENT) if wanted(a)]
    return Answer(body=page(call, [_assignment_view(a, scope) for a in found]))


def _attributes(role: str, principal: str, kind: str | None) -> dict[str, list[str]]:
    values = {"RoleDefinitionId": role.rsplit("/", 1)[-1], "PrincipalId": principal, "PrincipalType": kind}
    prefix = conditions.ROLE_ASSIGNMENT_ATTRIBUTE
    return {f"{prefix}:{name}".lower(): [value] for name, value in values.items() if value}


def _attributes_of(assignment: Resource | None) -> dict[str, list[str]]:
    if assignment is None:
        return {}
    stored = assignment.properties
    return _attributes(stored["roleDefinitionId"], stored["principalId"], stored["principalType"])


def _authorize(call: Call, request: dict[str, list[str]], resource: dict[str, list[str]]) -> None:
    object_id = call.principal.object_id
    decision = call.core.rbac.decide(object_id, call.action, call.scope, request=request, resource=resource)
    if decision is not Decision.ALLOWED:
        raise forbidden(call.principal, call.action, call.scope, decision)


@dataclass(frozen=True)
class _Wanted:
    """The body of a PUT."""

    role: str
    principal: str
    kind: str | None
    condition: str | None
    condition_version: str | None
    description: str | None
    delegated: str | None

    def same_as(self, assignment: Resource) -> bool:
        """Tell whether an assignment gives the same role to the same principal."""
        stored = assignment.properties
        role = stored["roleDefinitionId"].rsplit("/", 1)[-1].lower()
        return (role, stored["principalId"].lower()) == (self.role, self.principal.lower())


def _read(call: Call) -> _Wanted:
    body = call.body if isinstance(call.body, dict) else {}
    given = body.get("properties")
    given = given if isinstance(given, dict) else body

    def text(name: str) -> str | None:
        value = given.get(name)
        return str(value) if value not in (None, "") else None

    match = _DEFINITION_ID.fullmatch(text("roleDefinitionId") or "")
    return _Wanted(
        match[1].lower() if match else "", text("principalId") or "", text("principalType"), text("condition"),
        text("conditionVersion"), text("description"), text("delegatedManagedIdentityResourceId"),
    )  # fmt: skip


async def _put_assignment(gateway: Gateway, call: Call) -> Answer:
    core, scope, name = call.core, _target(call), call.params["name"]
    existing = core.state.get(call.scope)
    wanted = _read(call)
    _authorize(call, _attributes(wanted.role, wanted.principal, wanted.kind), _attributes_of(existing))
    if not _is_guid(name):
        message = f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID."
        raise _bad_request("InvalidRoleAssignmentId", message)
    call.object_body()
    kind = _validate(gateway, call, wanted, scope)
    _refuse_conflicts(call, wanted, scope)
    if existing is None:
        _refuse_above_limit(call, scope)
    else:
        core.rbac.retire(existing)
    now = call.now
    updated = {"updatedOn": iso(core.clock.now()), "updatedBy": call.principal.object_id}
    made = existing.properties if existing else {"createdOn": updated["updatedOn"], "createdBy": updated["updatedBy"]}
    assignment = Resource(
        call.scope if existing is None else existing.id, ROLE_ASSIGNMENT, name.lower(),
        properties={
            "roleDefinitionId": f"{_subscription(scope)}/providers/{ROLE_DEFINITION}/{wanted.role}",
            "principalId": wanted.principal, "principalType": kind, "scope": scope, "condition": wanted.condition,
            "conditionVersion": wanted.condition_version, "description": wanted.description,
            "delegatedManagedIdentityResourceId": wanted.delegated,
            "createdOn": made["createdOn"], "createdBy": made.get("createdBy"),
            **updated, "effectiveAt": iso(now + core.rbac.delay),
        },
    )  # fmt: skip
    core.state.put(assignment)
    if existing is not None:
        return Answer(200, _assignment_view(assignment, scope))
    return Answer(201, _assignment_view(assignment, scope, arrived=iso(now)))


def _validate(gateway: Gateway, call: Call, wanted: _Wanted, scope: str) -> str:
    """Check a PUT in Azure's order and return the principal's type.

    Raises:
        ArmError: 400 or 404 with Azure's code.
    """
    if not wanted.role:
        raise _bad_request("InvalidCreateRoleAssignmentRequest",
                           f"The request to create role assignment '{call.params['name']}' is not valid: "
                           "properties.roleDefinitionId must be the id of a role definition.")  # fmt: skip
    if not _is_guid(wanted.principal):
        raise _bad_request("InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
    if wanted.kind is not None and wanted.kind not in _PRINCIPAL_TYPES:
        raise _bad_request("InvalidPrincipalType", f"The principal type '{wanted.kind}' is not valid.")
    _role(wanted.role)
    _validate_condition(wanted)
    # Resources of services that run elsewhere (storage, sites) can be scopes without being resources here.
    if gateway.serves(scope):
        call.resource(scope)
    principal = _principal(call.core, wanted)
    if wanted.kind not in (None, principal.kind):
        raise _bad_request(
            "UnmatchedPrincipalType",
            f"The PrincipalId '{_plain(wanted.principal)}' has type '{principal.kind}', which is different from the "
            f"specified PrincipalType '{wanted.kind}'. See https://aka.ms/docs-principaltype",
        )
    return principal.kind


def _validate_condition(wanted: _Wanted) -> None:
    if wanted.condition is None and wanted.condition_version is None:
        return
    message = "The given role assignment condition is invalid."
    if wanted.condition is None or wanted.condition_version != "2.0":
        raise _bad_request("InvalidRoleAssignmentCondition", f"{message} A condition needs conditionVersion '2.0'.")
    try:
        conditions.parse(wanted.condition)
    except ConditionError as error:
        raise _bad_request("InvalidRoleAssignmentCondition", f"{message} Error: {error}.") from error


def _principal(core: Core, wanted: _Wanted) -> Principal:
    """Return the principal, once the directory knows it.

    Raises:
        ArmError: 400 `PrincipalNotFound`.
    """
    found = core.identity.find(wanted.principal, trusted=wanted.kind is not None)
    if found is None:
        raise _bad_request(
            "PrincipalNotFound",
            f"Principal {_plain(wanted.principal)} does not exist in the directory {core.state.tenant}. Check that "
            "you have the correct principal ID. If you are creating this principal and then immediately assigning a "
            "role, this error might be related to a replication delay. In this case, set the role assignment "
            "principalType property to a value, such as ServicePrincipal, User, or Group.  "
            "See https://aka.ms/docs-principaltype",
        )
    return found


def _refuse_conflicts(call: Call, wanted: _Wanted, scope: str) -> None:
    """Refuse a second assignment of the same, and a name that means another assignment already.

    Azure answers a repeated identical PUT with 409, as its clients report
    (https://github.com/Azure/azure-cli/issues/8568, https://github.com/Azure/azure-sdk-for-go/issues/19060); a PUT
    that changes the condition or description is an update.
    """
    for other in call.core.state.of_type(ROLE_ASSIGNMENT):
        same = other.properties["scope"].lower() == scope.lower() and wanted.same_as(other)
        if other.name.lower() == call.params["name"].lower():
            if not same:
                message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
                raise _bad_request("RoleAssignmentUpdateNotPermitted", message)
            stored = other.properties
            before = (stored.get("condition"), stored.get("conditionVersion"), stored.get("description"))
            same = before == (wanted.condition, wanted.condition_version, wanted.description)
        if same:
            raise ArmError(409, "RoleAssignmentExists",
                           "The role assignment already exists. The ID of the conflicting role assignment is "
                           f"{_plain(other.name)}.")  # fmt: skip


def _refuse_above_limit(call: Call, scope: str) -> None:
    subscription, limit = _subscription(scope), call.core.rbac.limit
    if subscription and sum(1 for _ in call.core.state.of_type(ROLE_ASSIGNMENT, subscription)) >= limit:
        raise _bad_request("RoleAssignmentLimitExceeded",
                           f"The subscription already has its maximum of {limit} role assignments.")  # fmt: skip


async def _delete_assignment(call: Call) -> Answer:
    existing = call.core.state.get(call.scope)
    _authorize(call, {}, _attributes_of(existing))
    if existing is None:
        return Answer(204)
    call.core.rbac.retire(existing)
    call.core.state.remove(existing.id)
    return Answer(200, _assignment_view(existing, _target(call)))

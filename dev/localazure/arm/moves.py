"""Moves registries to another resource group or subscription.

https://learn.microsoft.com/rest/api/resources/resources/move-resources. Children go along; role assignments stay behind
at the old id, where they count for nothing
(https://learn.microsoft.com/azure/azure-resource-manager/management/move-resource-group-and-subscription).
"""

from __future__ import annotations

from functools import partial

from dev.localazure import ids
from dev.localazure.arm.operations import Operations
from dev.localazure.arm.registries import TYPE as REGISTRY
from dev.localazure.call import Answer, Call
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.rbac import ROLE_ASSIGNMENT
from dev.localazure.state import Resource, State, new_guid

_GROUP = "Microsoft.Resources/subscriptions/resourceGroups"
_RESULT = "/subscriptions/{sub}/operationresults/{operation}"


def register(gateway: Gateway, operations: Operations) -> None:
    """Register the operation and the URL to poll."""
    path = "/subscriptions/{sub}/resourceGroups/{group}/moveResources"
    gateway.route("POST", path, f"{_GROUP}/moveResources/action", partial(_move, operations))
    gateway.route("GET", _RESULT, "Microsoft.Resources/subscriptions/operationresults/read",
                  operations.answer_result, open_to_all=True)  # fmt: skip


async def _move(operations: Operations, call: Call) -> Answer:
    body, state = call.object_body(), call.core.state
    target = str(body.get("targetResourceGroup") or "").rstrip("/")
    call.require(f"{_GROUP}/write", target)
    group = call.resource(target)
    moving = [call.resource(str(wanted)) for wanted in body.get("resources") or []]
    for resource in moving:
        if resource.type != REGISTRY or not ids.covers(call.scope, resource.id):
            raise ArmError(400, "ResourceMoveNotSupported", f"{resource.id} cannot be moved from {call.scope}.")

    async def finish() -> None:
        for resource in moving:
            _rebase(state, resource, group.id)

    operation = operations.start(_RESULT.format(sub=call.params["sub"], operation=new_guid()), finish)
    return Answer(202, None, {"location": operations.url(operation, call.api_version)})


def _rebase(state: State, moved: Resource, group: str) -> None:
    old = moved.id
    new = f"{group}/providers/{moved.type}/{moved.name}"
    for key, resource in list(state.resources.items()):
        if ids.covers(old, key) and resource.type != ROLE_ASSIGNMENT:
            del state.resources[key]
            resource.id = new + resource.id[len(old) :]
            state.put(resource)
    for principal in state.principals.values():
        if ids.covers(old, principal.resource_id):
            principal.resource_id = new + principal.resource_id[len(old) :]

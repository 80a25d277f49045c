"""Microsoft.ContainerRegistry/registries/tasks: what a registry can be told to build.

https://learn.microsoft.com/rest/api/containerregistry/tasks. A task is stored with its secrets; a plain read hides
them, `listDetails` shows them. Credentials are hidden whole: `{"customRegistries": {"host": null}}`, which sent back
in a PATCH removes them and in a PUT leaves them out.
"""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import Any

from dev.localazure.arm import envelope, identities, registries
from dev.localazure.arm.task_properties import invalid, merge, normalize, ordered
from dev.localazure.call import Answer, Call
from dev.localazure.clock import iso
from dev.localazure.errors import resource_not_found
from dev.localazure.gateway import Gateway
from dev.localazure.state import Resource

TYPE = f"{registries.TYPE}/tasks"
API_VERSIONS = ("2018-09-01", "2019-04-01", "2019-06-01-preview", "2025-03-01-preview")
_NAME = re.compile(r"[A-Za-z0-9_-]{5,50}")


def register(gateway: Gateway) -> None:
    """Register the operations."""
    registry = f"/subscriptions/{{sub}}/resourceGroups/{{group}}/providers/{registries.TYPE}/{{registry}}"
    task = f"{registry}/tasks/{{task}}"
    route = partial(envelope.route, gateway, TYPE, API_VERSIONS)
    route("PUT", task, "write", _put)
    route("PATCH", task, "write", _patch)
    route("GET", task, "read", _get)
    route("DELETE", task, "delete", _delete)
    route("GET", f"{registry}/tasks", "read", _list, registry)
    route("POST", f"{task}/listDetails", "listDetails/action", _list_details)


def view(resource: Resource, details: bool) -> dict[str, Any]:
    """Return a task as ACR shows it.

    Args:
        resource: The stored task.
        details: True for listDetails: credentials, secret values and tokens in clear text.
    """
    shown: dict[str, Any] = {"type": TYPE}
    if resource.identity is not None:
        shown["identity"] = resource.identity
    properties = copy.deepcopy(resource.properties)
    if not details:
        _redact(properties)
    shown |= {"properties": ordered(properties), "id": resource.id, "name": resource.name,
              "location": resource.location}  # fmt: skip
    if resource.tags is not None:
        shown["tags"] = resource.tags
    return {**shown, "systemData": resource.system_data}


def _redact(properties: dict[str, Any]) -> None:
    hosts = properties.get("credentials", {}).get("customRegistries", {})
    for host in hosts:
        hosts[host] = None
    step = properties["step"]
    step.pop("contextAccessToken", None)
    for variable in (*step.get("arguments", []), *step.get("values", [])):
        if variable.get("isSecret"):
            variable.pop("value", None)
    for trigger in properties.get("trigger", {}).get("sourceTriggers", []):
        trigger.get("sourceRepository", {}).pop("sourceControlAuthProperties", None)


async def _put(call: Call) -> Answer:
    registry = envelope.require_parent(call, "write", "registries/tasks")
    body, state, name = call.object_body(), call.core.state, call.params["task"]
    existing = state.get(call.scope)
    location = envelope.location_of(body, TYPE, existing)
    if location != registry.location:
        # Azure routes by location, and the service over there has never heard of the registry.
        raise resource_not_found(registries.TYPE, registry.name, call.params["group"])
    if not _NAME.fullmatch(name):
        raise invalid("taskCreateParameters", ["TaskName:A task name has 5 to 50 letters, digits, '-' and '_'"])
    properties = normalize(envelope.object_in(body, "properties"), call.api_version, "taskCreateParameters")
    tags = envelope.tags_in(body, None)
    resource = existing or Resource(f"{registry.id}/tasks/{name}", TYPE, name, location)
    identities.assign(call, resource, f"{registry.name}/tasks/{name}")
    created = resource.properties.get("creationDate") or iso(call.now)
    resource.properties = {"provisioningState": "Succeeded", "creationDate": created, **properties}
    resource.tags = tags
    envelope.stamp(call, resource)
    return Answer(200, view(state.put(resource), details=False))


def _find(call: Call, verb: str) -> Resource:
    envelope.require_parent(call, verb, "registries/tasks")
    return call.resource()


async def _patch(call: Call) -> Answer:
    resource, body = _find(call, "write"), call.object_body()
    properties = merge(resource.properties, envelope.object_in(body, "properties"), call.api_version)
    tags = envelope.tags_in(body, resource.tags)
    registry = resource.id.rpartition("/tasks/")[0].rpartition("/")[2]
    identities.assign(call, resource, f"{registry}/tasks/{resource.name}", patch=True)
    resource.properties, resource.tags = properties, tags
    envelope.stamp(call, resource)
    return Answer(200, view(resource, details=False))


async def _get(call: Call) -> Answer:
    return Answer(200, view(_find(call, "read"), details=False))


async def _list(call: Call) -> Answer:
    registry = envelope.require_parent(call, "read", "registries/tasks")
    tasks = call.core.state.of_type(TYPE, registry.id)
    return Answer(200, {"value": [view(task, details=False) for task in tasks]})


async def _list_details(call: Call) -> Answer:
    return Answer(200, view(_find(call, "action"), details=True))


async def _delete(call: Call) -> Answer:
    envelope.require_parent(call, "delete", "registries/tasks")
    removed = call.core.state.remove(call.scope)
    for resource in removed:
        call.core.forget(resource)
    return Answer(200 if removed else 204)

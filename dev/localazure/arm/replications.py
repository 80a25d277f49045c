"""Microsoft.ContainerRegistry/registries/replications: the regions that hold a registry's content.

https://learn.microsoft.com/rest/api/containerregistry/replications. The home region is one of them, and stays
(https://github.com/Azure/acr/issues/294).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from dev.localazure.arm import envelope, registries
from dev.localazure.arm.groups import page
from dev.localazure.call import Answer, Call
from dev.localazure.errors import ArmError, resource_not_found
from dev.localazure.gateway import Gateway
from dev.localazure.registry.service import RegistryService
from dev.localazure.state import Resource

TYPE = f"{registries.TYPE}/replications"


def register(gateway: Gateway, service: RegistryService) -> None:
    """Register the operations."""
    registry = f"/subscriptions/{{sub}}/resourceGroups/{{group}}/providers/{registries.TYPE}/{{registry}}"
    replication = f"{registry}/replications/{{replication}}"
    route = partial(envelope.route, gateway, TYPE, registries.API_VERSIONS)
    route("PUT", replication, "write", partial(_put, service))
    route("GET", replication, "read", partial(_get, service))
    route("DELETE", replication, "delete", partial(_delete, service))
    route("GET", f"{registry}/replications", "read", partial(_list, service), registry)


def _view(registry: Resource, name: str, location: str) -> dict[str, Any]:
    properties = {
        "provisioningState": "Succeeded", "regionEndpointEnabled": True, "zoneRedundancy": "Disabled",
        "status": {"displayStatus": "Ready", "timestamp": registry.properties["creationDate"]},
    }  # fmt: skip
    return {
        "type": TYPE, "id": f"{registry.id}/replications/{name}", "name": name, "location": location, "tags": {},
        "properties": properties,
    }  # fmt: skip


def _registry(call: Call, verb: str) -> Resource:
    return envelope.require_parent(call, verb, "registries/replications")


def _all(service: RegistryService, registry: Resource) -> dict[str, str]:
    """Return the regions by the replications' names."""
    return {registry.location: registry.location, **service.content(registry).replicas}


async def _put(service: RegistryService, call: Call) -> Answer:
    registry, name = _registry(call, "write"), call.params["replication"]
    location = envelope.location_of(call.object_body(), TYPE, None)
    if any(there == location and known != name for known, there in _all(service, registry).items()):
        text = f"The registry {registry.name} has a replication in the location '{location}' already."
        raise ArmError(409, "ReplicationAlreadyExists", text)
    if name != registry.location:
        service.content(registry).replicas[name] = location
    return Answer(200, _view(registry, name, location))


async def _get(service: RegistryService, call: Call) -> Answer:
    registry, name = _registry(call, "read"), call.params["replication"]
    known = _all(service, registry)
    if name not in known:
        raise resource_not_found(TYPE, name, call.params["group"])
    return Answer(200, _view(registry, name, known[name]))


async def _list(service: RegistryService, call: Call) -> Answer:
    registry = _registry(call, "read")
    return Answer(200, page(call, [_view(registry, *one) for one in _all(service, registry).items()]))


async def _delete(service: RegistryService, call: Call) -> Answer:
    registry, name = _registry(call, "delete"), call.params["replication"]
    if name == registry.location:
        text = f"The replication {name} is in the home location of the registry and cannot be deleted."
        raise ArmError(400, "HomeReplicationCannotBeDeleted", text)
    return Answer(200 if service.content(registry).replicas.pop(name, None) else 204)

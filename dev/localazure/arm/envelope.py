"""What Resource Manager itself checks and keeps on every tracked resource: api-version, location, tags, systemData."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dev.localazure import ids
from dev.localazure.call import Answer, Call, Handler
from dev.localazure.clock import iso
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.state import Principal, Resource

# The public cloud's regions (https://learn.microsoft.com/azure/reliability/regions-list) and two canaries.
LOCATIONS = (
    "australiacentral", "australiacentral2", "australiaeast", "australiasoutheast", "austriaeast", "belgiumcentral",
    "brazilsouth", "brazilsoutheast", "canadacentral", "canadaeast", "centralindia", "centralus", "centraluseuap",
    "chilecentral", "denmarkeast", "eastasia", "eastus", "eastus2", "eastus2euap", "francecentral", "francesouth",
    "germanynorth", "germanywestcentral", "indonesiacentral", "israelcentral", "italynorth", "japaneast", "japanwest",
    "koreacentral", "koreasouth", "malaysiawest", "mexicocentral", "newzealandnorth", "northcentralus", "northeurope",
    "norwayeast", "norwaywest", "polandcentral", "qatarcentral", "southafricanorth", "southafricawest",
    "southcentralus", "southeastasia", "southindia", "spaincentral", "swedencentral", "switzerlandnorth",
    "switzerlandwest", "uaecentral", "uaenorth", "uksouth", "ukwest", "westcentralus", "westeurope", "westindia",
    "westus", "westus2", "westus3",
)  # fmt: skip


def supported(kind: str, versions: Collection[str], handler: Handler) -> Handler:
    """Wrap a handler so that it answers only the api-versions that the resource type has.

    Raises (when called):
        ArmError: 400 `NoRegisteredProviderFound`
            (https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider).
    """

    async def checked(call: Call) -> Answer:
        if call.api_version.lower() not in versions:
            resource = call.core.state.get(call.scope)
            body = call.body if isinstance(call.body, dict) else {}
            location = resource.location if resource else body.get("location", "")
            raise ArmError(
                400, "NoRegisteredProviderFound",
                f"No registered resource provider found for location '{location}' and API version "
                f"'{call.api_version}' for type '{kind.partition('/')[2]}'. The supported api-versions are "
                f"'{', '.join(versions)}'. The supported locations are '{', '.join(LOCATIONS)}'.",
                gateway=True,
            )  # fmt: skip
        return await handler(call)

    return checked


def route(
    gateway: Gateway,
    kind: str,
    versions: Collection[str],
    method: str,
    path: str,
    verb: str,
    handler: Handler,
    scope: str | None = None,
) -> None:
    """Register an operation of a resource type, at the api-versions that the type has; see `Gateway.route`."""
    gateway.route(method, path, f"{kind}/{verb}", supported(kind, versions, handler), scope=scope)


def new_id(call: Call, kind: str, name: str) -> str:
    """Return the id of a resource about to be created in the call's group, with the group in its own casing."""
    return f"{call.resource('/'.join(call.scope.split('/')[:5])).id}/providers/{kind}/{name}"


def location_of(body: dict[str, Any], kind: str, existing: Resource | None) -> str:
    """Return the location of a PUT body in its short form ("West US" is `westus`).

    Raises:
        ArmError: 400 `LocationRequired` or `LocationNotAvailableForResourceType`, 409 `InvalidResourceLocation`
            when the resource lies elsewhere.
    """
    sent = body.get("location")
    if not isinstance(sent, str) or not sent:
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.", gateway=True)
    location = sent.replace(" ", "").lower()
    if location not in LOCATIONS:
        raise ArmError(
            400, "LocationNotAvailableForResourceType",
            f"The provided location '{sent}' is not available for resource type '{kind}'. List of available regions "
            f"for the resource type is '{','.join(LOCATIONS)}'.",
            gateway=True,
        )  # fmt: skip
    if existing is not None and existing.location != location:
        group = ids.parse(existing.id).group
        raise ArmError(
            409, "InvalidResourceLocation",
            f"The resource '{existing.name}' already exists in location '{existing.location}' in resource group "
            f"'{group}'. A resource with the same name cannot be created in location '{sent}'. Please select a new "
            "resource name.",
            gateway=True,
        )  # fmt: skip
    return location


def require_parent(call: Call, verb: str, kind: str) -> Resource:
    """Return the resource that the addressed child lies in.

    Args:
        verb: `read`, `write`, `delete` or `action`, for the message.
        kind: Type of the child without its namespace, e.g. `registries/tasks`.

    Raises:
        ArmError: 404 `ParentResourceNotFound`.
    """
    parent_id = "/".join(call.scope.split("/")[:9])
    parent = call.core.state.get(parent_id)
    if parent is None:
        raise ArmError(
            404, "ParentResourceNotFound",
            f"Failed to perform '{verb}' on resource(s) of type '{kind}', because the parent resource '{parent_id}' "
            "could not be found.",
            gateway=True,
        )  # fmt: skip
    return parent


def stamp(call: Call, resource: Resource) -> None:
    """Note in `systemData` who wrote the resource and when."""
    by, kind = _author(call.principal)
    now = iso(call.now)
    created = resource.system_data or {"createdBy": by, "createdByType": kind, "createdAt": now}
    resource.system_data = {
        **{name: created[name] for name in ("createdBy", "createdByType", "createdAt")},
        "lastModifiedBy": by, "lastModifiedByType": kind, "lastModifiedAt": now,
    }  # fmt: skip


def _author(principal: Principal) -> tuple[str, str]:
    if principal.kind == "User":
        return principal.name, "User"
    return principal.app_id, "Application"


def object_in(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the JSON object under `name`, `{}` if there is none.

    Raises:
        ArmError: 400 `InvalidRequestContent` for anything else.
    """
    value = parent.get(name)
    if value is not None and not isinstance(value, dict):
        raise ArmError(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: "
                       f"'{name}' must be a JSON object.")  # fmt: skip
    return value or {}


def tags_in(body: dict[str, Any], default: dict[str, str] | None) -> dict[str, str] | None:
    """Return the tags of a request, `default` if it has none.

    Raises:
        ArmError: 400 `InvalidRequestContent`.
    """
    return default if body.get("tags") is None else object_in(body, "tags")


def merge(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `patch` laid over it, objects member by member; null and `{}` change nothing."""
    merged = dict(base)
    for name, value in patch.items():
        if isinstance(value, dict):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, dict) else {}, value)
        elif value is not None:
            merged[name] = value
    return merged

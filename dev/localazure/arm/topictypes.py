"""The kinds of sources that raise events here (https://learn.microsoft.com/azure/event-grid/system-topics)."""

from __future__ import annotations

from typing import Any

from dev.localazure import ids
from dev.localazure.call import Answer, Call
from dev.localazure.errors import ArmError
from dev.localazure.eventgrid.subscription import invalid
from dev.localazure.gateway import Gateway

PROVIDER = "Microsoft.EventGrid"

_RESOURCE_EVENTS = [
    f"Microsoft.Resources.Resource{what}{end}" for what in ("Write", "Delete", "Action")
    for end in ("Success", "Failure", "Cancel")
]  # fmt: skip
REGISTRY = "Microsoft.ContainerRegistry.Registries"
# Topic type → its title and description.
_TITLES = {
    REGISTRY: ("Azure Container Registry", "Azure Container Registry service events"),
    "Microsoft.Resources.Subscriptions": (
        "Azure Subscriptions", "Resource management events under an Azure subscription",
    ),
    "Microsoft.Resources.ResourceGroups": ("Resource Groups", "Resource management events under a resource group."),
}  # fmt: skip
TOPIC_TYPES: dict[str, tuple[str, str, list[str]]] = {
    # name: provider, format of the source's id, event types
    REGISTRY: (
        "Microsoft.ContainerRegistry",
        "/subscriptions/<subscriptionId>/resourceGroups/<resourceGroupName>/providers/"
        "Microsoft.ContainerRegistry/registries/<name>",
        [f"Microsoft.ContainerRegistry.{e}" for e in ("ImagePushed", "ImageDeleted", "ChartPushed", "ChartDeleted")],
    ),
    "Microsoft.Resources.Subscriptions": (
        "Microsoft.Resources", "/subscriptions/<subscriptionId>", _RESOURCE_EVENTS,
    ),
    "Microsoft.Resources.ResourceGroups": (
        "Microsoft.Resources", "/subscriptions/<subscriptionId>/resourceGroups/<resourceGroupName>", _RESOURCE_EVENTS,
    ),
}  # fmt: skip


def register(gateway: Gateway) -> None:
    """Register the operations."""
    route = gateway.route
    types = f"/providers/{PROVIDER}/topicTypes"
    route("GET", types, f"{PROVIDER}/topicTypes/read", _list_topic_types, open_to_all=True)
    route("GET", types + "/{type}", f"{PROVIDER}/topicTypes/read", _get_topic_type, open_to_all=True)
    route("GET", types + "/{type}/eventTypes", f"{PROVIDER}/topicTypes/eventTypes/read", _list_event_types,
          open_to_all=True)  # fmt: skip


def find(name: str) -> str:
    """Return a topic type's name in its own casing.

    Raises:
        ArmError: 400 for a type that does not exist here.
    """
    known = next((known for known in TOPIC_TYPES if known.lower() == name.lower()), None)
    if known is None:
        raise invalid(f"Unrecognized topic type {name} in system topic properties.")
    return known


def of_source(source: str) -> str | None:
    """Return the topic type that a source resource has, None if nothing here raises events for it."""
    try:
        parsed = ids.parse(source)
    except ValueError:
        return None
    if parsed.type.lower() == "microsoft.containerregistry/registries":
        return REGISTRY
    if parsed.namespace:
        return None
    return "Microsoft.Resources.ResourceGroups" if parsed.group else "Microsoft.Resources.Subscriptions"


def event_types(source: str) -> list[str]:
    """Return the types of the events that a source raises."""
    kind = of_source(source)
    return TOPIC_TYPES[kind][2] if kind else []


def _topic_type_view(name: str) -> dict[str, Any]:
    (provider, source_format, _), (title, description) = TOPIC_TYPES[name], _TITLES[name]
    region = "RegionalResource" if name == REGISTRY else "GlobalResource"
    return {
        "properties": {
            "provider": provider, "displayName": title, "description": description,
            "resourceRegionType": region, "provisioningState": "Succeeded", "sourceResourceFormat": source_format,
        },
        "id": f"providers/{PROVIDER}/topicTypes/{name}", "name": name, "type": f"{PROVIDER}/topicTypes",
    }  # fmt: skip


async def _list_topic_types(call: Call) -> Answer:
    return Answer(body={"value": [_topic_type_view(name) for name in TOPIC_TYPES]})


def _known(call: Call) -> str:
    wanted = call.params["type"].lower()
    name = next((known for known in TOPIC_TYPES if known.lower() == wanted), None)
    if name is None:
        raise ArmError(404, "ResourceNotFound", f"Topic type {call.params['type']} was not found.")
    return name


async def _get_topic_type(call: Call) -> Answer:
    return Answer(body=_topic_type_view(_known(call)))


async def _list_event_types(call: Call) -> Answer:
    name = _known(call)
    views = [
        {"properties": {"displayName": kind, "isInDefaultSet": True}, "name": kind,
         "id": f"providers/{PROVIDER}/topicTypes/{name}/eventTypes/{kind}", "type": f"{PROVIDER}/topicTypes/eventTypes"}
        for kind in TOPIC_TYPES[name][2]
    ]  # fmt: skip
    return Answer(body={"value": views})

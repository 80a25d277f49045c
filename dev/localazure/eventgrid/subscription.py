"""What an event subscription may say, and how Event Grid completes it.

https://learn.microsoft.com/rest/api/eventgrid/controlplane/event-subscriptions/create-or-update
"""

from __future__ import annotations

from typing import Any

from dev.localazure.errors import ArmError
from dev.localazure.eventgrid import filters
from dev.localazure.eventgrid.schemas import CLOUD_EVENTS, EVENT_GRID
from dev.localazure.state import Resource, State

_EXTENSION = "/providers/microsoft.eventgrid/eventsubscriptions/"
MEMBERS = (
    "destination", "deliveryWithResourceIdentity", "filter", "labels", "expirationTimeUtc", "eventDeliverySchema",
    "retryPolicy", "deadLetterDestination", "deadLetterWithResourceIdentity",
)  # fmt: skip


def invalid(message: str) -> ArmError:
    """Return Event Grid's refusal of a request."""
    return ArmError(400, "InvalidRequest", message)


def settled(sent: dict[str, Any], all_types: list[str]) -> dict[str, Any]:
    """Return the properties of an event subscription as Event Grid keeps them, defaults filled in.

    Args:
        sent: What the caller sent under `properties`.
        all_types: The event types of the source: what is delivered if no filter names any.

    Raises:
        ArmError: 400 for what Event Grid does not accept, or what is not simulated.
    """
    filter_ = dict(sent.get("filter") or {})
    if wrong := filters.check(filter_):
        raise invalid(f"Invalid event subscription request: {wrong}")
    if not filter_.get("isSubjectCaseSensitive"):
        filter_.pop("isSubjectCaseSensitive", None)  # Event Grid shows it only if it is true.
    if not filter_.get("includedEventTypes") or filter_["includedEventTypes"] == ["All"]:
        filter_["includedEventTypes"] = list(all_types)
    policy = dict(sent.get("retryPolicy") or {})
    attempts, minutes = policy.get("maxDeliveryAttempts") or 30, policy.get("eventTimeToLiveInMinutes") or 1440
    if not 1 <= attempts <= 30 or not 1 <= minutes <= 1440:
        raise invalid("Invalid event subscription request: maxDeliveryAttempts should be between 1 and 30 and "
                       "eventTimeToLiveInMinutes between 1 and 1440.")  # fmt: skip
    schema = sent.get("eventDeliverySchema") or EVENT_GRID
    if schema not in (EVENT_GRID, CLOUD_EVENTS):
        raise invalid(f"Invalid event subscription request: eventDeliverySchema {schema} is not supported here.")
    kept: dict[str, Any] = {}
    managed = sent.get("deliveryWithResourceIdentity")
    if isinstance(managed, dict):
        kept["deliveryWithResourceIdentity"] = {**managed, "destination": _destination(managed.get("destination"))}
    else:
        kept["destination"] = _destination(sent.get("destination"))
    kept["filter"] = {"subjectBeginsWith": "", "subjectEndsWith": "", **filter_}
    kept.update(labels=sent.get("labels"), eventDeliverySchema=schema,
                   retryPolicy={"maxDeliveryAttempts": attempts, "eventTimeToLiveInMinutes": minutes})  # fmt: skip
    for member in ("deadLetterDestination", "deadLetterWithResourceIdentity", "expirationTimeUtc"):
        if sent.get(member) is not None:
            kept[member] = sent[member]
    _check_dead_letter(kept)
    return kept


def unsettled(shown: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Return the properties as the answer to a PUT shows them: of the defaults, only the event types are there yet.

    Args:
        shown: What a later read shows.
        sent: What the caller sent.
    """
    kept = {name: value for name, value in shown.items() if name != "eventDeliverySchema" or name in sent}
    kept["filter"] = _without(kept["filter"], ("subjectBeginsWith", "subjectEndsWith"), sent.get("filter"))
    if isinstance(block := kept.get("destination"), dict):
        asked = (sent.get("destination") or {}).get("properties")
        sizes = ("maxEventsPerBatch", "preferredBatchSizeInKilobytes")
        kept["destination"] = {**block, "properties": _without(block["properties"], sizes, asked)}
    return kept


def _without(block: dict[str, Any], defaults: tuple[str, ...], sent: Any) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in defaults or name in (sent or {})}


def _destination(block: Any) -> dict[str, Any]:
    if not isinstance(block, dict) or block.get("endpointType") not in ("WebHook", "AzureFunction"):
        raise invalid("Invalid event subscription request: localazure delivers to the endpointTypes WebHook and "
                       "AzureFunction.")  # fmt: skip
    inner = {name: value for name, value in (block.get("properties") or {}).items() if value is not None}
    inner.pop("endpointBaseUrl", None)
    inner.setdefault("maxEventsPerBatch", 1)
    inner.setdefault("preferredBatchSizeInKilobytes", 64)
    if not 1 <= inner["maxEventsPerBatch"] <= 5000 or not 1 <= inner["preferredBatchSizeInKilobytes"] <= 1024:
        raise invalid("Invalid event subscription request: maxEventsPerBatch should be between 1 and 5000 and "
                       "preferredBatchSizeInKilobytes between 1 and 1024.")  # fmt: skip
    if block["endpointType"] == "WebHook":
        inner.setdefault("endpointUrl", "")
    else:
        inner.setdefault("resourceId", "")
    return {"properties": inner, "endpointType": block["endpointType"]}


def _check_dead_letter(kept: dict[str, Any]) -> None:
    managed = kept.get("deadLetterWithResourceIdentity") or {}
    block = kept.get("deadLetterDestination") or managed.get("deadLetterDestination")
    if block is None:
        return
    if managed and (managed.get("identity") or {}).get("type") != "SystemAssigned":
        raise invalid("Invalid event subscription request: localazure writes dead letters with the topic's "
                       "SystemAssigned identity only.")  # fmt: skip
    inner = block.get("properties") or {}
    account = str(inner.get("resourceId") or "")
    if block.get("endpointType") != "StorageBlob" or not inner.get("blobContainerName") \
            or "/providers/microsoft.storage/storageaccounts/" not in account.lower():  # fmt: skip
        raise invalid("Invalid event subscription request: a deadLetterDestination is a StorageBlob with the "
                       "resourceId of a storage account and a blobContainerName.")  # fmt: skip


def source_of(state: State, subscription: Resource) -> str | None:
    """Return the resource id whose events an event subscription gets; None if its system topic is gone."""
    scope, _, _ = subscription.id.lower().partition(_EXTENSION)
    if scope != subscription.id.lower():
        return subscription.id[: len(scope)]
    topic = state.get(subscription.id.rpartition("/eventSubscriptions/")[0])
    return str(topic.properties["source"]) if topic is not None else None

"""What the host sends to each function."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from dev.localazure.state import DEFAULT_SUBSCRIPTION
from tests.worker.worker import Reply, Worker

REGISTRIES = f"/subscriptions/{DEFAULT_SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries"


def image_pushed(
    registry: str = "mybaseregistry", repository: str = "baseimages/node", tag: str | None = "15-alpine"
) -> dict[str, Any]:
    """An event of a registry: https://learn.microsoft.com/azure/event-grid/event-schema-container-registry."""
    target = {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 1573, "length": 1573,
        "digest": f"sha256:{'a' * 64}", "repository": repository,
    }  # fmt: skip
    if tag is not None:
        target["tag"] = tag
    return {
        "id": str(uuid.uuid4()),
        "topic": f"{REGISTRIES}/{registry}",
        "subject": f"{repository}:{tag}",
        "eventType": "Microsoft.ContainerRegistry.ImagePushed",
        # The worker keeps six of the seven digits.
        "eventTime": "2026-11-22T09:30:00.1234567Z",
        "data": {"id": str(uuid.uuid4()), "action": "push", "target": target},
        "dataVersion": "1.0",
        "metadataVersion": "1",
    }


def registry_written(
    registry: str = "myregistry", operation: str = "Microsoft.ContainerRegistry/registries/write"
) -> dict[str, Any]:
    """An event of a subscription: https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions."""
    resource = f"{REGISTRIES}/{registry}"
    return {
        "id": str(uuid.uuid4()),
        "topic": f"/subscriptions/{DEFAULT_SUBSCRIPTION}",
        "subject": resource,
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "eventTime": "2026-11-22T09:30:00Z",
        "data": {
            "authorization": {"scope": resource, "action": operation}, "claims": {"name": "Ada Lovelace"},
            "operationName": operation, "resourceProvider": "Microsoft.ContainerRegistry", "resourceUri": resource,
            "status": "Succeeded", "subscriptionId": DEFAULT_SUBSCRIPTION,
        },
        "dataVersion": "2",
        "metadataVersion": "1",
    }  # fmt: skip


def fan_out(event_id: str = "event") -> dict[str, Any]:
    """A message of the queue fan-outs."""
    return {
        "version": 1, "id": event_id, "cause": "base-image-pushed",
        "image": {"repository": "baseimages/node", "tag": "15-alpine", "digest": f"sha256:{'a' * 64}"},
        "pushedAt": "2026-11-22T09:30:00Z", "requestedAt": "2026-11-22T09:30:01Z",
    }  # fmt: skip


def rebuild_request(registry: str = "myregistry") -> dict[str, Any]:
    """A message of the queue rebuild-requests."""
    return {
        "version": 1, "id": f"event:{registry}:helloworldtask", "registry": f"{REGISTRIES}/{registry}",
        "task": "helloworldtask", "cause": "base-image-pushed", "eventId": "event",
        "requestedAt": "2026-11-22T09:30:00Z",
        "image": {"repository": "baseimages/node", "tag": "15-alpine", "digest": f"sha256:{'a' * 64}"},
    }  # fmt: skip


def run_check(registry: str = "myregistry") -> dict[str, Any]:
    """A message of the queue run-checks."""
    return {
        "version": 1, "request": rebuild_request(registry), "runId": "cf1", "build": f"sha256:{'a' * 64}",
        "scheduledAt": "2026-11-22T09:30:00Z",
    }  # fmt: skip


ONE_REGISTRY = {"registry": "myregistry"}
ONE_RUN = {**ONE_REGISTRY, "runId": "cf1"}

INVOCATIONS: dict[str, Callable[[Worker], Awaitable[Reply]]] = {
    "base_image_pushed": lambda w: w.event_grid("base_image_pushed", image_pushed()),
    "team_registry_changed": lambda w: w.event_grid("team_registry_changed", registry_written()),
    "fan_out_requested": lambda w: w.queue("fan_out_requested", json.dumps(fan_out())),
    "rebuild_requested": lambda w: w.queue("rebuild_requested", json.dumps(rebuild_request())),
    "run_followed": lambda w: w.queue("run_followed", json.dumps(run_check())),
    "queues_watched": lambda w: w.timer("queues_watched"),
    "start_run": lambda w: w.http("start_run", "/api/registries/myregistry/runs", ONE_REGISTRY),
    "start_fleet": lambda w: w.http("start_fleet", "/api/runs", body=b'{"all": true}'),
    "replay": lambda w: w.http("replay", "/api/rebuilds/replay"),
    "show_registry": lambda w: w.http("show_registry", "/api/registries/myregistry", ONE_REGISTRY),
    "show_run": lambda w: w.http("show_run", "/api/registries/myregistry/runs/cf1", ONE_RUN),
    "show_log": lambda w: w.http("show_log", "/api/registries/myregistry/runs/cf1/logs", ONE_RUN),
}
"""A sound invocation of each function."""

EVENT_FUNCTIONS = ("base_image_pushed", "team_registry_changed")
HTTP_FUNCTIONS = ("start_run", "start_fleet", "replay", "show_registry", "show_run", "show_log")

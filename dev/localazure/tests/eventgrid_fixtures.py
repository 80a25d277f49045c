"""A registry, a group and a webhook, and shorthands to subscribe the one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dev.localazure.tests.webhook import Webhook, good
from dev.testing.azure import SUBSCRIPTION, Client, Reply

GROUP = f"{SUBSCRIPTION}/resourceGroups/events"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/mybaseregistry"
TOPICS = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/letters"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/myapp"
VERSION = "2025-02-15"
PUSHED = "Microsoft.ContainerRegistry.ImagePushed"


def push(tag: str = "15-alpine", **changes: Any) -> dict[str, Any]:
    """An ImagePushed event as a registry raises it."""
    return {
        "id": f"event-{tag}", "subject": f"baseimages/node:{tag}", "eventType": PUSHED,
        "eventTime": "2026-11-22T10:00:00.1234567Z", "dataVersion": "2.0",
        "data": {"action": "push", "location": "westus", "target": {"repository": "baseimages/node", "tag": tag,
                                                                    "size": 3023, "digest": "sha256:" + "a" * 64}},
        **changes,
    }  # fmt: skip


@dataclass
class Grid:
    """Shorthands for one owner."""

    owner: Client

    async def prepare(self) -> None:
        good(await self.owner.arm("PUT", GROUP, {"location": "westus"}))
        good(await self.owner.arm("PUT", REGISTRY, {"location": "westus", "sku": {"name": "Standard"}}))

    async def topic(self, name: str = "base", source: str = REGISTRY, **changes: Any) -> Reply:
        kind, location = "Microsoft.ContainerRegistry.Registries", "westus"
        if source == SUBSCRIPTION:
            kind, location = "Microsoft.Resources.Subscriptions", "global"
        body = {"location": location, "properties": {"source": source, "topicType": kind}, **changes}
        return await self.owner.arm("PUT", f"{TOPICS}/{name}", body, api_version=VERSION)

    async def subscribe(self, url: str, *, on: str = REGISTRY, name: str = "sub", **properties: Any) -> Reply:
        destination = {"endpointType": "WebHook", "properties": {"endpointUrl": url}}
        body = {"properties": {"destination": destination, **properties}}
        path = f"{on}/eventSubscriptions/{name}" if "/systemTopics/" in on else \
            f"{on}/providers/Microsoft.EventGrid/eventSubscriptions/{name}"  # fmt: skip
        return await self.owner.arm("PUT", path, body, api_version=VERSION)

    async def publish(self, *events: dict[str, Any], source: str = REGISTRY) -> None:
        for event in events:
            good(await self.owner.control("POST", "/events", {"source": source, "event": event}), 202)

    async def idle(self) -> None:
        """Wait until nothing waits for its delivery."""
        reply = await self.owner.control("GET", "/idle?timeout=10")
        assert reply.body["idle"], reply.body

    async def counts(self, name: str = "sub") -> dict[str, int]:
        counts = (await self.owner.control("GET", "/deliveries")).body["counts"]
        return next(c for c in counts if c.pop("subscription").endswith(f"/{name}"))

    async def dead_letters(self) -> list[dict[str, Any]]:
        return list((await self.owner.control("GET", "/deadletters")).body)


async def ready(owner: Client, hook: Webhook, **properties: Any) -> Grid:
    """Return a grid whose registry delivers to the webhook."""
    grid = Grid(owner)
    await grid.prepare()
    good(await grid.subscribe(hook.url, **properties), 201)
    return grid

"""Subscriptions of teams beside the one that has the base registry and the app."""

from __future__ import annotations

from dataclasses import dataclass

from dev.sandbox import infra
from dev.sandbox.cloud import Cloud
from dev.sandbox.deployment import PLACE


@dataclass(frozen=True)
class Further(infra.Place):
    """Such a subscription: its `group` holds registries and the system topic of their events."""

    @classmethod
    def number(cls, number: int) -> Further:
        """Return one by its number, from 1."""
        group = f"/subscriptions/00000000-0000-0000-0001-{number:012}/resourceGroups/teams"
        return cls(group=group, base_registry=PLACE.base_registry)

    @property
    def site(self) -> str:
        """The one function app."""
        return PLACE.site

    @property
    def storage_account(self) -> str:
        """Its storage account."""
        return PLACE.storage_account

    async def create(self, cloud: Cloud, principal: str) -> None:
        """Create subscription and group, and give the app (`principal`) its roles there."""
        await cloud.control("POST", "/subscriptions", {"subscriptionId": self.subscription.rpartition("/")[2]})
        await cloud.arm("PUT", self.group, {"location": self.location})
        for role in infra.role_assignments(self, principal).values():
            if role.path.startswith(f"{self.subscription}/providers/"):
                await cloud.arm("PUT", role.path, role.body)

    async def subscribe(self, cloud: Cloud) -> None:
        """Let the app hear the subscription's events, wherever its host is from now on."""
        topic = next(put for put in infra.topics(self) if put.path == self.topic("teamSubscriptions"))
        principal = (await cloud.arm("PUT", topic.path, topic.body))["identity"]["principalId"]
        for put in infra.role_assignments(self, principal, of="topicAssignments").values():
            await cloud.arm("PUT", put.path, put.body)
        for put in infra.event_subscriptions(self):
            if put.path.startswith(f"{topic.path}/"):
                await cloud.arm("PUT", put.path, put.body)

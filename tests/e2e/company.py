"""What end-to-end tests do to a running Groundswell and see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dev.sandbox import infra
from dev.testing.azure import Reply
from dev.testing.functions_host import FunctionsHost, eventually
from tests.integration.world import BASE, GROUP, ROLES, TEAM, World, registry_id

PLACE = infra.Place(GROUP, registry_id(BASE))
SITE = PLACE.site
EVENT_GRID = "2022-06-15"


@dataclass
class Company:
    """A company and its running Groundswell."""

    world: World
    host: FunctionsHost

    async def api(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Call the HTTP API with the function key."""
        headers["x-functions-key"] = self.host.ready["functionKey"]
        options: dict[str, Any] = {"json": body} if isinstance(body, dict) else {"data": body}
        if body is None:
            # aiohttp would announce a body all the same.
            options["skip_auto_headers"] = ["Content-Type"]
        return await self.world.owner.request(method, f"{self.host.url}/api{path}", headers=headers, **options)

    async def runs_ended(self, count: int, registry: str = TEAM) -> list[dict[str, Any]]:
        """Wait until a registry has had this many runs and all have ended; return them, newest first."""

        async def ended() -> list[dict[str, Any]]:
            runs = await self.world.runs(registry)
            done = all(run["status"] not in ("Queued", "Started", "Running") for run in runs)
            return runs if len(runs) >= count and done else []

        runs: list[dict[str, Any]] = await eventually(ended)
        return runs

    async def followed(self, count: int, registry: str = TEAM) -> None:
        """Wait until so many runs of a registry have ended and Groundswell has recorded how: nothing is under way."""
        await self.runs_ended(count, registry)

        async def recorded() -> bool:
            return [row["state"] for row in await self.world.ledger("run|", registry)] == ["ended"] * count

        await eventually(recorded)

    def task_writes(self) -> list[dict[str, Any]]:
        """Return the app's writes of tasks, as the journal has them."""
        return list(self.world.azure.journal.since(caller=self.world.app.name, operation=".*/tasks/write"))

    async def deliver(self, function: str, event: dict[str, Any]) -> int:
        """Deliver an event to a function as Event Grid does; return the status of the answer."""
        url = f"{self.host.url}/runtime/webhooks/eventgrid"
        query = {"functionName": function, "code": self.host.ready["eventGridKey"]}
        headers = {"aeg-event-type": "Notification"}
        return (await self.world.owner.request("POST", url, params=query, json=[event], headers=headers)).status

    async def unsubscribe(self) -> None:
        """Take the event subscriptions away, so that only what a test does happens."""
        for topic in (put.path for put in infra.topics(PLACE)):
            reply = await self.world.arm("GET", f"{topic}/eventSubscriptions", api_version=EVENT_GRID)
            for subscription in reply.body["value"]:
                await self.world.arm("DELETE", subscription["id"], api_version=EVENT_GRID)

    async def logged(self, text: str) -> str:
        """Wait until the host has logged a text; return that line."""

        async def line() -> str:
            return next((line for line in self.host.log.splitlines() if text in line), "")

        found: str = await eventually(line)
        return found

    async def ready(self, registry: str = TEAM) -> dict[str, Any]:
        """Wait until the API says that all conditions of a registry hold; return what it says."""

        async def shown() -> dict[str, Any]:
            reply = await self.api("GET", f"/registries/{registry}")
            return reply.body if reply.status == 200 and all(t.get("ready") for t in reply.body["tasks"]) else {}

        body: dict[str, Any] = await eventually(shown)
        return body


async def wire(world: World, host: FunctionsHost) -> None:
    """Make the function app known and subscribe it to events, as infra/event-subscriptions.json says."""
    reply = await world.owner.control("POST", "/sites", infra.site(PLACE, host.ready))
    assert reply.status == 201, reply.text
    for topic in infra.topics(PLACE):
        identity = (await world.arm("PUT", topic.path, topic.body, api_version=EVENT_GRID)).body["identity"]
        roles = infra.role_assignments(PLACE, identity["principalId"], of="topicAssignments")
        for role in roles.values():
            reply = await world.owner.arm("PUT", role.path, role.body, api_version=ROLES)
            assert reply.status == 201 or reply.body["error"]["code"] == "RoleAssignmentExists", reply.text
    for subscription in infra.event_subscriptions(PLACE):
        await world.arm("PUT", subscription.path, subscription.body, api_version=EVENT_GRID)

"""What happens to a company: events, requests, time that passes, and an app that works off its queue."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dev.testing.azure import SUBSCRIPTION
from dev.testing.functions_host import eventually
from shared.adapters.walk_messages import WALKS
from shared.app import App as Groundswell
from shared.domain.moments import Clock
from shared.domain.state.known import Known
from shared.domain.state.steps import Step
from shared.flows.asking import Started
from tests.integration.company_life import push_event
from tests.integration.world import BASE, IMAGE, OPTED_IN, TEAM, Spoil, World, registry_id

MINUTE, HOUR = 60.0, 3600.0
TASK = "helloworldtask"


@dataclass
class Company(World):
    """A company whose app has Azure's clock."""

    def build(
        self, changes: Mapping[str, str], *, clock: Clock | None = None, spoil: Spoil | None = None
    ) -> Groundswell:
        """Build the app of a worker whose walks let time pass where they wait."""
        app = super().build(changes, clock=clock or self.azure.clock.now, spoil=spoil)
        walking = replace(app.calls.walking, sleep=self.wait)
        return replace(app, calls=replace(app.calls, walking=walking))

    async def wait(self, seconds: float) -> None:
        """Let time pass, and runs end that take none."""
        self.azure.clock.advance(seconds)
        if self.azure.agent.pace == 0:
            await self.runs_end()

    async def runs_end(self) -> None:
        """Wait until no run is under way."""

        async def idle() -> bool:
            kind = "Microsoft.ContainerRegistry/registries/runs"
            return all("finishTime" in run.properties for run in self.azure.state.of_type(kind))

        await eventually(idle)


async def later(company: Company, seconds: float, **settings: str) -> None:
    """Let time pass, in Azure and for the app. What a worker has cached is forgotten."""
    await company.wait(seconds)
    await company.reconnect(**settings)


# -- events ------------------------------------------------------------------------------------------------------------


async def deliver(company: Company, event: Mapping[str, Any]) -> None:
    """Deliver an event; what it leads to waits in the queue."""
    hear = (
        company.groundswell.hearing.base_image_pushed
        if event["eventType"].endswith("ImagePushed")
        else company.groundswell.hearing.team_registry_changed
    )
    if message := hear(event):
        await company.send(WALKS, message.encode())


async def push(company: Company, text: str, *, image: str = IMAGE, registry: str = BASE) -> str:
    """Push a base image and deliver its event; return the digest."""
    digest = await company.push(text, image=image, registry=registry)
    await deliver(company, push_event(digest, image=image, registry=registry, at=company.azure.clock.now()))
    return digest


def change_event(registry_arm_id: str, *, deleted: bool = False) -> dict[str, Any]:
    """Return the event of a registry that was created, changed or deleted."""
    kind, action = ("ResourceDeleteSuccess", "delete") if deleted else ("ResourceWriteSuccess", "write")
    data = {"operationName": f"Microsoft.ContainerRegistry/registries/{action}", "resourceUri": registry_arm_id}
    return {"id": str(uuid.uuid4()), "eventType": f"Microsoft.Resources.{kind}", "data": data}


async def set_tags(company: Company, tags: dict[str, str], registry: str = TEAM) -> None:
    """Change a registry's tags, as its team does, and deliver the event."""
    await company.arm("PATCH", registry_id(registry), {"tags": tags}, api_version="2026-09-01-preview")
    await deliver(company, change_event(registry_id(registry)))


async def fleet(company: Company, count: int) -> list[str]:
    """Create registries that opted in; return their names."""
    names = [f"team{number:03}" for number in range(count)]
    for name in names:
        await company.create_registry(name, tags=OPTED_IN)
    return names


# -- requests ----------------------------------------------------------------------------------------------------------


async def ask(company: Company, registry: str = TEAM, key: str = "", **body: str) -> Started:
    """Ask for a run, as `POST /api/registries/{registry}/runs` does."""
    return await company.groundswell.asking.start_run(registry, json.dumps(body).encode() if body else b"", key)


async def ask_for_all(company: Company, **body: str) -> int:
    """Ask for the whole fleet, or for what `body` names, as `POST /api/runs` does; return how many targets that is."""
    message, count = await company.groundswell.asking.start_fleet(json.dumps(body or {"all": True}).encode())
    await company.send(WALKS, message.encode())
    return count


# -- work --------------------------------------------------------------------------------------------------------------


async def work_off(company: Company, most: int = 60) -> None:
    """Handle the messages of the queue until there is none."""
    for _ in range(most):
        if not await work_once(company):
            return
    raise AssertionError("the queue is never empty")


async def work_once(company: Company) -> int:
    """Handle the messages that are in the queue now; return how many those were."""
    messages = await company.take(WALKS)
    for message in messages:
        await company.groundswell.calls.called(company.encode(message), uuid.uuid4().hex)
    return len(messages)


async def walk(company: Company) -> None:
    """Give every subscription a reason to be walked, as time does, and work off the queue."""
    await company.groundswell.waking.raise_all(company.groundswell.settings.subscriptions)
    await work_off(company)


# -- what is on record -------------------------------------------------------------------------------------------------


async def known(company: Company, registry: str = TEAM, task: str = TASK) -> Known:
    """Return what is known of a target."""
    for subscription in company.groundswell.settings.subscriptions:
        if row := await company.groundswell.state.target(subscription, task, registry):
            return row.value
    raise AssertionError(f"nothing is known of {registry}")


async def stands(company: Company, registry: str = TEAM, task: str = TASK) -> Step:
    """Return where a target of the first subscription stands."""
    app, subscription = company.groundswell, SUBSCRIPTION.rpartition("/")[2]
    there, bases = await app.state.subscription(subscription), await app.state.bases()
    listing = await app.fleet.listing((subscription,), max_age=0)
    places = await app.calls.places.all(there, bases, listing.registries)
    return places[f"target|{task}|{registry}"].step(company.azure.clock.now())


async def built(company: Company, registry: str = TEAM) -> list[str]:
    """Return the base digests that a registry's runs were asked for with, oldest first."""
    return [run.content for run in (await known(company, registry)).runs]


async def statuses(company: Company, registry: str = TEAM) -> list[str]:
    """Return how the runs of a registry stand, oldest first."""
    return [str(run["status"]) for run in reversed(await company.runs(registry))]


async def set_aside(company: Company) -> int:
    """Return how many messages were set aside."""
    return await company.waiting(f"{WALKS}-poison")

"""Event Grid: system topics, and event subscriptions to a webhook, which is asked for its consent first."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from dev.conformance.azure_cli.az import Az
from dev.sandbox.cloud import BASE_IMAGE, GROUP, registry_id
from dev.sandbox.world import NotYet

TOPIC = "--resource-group myResourceGroup --name basetopic"
SUBSCRIPTION = "--resource-group myResourceGroup --system-topic-name basetopic --name pushed"
KIND = "eventgrid system-topic event-subscription"
ENDPOINT = "https://hook.azurewebsites.net/api/hook?code=secret"
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class Webhook:
    """A webhook on loopback that notes what it gets.

    Attributes:
        consents: Whether it answers validation events with their code.
        events: The events of all requests, validations included.
    """

    def __init__(self) -> None:
        self.consents = False
        self.events: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Take events."""
        events = await request.json()
        self.events += events
        if events[0]["eventType"] == VALIDATION and self.consents:
            return web.json_response({"validationResponse": events[0]["data"]["validationCode"]})
        return web.Response()

    async def notified(self) -> list[str]:
        """Return the subjects of the events so far, validations aside.

        Raises:
            NotYet: There is none.
        """
        subjects = [event["subject"] for event in self.events if event["eventType"] != VALIDATION]
        if not subjects:
            raise NotYet("no event")
        return subjects


@contextlib.asynccontextmanager
async def _webhook() -> AsyncIterator[tuple[Webhook, str]]:
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/{path:.*}", webhook.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield webhook, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def play(az: Az) -> None:
    """Create, show, list and delete a system topic and event subscriptions, and let an event arrive."""
    await az.ask("login --identity")
    await az.ask("group create --name myResourceGroup --location eastus")
    await az.ask("acr create --resource-group myResourceGroup --name mybaseregistry --sku Standard")
    base = az.names["baseregID"] = registry_id("mybaseregistry")
    await az("eventgrid topic-type show --name Microsoft.ContainerRegistry.Registries", answer="topic_type")
    await az(
        f"eventgrid system-topic create {TOPIC} --location eastus --source {base} "
        "--topic-type Microsoft.ContainerRegistry.Registries",
        answer="system_topic",
    )
    az.names["topicID"] = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/basetopic"
    await az(f"eventgrid system-topic show {TOPIC}", answer="system_topic")
    await az("eventgrid system-topic list --resource-group myResourceGroup", answer="system_topics")
    async with _webhook() as (webhook, url):
        site = {"resourceId": f"{GROUP}/providers/Microsoft.Web/sites/hook", "url": url}
        await az.world.cloud.control("POST", "/sites", site)
        await _subscribe(az, webhook)
        await _resource(az, webhook, url)
    await az(f"eventgrid system-topic delete {TOPIC} --yes", answer="")
    await az(f"eventgrid system-topic show {TOPIC}", fails=True, says=[r"^ERROR: \(ResourceNotFound\)"])


async def _subscribe(az: Az, webhook: Webhook) -> None:
    create = (
        f"{KIND} create {SUBSCRIPTION} --endpoint {ENDPOINT} --subject-begins-with baseimages "
        "--included-event-types Microsoft.ContainerRegistry.ImagePushed"
    )
    await az(
        create, fails=True, says=[r"^ERROR: \(Url validation\) Webhook validation handshake failed for https://hook\."]
    )
    webhook.consents = True
    await az(create, answer="event_subscription")
    await az(f"{KIND} show {SUBSCRIPTION}", answer="event_subscription")
    await az(
        f"{KIND} show {SUBSCRIPTION} --include-full-endpoint-url true --query destination.endpointUrl", answer=ENDPOINT
    )
    await az(
        f"{KIND} list --resource-group myResourceGroup --system-topic-name basetopic", answer="event_subscriptions"
    )
    await az(
        f"{KIND} update {SUBSCRIPTION} --endpoint {ENDPOINT} --subject-ends-with :15-alpine "
        "--query filter.subjectEndsWith",
        answer=":15-alpine",
    )
    # Without the endpoint the CLI sends back the null that Azure shows for it (Azure/azure-cli#11627).
    await az(
        f"{KIND} update {SUBSCRIPTION} --subject-ends-with :16-alpine",
        fails=True,
        says=[r"Supplied URL is invalid\. It cannot be null or empty and should be a proper HTTPS URL"],
    )
    await az.world.cloud.push_base_image("pushed")
    subjects = await az.world.until("the event of the push to arrive", webhook.notified)
    await az(
        f"{KIND} delete {SUBSCRIPTION} --yes",
        answer="",
        differs=[] if subjects == [BASE_IMAGE] else [f"the push before it brought the events {subjects}"],
    )


async def _resource(az: Az, webhook: Webhook, url: str) -> None:
    kind, names = "eventgrid event-subscription", f"--source-resource-id {az.names['baseregID']} --name everything"
    await az(f"{kind} create {names} --endpoint {ENDPOINT}", answer="resource_subscription")
    await az(f"{kind} show {names}", answer="resource_subscription")
    await az(f"{kind} list --source-resource-id {az.names['baseregID']}", answer="resource_subscriptions")
    await az(f"{kind} delete {names}", answer="")
    await az(f"{kind} list --source-resource-id {az.names['baseregID']}", answer=[])

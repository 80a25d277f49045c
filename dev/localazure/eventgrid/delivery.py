"""Delivery: at least once, in no particular order, again and again on Event Grid's schedule, then the dead letter.

https://learn.microsoft.com/azure/event-grid/delivery-and-retry. Not simulated: the delayed delivery of endpoints that
fail for long ("probation"), the longer waits after 401, 404, 408 and 503, the removal of an event from the retry queue
when its endpoint answers late, and the four hours for which Event Grid tries to write a dead letter: what it may not
write is dropped at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.eventgrid import schemas
from dev.localazure.eventgrid.endpoints import Destination, Endpoints, destination_of, outcome
from dev.localazure.sites import Sites
from dev.localazure.state import Blob, Delivery, Resource, new_guid

RETRY_SECONDS = (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200)
DEAD_LETTER_SECONDS = 300
JITTER = 0.1
PARALLEL = 64
SUCCESS = frozenset((200, 201, 202, 203, 204))
WRITE_BLOB = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write"


class EventGrid:
    """Queues events for event subscriptions and delivers them.

    Attributes:
        retry_scale: Factor on the waits between attempts (and before a dead letter): 0.01 makes 10 s into 0.1 s.
        response_timeout: How long an endpoint may take to answer, in real seconds (Azure: 30), because what answers
            runs in real time whatever Azure's clock does.
        duplicate: How many extra times every event is delivered, with the same id, as "at least once" allows.
        shuffle: Seconds (Azure's clock) for which events are held back and then sent in random order; 0 sends at once.
        attempts: The newest delivery attempts, for people and tests to read.
    """

    def __init__(self, core: Core, sites: Sites) -> None:
        """Start with nothing to deliver."""
        self._core, self._sites = core, sites
        self.endpoints = Endpoints(core, sites, lambda: self.response_timeout)
        self.retry_scale = 1.0
        self.response_timeout = 30.0
        self.duplicate = 0
        self.shuffle = 0.0
        self.attempts: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._made = 0
        self._counts: dict[str, Counter[str]] = {}
        self._held: dict[str, list[tuple[dict[str, Any], str]]] = {}
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}
        core.on_forget.append(self._forget)

    # -- what others see -------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many events are not delivered, dropped or dead-lettered yet."""
        waiting = sum(len(delivery.events) for delivery in self._core.state.deliveries.values())
        return waiting + sum(len(events) for events in self._held.values())

    def counts(self) -> list[dict[str, Any]]:
        """Return, for each event subscription, how many events were matched, delivered, dropped and so on."""
        return [
            {"subscription": subscription.id, **{name: self._counts.get(subscription.id.lower(), Counter())[name]
             for name in ("matched", "delivered", "failedAttempts", "dropped", "deadLettered")}}
            for subscription in self.subscriptions()
        ]  # fmt: skip

    def subscriptions(self) -> list[Resource]:
        """Return all event subscriptions, on system topics and as extension resources."""
        state = self._core.state
        return [*state.of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions"),
                *state.of_type("Microsoft.EventGrid/eventSubscriptions")]  # fmt: skip

    def enqueue(self, subscription: Resource, event: dict[str, Any]) -> None:
        """Take an event that passed the filter of an event subscription."""
        key = subscription.id.lower()
        self._count(key, "matched")
        now = iso(self._core.clock.now())
        first = key not in self._held
        self._held.setdefault(key, []).extend([(event, now)] * (1 + self.duplicate))
        if first:
            self._spawn(key, self._flush(subscription))

    def resume(self) -> None:
        """Go on with deliveries that an earlier run of localazure left behind."""
        for name, delivery in self._core.state.deliveries.items():
            self._spawn(delivery.subscription.lower(), self._deliver(name, delivery))

    async def stop(self) -> None:
        """Stop delivering; what is undelivered stays in the state."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._held.clear()
        await self.endpoints.stop()

    async def reset(self) -> None:
        """Forget all deliveries."""
        await self.stop()
        self.attempts.clear()
        self._made = 0
        self._counts.clear()
        self._gates.clear()

    # -- the work --------------------------------------------------------------------------------------------------

    def _spawn(self, key: str, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = key
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _forget(self, resource: Resource) -> None:
        """Drop what a deleted event subscription had not delivered."""
        key = resource.id.lower()
        self._held.pop(key, None)
        self._gates.pop(key, None)
        self._counts.pop(key, None)
        for task, owner in list(self._tasks.items()):
            if owner == key:
                task.cancel()
        deliveries = self._core.state.deliveries
        for name in [n for n, delivery in deliveries.items() if delivery.subscription.lower() == key]:
            del deliveries[name]

    def _count(self, key: str, name: str, amount: int = 1) -> None:
        self._counts.setdefault(key, Counter())[name] += amount

    async def _flush(self, subscription: Resource) -> None:
        """Turn what came in together into deliveries of at most the batch size."""
        key = subscription.id.lower()
        await self._core.clock.sleep(self.shuffle)
        events = self._held.pop(key, [])
        if self.shuffle:
            random.shuffle(events)
        size = destination_of(subscription.properties).max_events
        for start in range(0, len(events), size):
            part = events[start : start + size]
            delivery = Delivery(subscription.id, [event for event, _ in part], published=part[0][1],
                                due=iso(self._core.clock.now()))  # fmt: skip
            name = new_guid()
            self._core.state.deliveries[name] = delivery
            self._spawn(key, self._deliver(name, delivery))

    async def _deliver(self, name: str, delivery: Delivery) -> None:
        clock, key = self._core.clock, delivery.subscription.lower()
        while not delivery.dead:
            await clock.sleep_until(datetime.fromisoformat(delivery.due))
            subscription = self._core.state.get(key)
            if subscription is None:
                break
            policy = subscription.properties["retryPolicy"]
            expiry = datetime.fromisoformat(delivery.published) + timedelta(minutes=policy["eventTimeToLiveInMinutes"])
            if clock.now() >= expiry:
                self._give_up(delivery, "TimeToLiveExceeded")
                break
            destination = destination_of(subscription.properties)
            async with self._gates.setdefault(key, asyncio.Semaphore(PARALLEL)):
                status = await self._attempt(subscription, destination, delivery)
            if status in SUCCESS:
                self._count(key, "delivered", len(delivery.events))
                break
            self._count(key, "failedAttempts")
            if status in destination.fatal:
                self._give_up(delivery, f"UndeliverableDueToHttp{delivery.outcome}")
            elif delivery.attempts >= policy["maxDeliveryAttempts"]:
                self._give_up(delivery, "MaxDeliveryAttemptsExceeded")
            else:
                wait = RETRY_SECONDS[min(delivery.attempts, len(RETRY_SECONDS)) - 1] * random.uniform(1, 1 + JITTER)
                self._schedule(delivery, wait)
        if delivery.dead:
            await clock.sleep_until(datetime.fromisoformat(delivery.due))
            self._bury(delivery)
        self._core.state.deliveries.pop(name, None)

    def _schedule(self, delivery: Delivery, seconds: float) -> None:
        delivery.due = iso(self._core.clock.now() + timedelta(seconds=seconds * self.retry_scale))

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        delivery.dead = reason
        subscription = self._core.state.get(delivery.subscription)
        if subscription is not None and dead_letter_container(subscription.properties):
            self._schedule(delivery, DEAD_LETTER_SECONDS)

    async def _attempt(self, subscription: Resource, destination: Destination, delivery: Delivery) -> int:
        """Send a delivery once and note how it went; return the HTTP status, 0 for no answer."""
        body, content_type = schemas.delivery(
            subscription.properties["eventDeliverySchema"], delivery.events, batched=destination.max_events > 1
        )
        first = delivery.events[0]
        headers = {
            "Content-Type": content_type, "aeg-event-type": "Notification",
            "aeg-subscription-name": subscription.name.upper(), "aeg-delivery-count": str(delivery.attempts),
            "aeg-data-version": str(first.get("dataVersion", "")), "aeg-metadata-version": "1",
        }  # fmt: skip
        now, started, status = self._core.clock.now(), time.monotonic(), 0
        url = self.endpoints.url_of(destination)
        if url is None:
            status = 404
        elif self._sites.is_stopped(destination.target):
            status = 403
        else:
            try:
                status, _, _ = await self.endpoints.request("POST", url, data=body, headers=headers)
            except (OSError, aiohttp.ClientError, TimeoutError):
                status = 0
        delivery.attempts += 1
        delivery.attempted, delivery.outcome = iso(now, zulu=True), outcome(status)
        self._made += 1
        self.attempts.append({
            "number": self._made, "at": iso(now), "subscription": subscription.name, "attempt": delivery.attempts,
            "status": status, "outcome": delivery.outcome, "seconds": time.monotonic() - started,
            "events": [{name: e.get(name) for name in ("id", "eventType", "subject")} for e in delivery.events],
        })  # fmt: skip
        return status

    def _bury(self, delivery: Delivery) -> None:
        """Write the dead letter; without a dead-letter destination the events are dropped and counted."""
        key = delivery.subscription.lower()
        subscription = self._core.state.get(key)
        container = dead_letter_container(subscription.properties) if subscription else ""
        if subscription is None or not container or not self._may_write(subscription, container):
            self._count(key, "dropped", len(delivery.events))
            return
        fate = {
            "deadLetterReason": delivery.dead, "deliveryAttempts": delivery.attempts,
            "lastDeliveryOutcome": delivery.outcome,
            "publishTime": iso(datetime.fromisoformat(delivery.published), zulu=True),
            "lastDeliveryAttemptTime": delivery.attempted,
        }  # fmt: skip
        schema = subscription.properties["eventDeliverySchema"]
        letters = [schemas.dead_letter(schema, event, fate) for event in delivery.events]
        now = self._core.clock.now()
        blob = Blob(bytearray(json.dumps(letters).encode()), modified=iso(now))
        path = f"{subscription.name.upper()}/{now.year}/{now.month}/{now.day}/{now.hour}/{new_guid()}.json"
        self._core.state.blobs[f"{container}/{path}"] = blob
        self._count(key, "deadLettered", len(delivery.events))

    def _may_write(self, subscription: Resource, container: str) -> bool:
        """Tell whether the dead letter can be written: with an identity, only if that has a role for it.

        https://learn.microsoft.com/azure/event-grid/managed-service-identity
        """
        if "deadLetterWithResourceIdentity" not in subscription.properties:
            return True
        account = _dead_letter(subscription.properties)["resourceId"]
        topic = self._core.state.get(subscription.id.rpartition("/eventSubscriptions/")[0])
        principal = str(((topic and topic.identity) or {}).get("principalId") or "")
        scope = f"{account}/blobServices/default/containers/{container}"
        return self._core.rbac.allows(principal, WRITE_BLOB, scope, data=True)


def _dead_letter(properties: dict[str, Any]) -> dict[str, Any]:
    managed = properties.get("deadLetterWithResourceIdentity") or {}
    block = properties.get("deadLetterDestination") or managed.get("deadLetterDestination") or {}
    return dict(block.get("properties") or {})


def dead_letter_container(properties: dict[str, Any]) -> str:
    """Return the blob container for dead letters of an event subscription, "" if it has none."""
    return str(_dead_letter(properties).get("blobContainerName") or "")

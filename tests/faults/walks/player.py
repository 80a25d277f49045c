"""Plays a story: Event Grid, the queue and two workers, on the local Azure with real tables and the real SDKs.

It stands for the Functions host: messages come when they are due, come again when their worker dies, and are set aside
after five failures.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.queue.aio import QueueServiceClient

from dev.localazure.journal import Fault
from shared import settings
from shared.adapters.clients import Clients
from shared.adapters.walk_messages import WALKS
from shared.app import App, build
from shared.domain.errors import GroundswellError
from shared.domain.state import walk as walks
from tests.faults.player import MAX_DEQUEUE_COUNT, POLICY, REPOSITORY, RUN, Team, company
from tests.faults.script import FAULTS, TARGETS, Change, Disturb, Manual, Wait
from tests.faults.walks import queue
from tests.faults.walks.checks import all_problems, outdated
from tests.faults.walks.places import SUBSCRIPTIONS, group_of
from tests.faults.walks.queue import Message
from tests.faults.walks.script import Deliver, Everybody, Lose, LoseTable, Push, Step, Storage, Story, Work
from tests.faults.wire import Life, tapped
from tests.integration.company_life import OTHER_GROUP, OTHER_SUBSCRIPTION
from tests.integration.world import BASE, SYSTEM_ASSIGNED, USER_ASSIGNED, World, registry_id

TASK_ROLE = "fb382eab-e894-4461-af04-94435c366c3f"
AGAIN, LEASE = 60, 600
"""Seconds after which the host lets a message come again: one that failed, one whose worker is dead."""

_ROUNDS = 150
_OFTEN = 40
"""How often a message may ask Azure for the same thing."""


@dataclass
class Player:
    """A company that a story happens to."""

    world: World
    story: Story
    queue: queue.Queues
    tables: list[tuple[str | int, int]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    workers: list[App] = field(default_factory=list)
    teams: dict[str, Team] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    step: int = 0
    lost: bool = False
    _seen: int = 0

    async def play(self) -> None:
        """Let the story happen, then let the company come to rest."""
        world, story = self.world, self.story
        world.write_policy(SYSTEM_ASSIGNED if story.identity == "system" else USER_ASSIGNED, POLICY)
        world.azure.rbac.delay = timedelta(seconds=story.grant_delay)
        world.azure.agent.pace = story.pace
        self.workers = [self._worker(), self._worker()]
        for step in (Push(("15-alpine",), "zero"), *story.steps):
            await self._perform(step)
        world.azure.front.faults.clear()
        self.queue.faults.clear()
        self.tables.clear()
        await self._rest()
        if not self.lost:
            self.problems += [f"before the sweep: {problem}" for problem in await outdated(self)]
        # The sweep looks at the base registry, and has every subscription walked.
        await self.workers[0].calls.base_images.look()
        await self.workers[0].waking.raise_all(SUBSCRIPTIONS)
        await self._rest()

    async def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            await worker.close()

    def _worker(self) -> App:
        """Return a worker's app on Azure's clock; where it would wait, time passes."""
        clock = self.world.azure.clock
        values = settings.load({**self.world.settings, "GROUNDSWELL_SUBSCRIPTIONS": ",".join(SUBSCRIPTIONS)})
        queues = QueueServiceClient.from_connection_string(
            self.world.storage, transport=self.queue, retry_total=1, initial_backoff=0, random_jitter_range=0
        )
        app = build(values, clock=clock.now, clients=partial(Clients, queues=queues))
        walking = replace(app.calls.walking, sleep=self._sleep)
        return replace(app, calls=replace(app.calls, walking=walking))

    async def _sleep(self, seconds: float) -> None:
        self.world.azure.clock.advance(seconds)
        await asyncio.sleep(0.01)

    async def _restart(self, index: int) -> None:
        await self.workers[index].close()
        self.workers[index] = self._worker()

    async def _perform(self, step: Step) -> None:
        self.step += 1
        act: dict[type, Callable[[Any], Coroutine[Any, Any, None]]] = {
            Push: self._push, Change: self._change, Deliver: self._deliver, Lose: self._lose, Work: self._work,
            Manual: self._manual, Everybody: self._everybody, Disturb: self._disturb, Storage: self._storage,
            LoseTable: self._lose_table, Wait: self._wait,
        }  # fmt: skip
        await act[type(step)](step)
        self._note_events()
        self._count_messages()

    # -- what happens --------------------------------------------------------------------------------------------------

    async def _push(self, step: Push) -> None:
        for tag in step.tags:
            await self.world.push(step.content, image=f"{REPOSITORY}:{tag}")
            self.world.azure.clock.advance(1)

    async def _change(self, step: Change) -> None:
        team, group = self.teams.setdefault(step.registry, Team(step.registry)), group_of(step.registry)
        if step.state == "deleted":
            if team.exists:
                await self.world.arm("DELETE", registry_id(team.name, group))
            team.exists, team.selected_since = False, None
            return
        tags = {"base-image-rebuilds": step.state}
        if team.exists:
            path = registry_id(team.name, group)
            await self.world.arm("PATCH", path, {"tags": tags}, api_version="2026-09-01-preview")
        else:
            await self.world.create_registry(team.name, group=group, tags=tags)
        team.exists = True
        team.selected_since = self.step if step.state == "enabled" else None

    async def _disturb(self, step: Disturb) -> None:
        fault: dict[str, Any] = {**TARGETS[step.target], **FAULTS[step.fault]}
        self.world.azure.front.faults.append(Fault(caller=self.world.app.name, times=step.times, **fault))

    async def _storage(self, step: Storage) -> None:
        faults = [*[""] * step.skip, *[step.fault] * step.times]
        (self.queue.faults if step.service == "queue" else self.tables).extend(faults)  # type: ignore[arg-type]

    async def _lose_table(self, step: LoseTable) -> None:
        del step
        self.lost = True
        self.world.table = f"{self.world.table}x"
        for index in range(len(self.workers)):
            await self._restart(index)

    async def _wait(self, step: Wait) -> None:
        self.world.azure.clock.advance(step.seconds)
        await asyncio.sleep(0.05)

    async def _lose(self, step: Lose) -> None:
        if self.events:
            self.events.pop(step.pick % len(self.events))
            self.lost = True

    async def _deliver(self, step: Deliver) -> None:
        if not self.events:
            return
        event = self.events.pop(step.pick % len(self.events))
        if step.copy:
            now = self.world.azure.clock.now().isoformat()
            self.events.append(
                {**event, "id": str(uuid.uuid4()), "eventTime": now} if step.copy == "replica" else event
            )
        worker = self.workers[0]
        try:
            if event["eventType"] == "Microsoft.ContainerRegistry.ImagePushed":
                message = worker.hearing.base_image_pushed(event)
            else:
                message = worker.hearing.team_registry_changed(event)
        except GroundswellError:
            self.events.append(event)
            return
        if message:
            self._put(message)

    def _put(self, message: str) -> None:
        self.queue.messages.append(Message(WALKS, message.encode(), self.world.azure.clock.now()))

    async def _manual(self, step: Manual) -> None:
        team = self.teams.get(step.registry)
        if team is None or team.selected_since is None:
            return
        asking = self.workers[1].asking

        async def ask() -> None:
            try:
                await asking.start_run(step.registry, b"", step.key)
            except GroundswellError:
                return

        life = Life(step.kill)
        await life.live(ask)
        if life.ended:
            await self._restart(1)

    async def _everybody(self, step: Everybody) -> None:
        del step
        try:
            message, _ = await self.workers[0].asking.start_fleet(b'{"all": true}')
        except GroundswellError:
            return
        self._put(message)

    async def _work(self, step: Work) -> None:
        hands: tuple[list[Message], list[Message]] = [], []
        for number, pick in enumerate(step.picks):
            if visible := self.queue.visible():
                hands[number % 2].append(self.queue.receive(visible[pick % len(visible)], LEASE))
        before = self.world.azure.journal.last
        lives = [Life(kill) for kill in step.kills]
        await asyncio.gather(*(life.live(partial(self._handle_all, i, hands[i])) for i, life in enumerate(lives)))
        for index, life in enumerate(lives):
            if life.ended:
                await self._restart(index)
        self._check_loops(before, len(step.picks))

    async def _handle_all(self, index: int, messages: list[Message]) -> None:
        await asyncio.gather(*(self._handle(self.workers[index], message) for message in messages))

    async def _handle(self, worker: App, message: Message) -> None:
        try:
            await worker.calls.called(message.body, uuid.uuid4().hex, again=message.received > 1)
        except Exception as error:
            if not isinstance(error, GroundswellError):
                self.problems.append(f"step {self.step}: {message.body.decode()}: {error!r}")
            message.due = self.world.azure.clock.now() + timedelta(seconds=AGAIN)
            if message.received >= MAX_DEQUEUE_COUNT:
                message.queue = f"{WALKS}-poison"
            return
        if message in self.queue.messages:
            self.queue.messages.remove(message)

    # -- what is looked at meanwhile -----------------------------------------------------------------------------------

    def _check_loops(self, before: int, messages: int) -> None:
        calls = Counter(
            f"{entry['method']} {entry['host']}{entry['path']}"
            for entry in self.world.azure.journal.since(before, caller=self.world.app.name)
            if "oauth2" not in entry["path"]
        )
        for call, count in calls.items():
            if count > _OFTEN * messages:
                self.problems.append(f"step {self.step}: {count} times {call}")

    def _count_messages(self) -> None:
        bodies = [json.loads(message.body) for message in self.queue.messages]
        for subscription, count in Counter(body.get("subscription") for body in bodies).items():
            if subscription and count > self.most:
                self.problems.append(f"step {self.step}: {count} messages of {subscription}")

    @property
    def most(self) -> int:
        """Messages that a subscription may have: two, and those that events, the dead and lost answers leave behind."""
        return 2 + sum(_is_rough(step) for step in self.story.steps)

    def _note_events(self) -> None:
        for event in self.world.azure.events.published:
            number = int(event["number"])
            if number <= self._seen:
                continue
            self._seen = number
            operation = str(event["data"].get("operationName", "")).lower()
            wanted = operation in (
                "microsoft.containerregistry/registries/write", "microsoft.containerregistry/registries/delete"
            )  # fmt: skip
            pushed = event["eventType"] == "Microsoft.ContainerRegistry.ImagePushed"
            if wanted or (pushed and event["topic"] == registry_id(BASE)):
                self.events.append({name: value for name, value in event.items() if name != "number"})

    # -- rest ----------------------------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Let time pass, and everything be handled, until nothing is left to do."""
        for _ in range(_ROUNDS):
            while self.events:
                await self._perform(Deliver(0))
            await self._runs_ended()
            while self.queue.visible():
                await self._perform(Work((0, 0)))
            waiting = [message for message in self.queue.messages if message.queue == WALKS]
            if not waiting and not await self._forgotten():
                return
            soonest = min((message.due for message in waiting), default=self.world.azure.clock.now())
            seconds = (soonest - self.world.azure.clock.now()).total_seconds()
            await self._perform(Wait(max(1, round(seconds + 0.5))))
        self.problems.append(f"never comes to rest: {[m.body.decode() for m in self.queue.messages]}")

    async def _forgotten(self) -> bool:
        """Do as the timer does: wake who was forgotten; tell whether there is somebody."""
        worker, found = self.workers[0], False
        for subscription in SUBSCRIPTIONS:
            there = (await worker.state.walk(subscription)).value
            if there.wanted > there.walked or there.by or there.wake:
                now = self.world.azure.clock.now()
                if walks.is_forgotten(there, now):
                    if not any(map(_is_rough, self.story.steps)):
                        self.problems.append(f"step {self.step}: forgotten: {there}")
                    await worker.waking.raise_one(subscription)
                    found = True
                elif there.wanted > there.walked or there.by:
                    self.world.azure.clock.advance(130)
                    found = True
        return found

    async def _runs_ended(self) -> None:
        async with asyncio.timeout(20):
            while any("finishTime" not in run.properties for run in self.world.azure.state.of_type(RUN)):
                self.world.azure.clock.advance(5)
                await asyncio.sleep(0.005)


def _is_rough(step: Step) -> bool:
    if isinstance(step, Work):
        return any(step.kills)
    if isinstance(step, Change):
        return step.state == "deleted"
    if isinstance(step, Wait):
        # A message that nobody has taken for two minutes counts as lost.
        return step.seconds > 120
    return isinstance(step, Storage | LoseTable) or (isinstance(step, Manual) and step.kill is not None)


@asynccontextmanager
async def wires(player: Player) -> AsyncIterator[None]:
    """Let the faults of table storage happen, and waits of the SDKs take no time."""
    port = f":{player.world.storage.partition('TableEndpoint=')[2].split(':')[2].split('/')[0]}/"
    with tapped(), pytest.MonkeyPatch.context() as patch:
        send = AioHttpTransport.send

        async def watched(self: AioHttpTransport, request: Any, **options: Any) -> Any:
            fault = player.tables.pop(0) if port in request.url and player.tables else ""
            if fault in ("before", 503):
                raise ServiceRequestError("connection cut")
            answer = await send(self, request, **options)
            if fault == "after":
                await answer.load_body()
                raise ServiceResponseError("connection cut")
            return answer

        async def sleep(self: AioHttpTransport, duration: float) -> None:
            del self
            player.world.azure.clock.advance(duration)
            await asyncio.sleep(0)

        patch.setattr(AioHttpTransport, "send", watched)
        patch.setattr(AioHttpTransport, "sleep", sleep)
        yield


async def play(story: Story, storage: str, folder: Path) -> list[str]:
    """Play a story; return what was wrong then and at the end."""
    async with company(storage, folder) as world:
        world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
        await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
        assert world.app.system_assigned
        world.azure.grant(world.app.system_assigned, TASK_ROLE, f"/subscriptions/{OTHER_SUBSCRIPTION}")
        player = Player(world, story, queue.Queues(world.azure.clock))
        try:
            async with wires(player):
                await player.play()
            return [*player.problems, *await all_problems(player)]
        finally:
            await player.close()

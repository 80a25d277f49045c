"""Plays a script: Event Grid, the queues and two workers, on the local Azure with real storage.

It stands for the Functions host, and is less kind: messages come in any order and delays are not kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from dev.localazure.azure import Azure
from dev.localazure.journal import Fault
from dev.testing.azure import AUTHORITY, SUBSCRIPTION, Client
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS
from shared.app import App
from shared.domain.errors import GroundswellError
from shared.flows import fanout
from tests.faults.script import FAULTS, TARGETS, Change, Deliver, Disturb, Kill, Manual, Push, Script, Step, Wait, Work
from tests.faults.wire import Life, tapped
from tests.integration.company_life import HANDLERS
from tests.integration.world import BASE, GROUP, SYSTEM_ASSIGNED, USER_ASSIGNED, World, deploy, registry_id

POLICY = """\
baseRegistry: mybaseregistry
identity: {identity}
tasks:
  - name: helloworldtask
    file: tasks/helloworldtask.yaml
    rebuildOn: ["baseimages/node:15-alpine", "baseimages/node:15.*"]
    registries: {{tags: {{base-image-rebuilds: enabled}}}}
    values:
      contextUrl: https://github.com/Azure-Samples/acr-build-helloworld-node.git#main
      image: hello-world
"""
REPOSITORY = "baseimages/node"
RUN = "Microsoft.ContainerRegistry/registries/runs"
MAX_DEQUEUE_COUNT = 5
_ROUNDS = 60


@dataclass
class Message:
    """A message in a queue."""

    queue: str
    body: bytes
    dequeued: int = 0


@dataclass
class Team:
    """A registry as its team sees it.

    Attributes:
        selected_since: The step at which it was last opted in, or None.
    """

    name: str
    exists: bool = False
    selected_since: int | None = None


@dataclass
class Player:
    """A company that a script happens to."""

    world: World
    script: Script
    step: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    poisoned: list[Message] = field(default_factory=list)
    workers: list[App] = field(default_factory=list)
    born: list[int] = field(default_factory=list)
    teams: dict[str, Team] = field(default_factory=dict)
    moved: dict[str, tuple[int, str]] = field(default_factory=dict)
    last_events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    manual: set[tuple[str, str]] = field(default_factory=set)
    selected_at: list[frozenset[str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    _seen: int = 0

    async def play(self) -> None:
        """Let the script happen, then let the company come to rest."""
        world, script = self.world, self.script
        world.write_policy(SYSTEM_ASSIGNED if script.identity == "system" else USER_ASSIGNED, POLICY)
        world.azure.rbac.delay = timedelta(seconds=script.grant_delay)
        world.azure.agent.pace = script.pace
        self.workers = [self._worker(), self._worker()]
        self.born = [0, 0]
        # What the team's Dockerfile names exists; otherwise runs would fail for a reason of their own.
        for step in (Push("15-alpine", "zero"), *script.steps):
            await self._perform(step)
        world.azure.front.faults.clear()
        await self._rest()
        # Event Grid's last word on each tag and registry comes once more.
        for events in self.last_events.values():
            self.events.extend(events)
        for registry, key in sorted(self.manual):
            await self._perform(Manual(registry, key))
        await self._rest()

    async def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            await worker.close()

    def _worker(self) -> App:
        """Return a worker's app on Azure's clock, so that a test can let time pass."""
        clock = self.world.azure.clock.now
        return self.world.build({"GROUNDSWELL_FLEET_CACHE_SECONDS": str(self.script.cache)}, clock=clock)

    async def _restart(self, index: int) -> None:
        await self.workers[index].close()
        self.workers[index] = self._worker()
        self.born[index] = self.step

    async def _perform(self, step: Step) -> None:
        self.step += 1
        self.selected_at.append(frozenset(t.name for t in self.teams.values() if t.selected_since is not None))
        before = self.world.azure.journal.last
        act: dict[type, Callable[[Any], Coroutine[Any, Any, None]]] = {
            Push: self._push, Change: self._change, Deliver: self._deliver, Work: self._work, Manual: self._manual,
            Disturb: self._disturb, Wait: self._wait,
        }  # fmt: skip
        await act[type(step)](step)
        self._note_events()
        await self._collect()
        self._check_writes(before)

    async def _push(self, step: Push) -> None:
        digest = await self.world.push(step.content, image=f"{REPOSITORY}:{step.tag}")
        if self.moved.get(step.tag, (0, ""))[1] != digest:
            self.moved[step.tag] = self.step, digest

    async def _change(self, step: Change) -> None:
        team = self.teams.setdefault(step.registry, Team(step.registry))
        if step.state == "deleted":
            if team.exists:
                self.deleted.add(team.name)
                await self.world.arm("DELETE", registry_id(team.name))
            team.exists, team.selected_since = False, None
            return
        tags = {"base-image-rebuilds": step.state}
        if team.exists:
            path = registry_id(team.name)
            await self.world.arm("PATCH", path, {"tags": tags}, api_version="2026-09-01-preview")
        else:
            await self.world.create_registry(team.name, tags=tags)
        team.exists = True
        if step.state != "enabled":
            team.selected_since = None
        elif team.selected_since is None:
            team.selected_since = self.step

    async def _disturb(self, step: Disturb) -> None:
        fault: dict[str, Any] = {**TARGETS[step.target], **FAULTS[step.fault]}
        self.world.azure.front.faults.append(Fault(caller=self.world.app.name, times=step.times, **fault))

    async def _wait(self, step: Wait) -> None:
        self.world.azure.clock.advance(step.seconds)
        if step.seconds >= self.script.cache:
            # What workers remember is older than they may use.
            for index in range(len(self.workers)):
                await self._restart(index)

    async def _deliver(self, step: Deliver) -> None:
        if not self.events:
            return
        event = self.events.pop(step.pick % len(self.events))
        if step.copy == "keep":
            self.events.append(event)
        elif step.copy == "replica":
            replica = {**event, "id": str(uuid4())}
            self.events.append(replica)
            self._remember(replica)
        if not await self._receive(event, step.kill):
            self.events.append(event)

    async def _receive(self, event: dict[str, Any], kill: Kill | None) -> bool:
        """Let a function handle an event; tell whether Event Grid is told that it did."""
        worker, done = self.workers[0], False

        async def handle() -> None:
            nonlocal done
            try:
                if event["eventType"] == "Microsoft.ContainerRegistry.ImagePushed":
                    message = worker.fan_outs.base_image_pushed(event)
                    outputs = [(FAN_OUTS, message)] if message else []
                else:
                    messages = await worker.fan_outs.team_registry_changed(event)
                    outputs = [(REBUILD_REQUESTS, message) for message in messages]
            except GroundswellError:
                return
            for queue, message in outputs:
                await worker.queues.put(queue, message.encode())
            done = True

        life = Life(kill)
        await life.live(handle)
        if life.ended:
            await self._restart(0)
        return done

    async def _work(self, step: Work) -> None:
        hands: tuple[list[Message], list[Message]] = [], []
        for number, pick in enumerate(step.picks):
            if self.messages:
                message = self.messages.pop(pick % len(self.messages))
                hands[number % 2].append(message)
                if step.keep and number == 0:
                    self.messages.append(replace(message))
        lives = [Life(kill) for kill in step.kills]
        await asyncio.gather(*(life.live(self._handling(i, hands[i])) for i, life in enumerate(lives)))
        for index, life in enumerate(lives):
            if life.ended:
                for message in hands[index]:
                    # The host that held it is dead; killing is not failing.
                    message.dequeued = 0
                    self.messages.append(message)
                await self._restart(index)

    def _handling(self, index: int, messages: list[Message]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Return what handles messages and takes each out of the list when it is done with it."""
        work = self.workers[index].work

        async def handle(message: Message) -> None:
            message.dequeued += 1
            try:
                await HANDLERS[message.queue](work, message.body)
            except Exception as error:
                if not isinstance(error, GroundswellError):
                    self.problems.append(f"step {self.step}: {message.queue}: {error!r}")
                held = self.poisoned if message.dequeued >= MAX_DEQUEUE_COUNT else self.messages
                held.append(message)
            messages.remove(message)

        async def handle_all() -> None:
            await asyncio.gather(*(handle(message) for message in tuple(messages)))

        return handle_all

    async def _manual(self, step: Manual) -> None:
        team = self.teams.get(step.registry)
        if team is None or team.selected_since is None:
            return
        self.manual.add((step.registry, step.key))
        starts = self.workers[1].starts

        async def ask() -> None:
            # What the person is told does not matter here: they ask again.
            try:
                await starts.start_run(step.registry, b"", step.key)
            except GroundswellError:
                return

        life = Life(step.kill)
        await life.live(ask)
        if life.ended:
            await self._restart(1)

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
            if (wanted and event["topic"] == SUBSCRIPTION) or (pushed and event["topic"] == registry_id(BASE)):
                plain = {name: value for name, value in event.items() if name != "number"}
                self.events.append(plain)
                self._remember(plain, latest=True)

    def _remember(self, event: dict[str, Any], *, latest: bool = False) -> None:
        known = self.last_events.get(event["subject"], [])
        if latest:
            self.last_events[event["subject"]] = [event]
        elif known and known[0]["eventTime"] == event["eventTime"]:
            known.append(event)

    async def _collect(self) -> None:
        for queue in HANDLERS:
            for body in await self.world.take(queue):
                self.messages.append(Message(queue, json.dumps(body).encode()))
            for body in await self.world.take(f"{queue}-poison"):
                self.poisoned.append(Message(queue, json.dumps(body).encode()))

    def _check_writes(self, before: int) -> None:
        """Note each write to a registry that was not selected at any moment that the worker could know of."""
        since = min(self.born) if self.script.cache else self.step
        allowed = frozenset[str]().union(*self.selected_at[max(0, since - 1) :])
        for entry in self.world.azure.journal.since(before, caller=self.world.app.name, host="management.azure.com"):
            parts = entry["path"].split("/registries/")
            if entry["method"] == "GET" or len(parts) < 2 or "/runs/" in parts[1]:
                continue
            name = parts[1].split("/")[0]
            if name != BASE and name not in allowed:
                self.problems.append(f"step {self.step}: {entry['method']} {entry['path']} of an unselected registry")

    async def _rest(self) -> None:
        """Let time pass, and everything be handled, until nothing is left to do."""
        self.world.azure.agent.pace = 0
        for _ in range(_ROUNDS):
            while self.events:
                await self._perform(Deliver(0))
            for _ in range(len(self.messages)):
                await self._perform(Work((0, 0)))
                if not self.messages:
                    break
            if not self.messages and not self.events:
                return
            await self._perform(Wait(130))
            await self._runs_ended()
        waiting = [f"{message.queue}: {message.body.decode()}" for message in self.messages]
        self.problems.append(f"never comes to rest: {waiting}")

    async def _runs_ended(self) -> None:
        async with asyncio.timeout(20):
            while any("finishTime" not in run.properties for run in self.world.azure.state.of_type(RUN)):
                self.world.azure.clock.advance(5)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def company(storage: str, folder: Path) -> AsyncIterator[World]:
    """A base registry and the app with its roles, in a local Azure of its own."""
    azure = Azure(authority=AUTHORITY)
    await azure.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            app = azure.identity.create_app("groundswell")
            for name, value in azure.environment(app).items():
                if name not in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
                    patch.setenv(name, value)
            async with aiohttp.ClientSession(trust_env=True) as session:
                owner = Client(azure, azure.owner, session)
                await owner.arm("PUT", GROUP, {"location": "eastus"}, api_version="2024-11-01")
                world = World(azure, owner, app, folder, storage, {})
                await world.create_registry(BASE)
                world.roles.update(await deploy(owner, app))
                await world.clear_queues()
                try:
                    yield world
                finally:
                    await world.groundswell.close()
    finally:
        await azure.stop()


async def play(script: Script, storage: str, folder: Path) -> list[str]:
    """Play a script; return what was wrong then and at the end."""
    from tests.faults.checks import all_problems

    async with company(storage, folder) as world:
        player = Player(world, script)
        try:
            with tapped(), pytest.MonkeyPatch.context() as patch:
                patch.setattr(fanout, "PAGE", 2)
                await player.play()
            return [*player.problems, *await all_problems(player)]
        finally:
            await player.close()

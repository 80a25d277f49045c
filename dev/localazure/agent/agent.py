"""Runs: who waits, who works, and how each ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from dev.localazure.agent import dependencies
from dev.localazure.agent.context import Contexts
from dev.localazure.agent.definition import Definition
from dev.localazure.agent.errors import RunFailed, TimedOut
from dev.localazure.agent.execution import Execution
from dev.localazure.agent.logs import RunLog, duration, location
from dev.localazure.agent.machine import Machine
from dev.localazure.blobs import Blobs
from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.registry.service import RegistryService
from dev.localazure.state import Resource

log = logging.getLogger("localazure.agent")

RUN = "Microsoft.ContainerRegistry/registries/runs"
TERMINAL = ("Succeeded", "Failed", "Canceled", "Error", "Timeout")

FAILED = "failed during run, err: exit status 1"


class Agent(Machine):
    """ACR's build agents for all registries.

    Attributes:
        concurrency: How many runs of one registry work at the same time; others wait as `Queued`. Azure publishes no
            number.
        list_lag: How long the list of runs omits a new run, which can be read by its id.
        forbidden: Subscriptions (ids in lower case) whose runs are refused with `TasksOperationsNotAllowed`.
    """

    def __init__(self, core: Core, registries: RegistryService, blobs: Blobs, control: web.UrlDispatcher) -> None:
        """Wait for runs; `control` are the routes of the local endpoint."""
        super().__init__(core, registries, blobs)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._freed = asyncio.Condition()
        self._canceled: set[str] = set()
        self.concurrency = 4
        self.list_lag = timedelta(0)
        self.forbidden: set[str] = set()
        core.on_forget.append(self._forget)
        control.add_get("/control/contexts", self._get_contexts)
        control.add_post("/control/contexts", self._add_context)

    def submit(self, run: Resource) -> None:
        """Start working on a run in status `Queued` as soon as an agent of its registry is free."""
        task = asyncio.get_running_loop().create_task(self._serve(run), name=run.id)
        self._tasks[run.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run.id, None))

    def is_listed(self, run: Resource) -> bool:
        """Tell whether the list of runs knows this one by now."""
        created = datetime.fromisoformat(run.properties["createTime"])
        return created + self.list_lag <= self.clock.now()

    async def cancel(self, run: Resource) -> None:
        """End a run as `Canceled`, wherever it is; one that has ended stays as it is."""
        if task := self._tasks.get(run.id):
            self._canceled.add(run.id)
            task.cancel()
            await asyncio.wait([task])
            self._canceled.discard(run.id)

    async def stop(self) -> None:
        """Drop all work; unfinished runs keep their status."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reset(self) -> None:
        """Drop all work, and the contexts and refusals that were added."""
        await self.stop()
        self._busy.clear()
        self.contexts = Contexts()
        self.forbidden.clear()

    async def _get_contexts(self, _: web.Request) -> web.Response:
        return web.json_response(self.contexts.as_dict())

    async def _add_context(self, request: web.Request) -> web.Response:
        """Let git URLs stand for local folders: `{"https://…": "/path"}`."""
        for url, folder in (await request.json()).items():
            self.contexts[url] = folder
        return await self._get_contexts(request)

    @contextlib.asynccontextmanager
    async def _slot(self, registry: Resource) -> AsyncIterator[None]:
        """Wait until a registry has an agent to spare, first come, first served."""
        key = registry.id.lower()
        async with self._freed:
            await self._freed.wait_for(lambda: self._busy[key] < max(1, self.concurrency))
            self._busy[key] += 1
        try:
            yield
        finally:
            self._busy[key] -= 1
            async with self._freed:
                self._freed.notify_all()

    def _registry(self, run: Resource) -> Resource:
        registry = self.state.get(run.id.rpartition("/runs/")[0])
        if registry is None:
            raise LookupError(f"the registry of {run.id} is gone")
        return registry

    def _forget(self, resource: Resource) -> None:
        if task := self._tasks.get(resource.id):
            task.cancel()

    async def _serve(self, run: Resource) -> None:
        registry = self._registry(run)
        run_log = RunLog(self.blobs, location(registry, run.name)[1], self.clock)
        try:
            async with self._slot(registry):
                self._update(run, status="Started")
                await self.clock.sleep(self.pace)
                self._update(run, status="Running", startTime=iso(self.clock.now()))
                await self._execute(registry, run, run_log)
        except asyncio.CancelledError:
            if run.id not in self._canceled:
                raise
            self._end(run, run_log, "Canceled", "canceled", "was canceled after {elapsed}")
        except Exception:
            log.exception("run %s broke the agent", run.id)
            self._end(run, run_log, "Error", "internalerror", "failed after {elapsed}. Error: internal error")

    async def _execute(self, registry: Resource, run: Resource, run_log: RunLog) -> None:
        definition: Definition = run.properties["_definition"]
        work = Execution(self, registry, run.name, definition, run_log)
        hosts = list(definition["credentials"].get("customRegistries") or {})
        ended: dict[str, Any] = {"customRegistries": hosts} if hosts else {}
        try:
            await work.execute()
        except RunFailed as error:
            run_log.raw(str(error))
            failed = f"failed after {{elapsed}}. Error: {FAILED}"
            self._end(run, run_log, "Failed", "failed", failed, runErrorMessage=FAILED, **ended)
        except TimedOut:
            self._end(run, run_log, "Timeout", "timedout", "timed out after {elapsed}", **ended)
        else:
            if work.outputs:
                ended["outputImages"] = work.outputs
            self._remember(registry, definition["task"], work.dependencies)
            self._end(run, run_log, "Succeeded", "successful", "was successful after {elapsed}", **ended)

    def _remember(self, registry: Resource, task: str, found: list[dependencies.Dependency]) -> None:
        """Show on the task what it depends on, as ACR does after a successful run."""
        resource = self.state.get(f"{registry.id}/tasks/{task}") if task else None
        if resource and found:
            resource.properties["step"]["baseImageDependencies"] = dependencies.of_task(found)

    def _end(self, run: Resource, run_log: RunLog, status: str, outcome: str, sentence: str, **changes: Any) -> None:
        now = self.clock.now()
        started = datetime.fromisoformat(run.properties.get("startTime") or iso(now))
        run_log.raw(f"\nRun ID: {run.name} {sentence.format(elapsed=duration(now - started))}")
        # The run first: who sees the end of the log asks for the run's status at once.
        self._update(run, status=status, finishTime=iso(now), **changes)
        run_log.complete(outcome)

    def _update(self, run: Resource, **changes: Any) -> None:
        run.properties.update(changes)
        run.properties["lastUpdatedTime"] = whole_seconds(self.clock.now())


def whole_seconds(moment: datetime) -> str:
    """Write a moment as `lastUpdatedTime` has it, rounded to the second."""
    return iso(datetime.fromtimestamp(round(moment.timestamp()), moment.tzinfo))

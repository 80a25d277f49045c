"""Follows what happens, live: the host's log, localazure's journal and deliveries, ACR's runs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from dev.demo import words
from dev.demo.timeline import HOLD_BACK, Line, Timeline
from dev.sandbox.cloud import TEAM, Refused
from dev.sandbox.world import World

ENDED = frozenset({"Succeeded", "Failed", "Canceled", "Error", "Timeout"})
APP = "groundswell"

# Resource Manager allows a principal 25 reads a second, and a look reads the runs of each registry.
_LIST_SECONDS = 2.0


class Watch:
    """Reads everything that is new, again and again, and puts it on the timeline.

    Attributes:
        calls: All calls that the app made to Resource Manager, as journal entries.
        records: What the host and Groundswell logged.
        deliveries: Event Grid's deliveries.
        runs: The runs of the team registry by id.
        others: Those of all other registries, by registry and id.
    """

    def __init__(self, world: World, timeline: Timeline) -> None:
        """Watch a world whose host is running."""
        self._world, self._timeline = world, timeline
        self.calls: dict[int, dict[str, Any]] = {}
        self.records: list[dict[str, Any]] = []
        self.deliveries: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.others: dict[str, dict[str, dict[str, Any]]] = {}
        self._log_offset = 0
        self._registries: list[str] = []
        self._listed = -_LIST_SECONDS

    async def look(self) -> None:
        """Read everything once and print what is old enough to be in order."""
        now = datetime.now(UTC)
        self._read_log()
        await self._read_journal()
        await self._read_deliveries()
        await self._read_runs()
        self._timeline.flush(now - HOLD_BACK)

    async def settle(self) -> None:
        """Read and print everything up to now."""
        await self.look()
        self._timeline.flush()

    def _read_log(self) -> None:
        with self._world.host_log.open("rb") as log:
            log.seek(self._log_offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._log_offset += len(line)
                if line.startswith(b"{"):
                    record = json.loads(line)
                    self.records.append(record)
                    self._show(words.decision(record))

    async def _read_journal(self) -> None:
        query = {"since": max(self.calls, default=0), "caller": APP, "host": "management.azure.com"}
        entries = (await self._world.cloud.control("GET", f"/journal?{urlencode(query)}"))["entries"]
        for entry in entries:
            if not entry["status"]:
                return  # under way: it is read again, and what came after it
            self.calls[entry["number"]] = entry
            if entry["method"] != "GET" or entry["status"] >= 500:
                self._show(words.write(entry))

    async def _read_deliveries(self) -> None:
        since = self.deliveries[-1]["number"] if self.deliveries else 0
        for attempt in (await self._world.cloud.control("GET", f"/deliveries?since={since}"))["attempts"]:
            self.deliveries.append(attempt)
            self._show(words.delivery(attempt))

    async def _read_runs(self) -> None:
        try:
            if time.monotonic() >= self._listed + _LIST_SECONDS:
                self._registries, self._listed = await self._world.cloud.registries(), time.monotonic()
            for registry in self._registries:
                await self._read_runs_of(registry)
        except Refused as error:
            # A registry was deleted meanwhile, or everybody reads a lot: the next look sees what this one missed.
            if error.status not in (404, 429):
                raise

    async def _read_runs_of(self, registry: str) -> None:
        name = registry.rpartition("/")[2]
        seen = self.runs if name == TEAM else self.others.setdefault(registry, {})
        for run in await self._world.cloud.runs(registry):
            known = seen.get(run["runId"], {})
            seen[run["runId"]] = run
            if "startTime" in run and "startTime" not in known:
                self._show(words.run_started(run, name))
            if run["status"] in ENDED and known.get("status") not in ENDED:
                log = "" if run["status"] == "Succeeded" else await self._world.cloud.run_log(run["runId"], registry)
                self._show(words.run_ended(run, name, log))

    def _show(self, line: Line | None) -> None:
        if line:
            self._timeline.add(line)

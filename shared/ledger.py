"""The ledger: what was asked, what was started and how it ended, in one storage table.

The partition is a registry's name (unique in a cloud). Rows:

    request|{id}             a request and what became of it
    build|{task}|{key}       one content to build for one task: claimed, scheduled, ended
    run|{run id}             a scheduled run
    task|{task}              since when the task's credential is known to be right
    registry                 when the registry was last seen to be deleted

and in partitions of their own, whose names no registry can have:

    .images   {repository:tag}       the newest digest that was pushed under a tag
    .fan-outs {digest} {tasks}       whether the rebuilds of a content have been asked for

A build is claimed before its run is scheduled, so that no content is built twice. A claim is a lease: if its holder
dies, another worker takes it over when the lease has run out (ETags make sure that only one does).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from shared.clients import Clients
from shared.errors import from_azure
from shared.images import BaseImage
from shared.messages import RebuildRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.data.tables.aio import TableClient


@dataclass(frozen=True)
class Build:
    """One content to build for one task of one registry.

    Attributes:
        key: What makes it the same build: the base digest, or the request for a manual run.
        created: The registry's creation: a registry made anew under its old name starts afresh.
    """

    registry: str
    task: str
    key: str
    created: str
    image: BaseImage | None


@dataclass(frozen=True)
class Claim:
    """The right to schedule a build's run, until `until`.

    Attributes:
        since: When this build was first claimed and not released since: an orphan run cannot be older.
        inherited: True if somebody held the claim before and may have scheduled a run without recording it.
    """

    build: Build
    since: datetime
    until: datetime
    etag: str
    inherited: bool = False


@dataclass(frozen=True)
class Scheduled:
    """The build has its run already."""

    run_id: str


@dataclass(frozen=True)
class Busy:
    """Somebody else is at it until `until`."""

    until: datetime


class Ledger:
    """Reads and writes the ledger."""

    def __init__(self, clients: Clients, table: str, lease: timedelta = timedelta(minutes=10)) -> None:
        self._clients, self._name, self._lease = clients, table, lease
        self._client: TableClient | None = None

    async def _table(self) -> TableClient:
        if self._client is None:
            self._client = await self._clients.tables().create_table_if_not_exists(self._name)
        return self._client

    async def claim(self, build: Build, now: datetime, *, replaces: str = "") -> Claim | Scheduled | Busy:
        """Claim a build.

        Args:
            replaces: Run that failed and may be repeated: if it is the build's latest one, the build is open again.
        """
        table, until = await self._table(), now + self._lease
        row = {
            **_key(build.registry, _build_key(build)), "state": "claimed", "claimedAt": now, "claimedUntil": until,
            "created": build.created, "runId": "", "image": str(build.image or ""),
        }  # fmt: skip
        with _doing("claim a build"):
            try:
                made = await table.create_entity(row)
                return Claim(build, now, until, str(made["etag"]))
            except ResourceExistsError:
                pass
            try:
                held = await table.get_entity(row["PartitionKey"], row["RowKey"])
            except ResourceNotFoundError:
                return Busy(now)
            since = held["claimedAt"] if held["state"] == "claimed" else now
            if held["created"] == build.created:
                if held["state"] != "claimed" and not (replaces and held["runId"] == replaces):
                    return Scheduled(str(held["runId"]))
                if held["state"] == "claimed" and held["claimedUntil"] > now:
                    return Busy(held["claimedUntil"])
            inherited = held["state"] == "claimed" and held["created"] == build.created
            row["claimedAt"] = since
            try:
                taken = await table.update_entity(
                    row, mode="replace", etag=held.metadata["etag"], match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return Busy(now)
            return Claim(build, since, until, str(taken["etag"]), inherited=inherited)

    async def scheduled_run(self, build: Build) -> str | None:
        """Return the run that a build was scheduled as, or None if it was not."""
        with _doing("read a build"):
            try:
                row = await (await self._table()).get_entity(build.registry.lower(), _build_key(build))
            except ResourceNotFoundError:
                return None
        if row["created"] != build.created or row["state"] == "claimed":
            return None
        return str(row["runId"])

    async def schedule(self, claim: Claim, run_id: str, request: RebuildRequest, now: datetime) -> None:
        """Record the run that was scheduled under a claim."""
        build = claim.build
        table = await self._table()
        run = {
            **_key(build.registry, f"run|{run_id}"), "task": build.task, "build": build.key,
            "image": str(build.image or ""), "scheduledAt": now, "cause": request.cause.value,
            "requestId": request.id, "eventId": request.event_id,
        }  # fmt: skip
        with _doing("record a run"):
            try:
                await table.create_entity({**run, "state": "scheduled"})
            except ResourceExistsError:
                # Adopted after somebody has seen it end: that stays on record.
                await table.upsert_entity(run)
            row = {**_key(build.registry, _build_key(build)), "state": "scheduled", "runId": run_id, "scheduledAt": now}
            await table.update_entity(row, mode="merge")

    async def release(self, claim: Claim, now: datetime, *, unclear: bool) -> None:
        """Give a claim back after a failure.

        Args:
            unclear: The run may have been scheduled all the same: whoever is next must look before scheduling.
        """
        table = await self._table()
        key = _key(claim.build.registry, _build_key(claim.build))
        with _doing("release a build"):
            try:
                if unclear or claim.inherited:
                    await table.update_entity({**key, "claimedUntil": now}, mode="merge")
                else:
                    await table.delete_entity(key["PartitionKey"], key["RowKey"])
            except ResourceNotFoundError:
                pass

    async def ended(self, build: Build, run_id: str, status: str, reason: str, at: datetime) -> None:
        """Record how a run ended."""
        table = await self._table()
        end = {"state": "ended", "status": status, "reason": reason[:1000], "endedAt": at}
        with _doing("record the end of a run"):
            await table.upsert_entity({**_key(build.registry, f"run|{run_id}"), **end, "task": build.task})
            await table.upsert_entity({**_key(build.registry, _build_key(build)), **end, "runId": run_id})

    async def known_runs(self, registry: str) -> set[str]:
        """Return the ids of all runs of a registry that the ledger knows."""
        table = await self._table()
        query = "PartitionKey eq @registry and RowKey ge 'run|' and RowKey lt 'run}'"
        with _doing("read the runs of a registry"):
            return {
                str(row["RowKey"]).removeprefix("run|")
                async for row in table.query_entities(query, parameters={"registry": registry.lower()}, select="RowKey")
            }

    async def request(self, registry: str, request: RebuildRequest, outcome: str, reason: str, at: datetime) -> None:
        """Record a request and what became of it (the newest outcome stays)."""
        row = {
            **_key(registry, f"request|{_safe(request.id)}"), "task": request.task, "cause": request.cause.value,
            "eventId": request.event_id, "requestedAt": request.requested_at, "outcome": outcome,
            "reason": reason[:1000], "handledAt": at, "attempts": request.attempts,
        }  # fmt: skip
        with _doing("record a request"):
            await (await self._table()).upsert_entity(row, mode="replace")

    async def registry_deleted(self, registry: str, registry_id: str, event_id: str, at: datetime) -> None:
        """Record that a registry was deleted."""
        row = {**_key(registry, "registry"), "deletedAt": at, "id": registry_id, "eventId": event_id}
        with _doing("record a deletion"):
            await (await self._table()).upsert_entity(row, mode="replace")

    async def note_image(self, image: BaseImage, pushed_at: datetime, event_id: str) -> tuple[bool, str]:
        """Record a push.

        Returns:
            False if a newer push of another content is on record for the tag; and the digest that was there before.
        """
        table = await self._table()
        key = {"PartitionKey": ".images", "RowKey": _safe(image.name.replace("/", "|"))}
        row = {**key, "digest": image.digest, "pushedAt": pushed_at, "eventId": event_id}
        with _doing("record a push"):
            while True:
                try:
                    known = await table.get_entity(key["PartitionKey"], key["RowKey"])
                except ResourceNotFoundError:
                    with suppress(ResourceExistsError):
                        await table.create_entity(row)
                        return True, ""
                    continue
                before = str(known["digest"])
                if known["pushedAt"] >= pushed_at:
                    return before == image.digest, before
                with suppress(ResourceModifiedError, ResourceNotFoundError):
                    await table.update_entity(
                        row, mode="replace", etag=known.metadata["etag"], match_condition=MatchConditions.IfNotModified
                    )
                    return True, before

    async def newest(self, image: BaseImage) -> tuple[str, datetime] | None:
        """Return the newest digest that was pushed under an image's tag and when, or None if none is on record."""
        with _doing("read the newest push"):
            try:
                row = await (await self._table()).get_entity(".images", _safe(image.name.replace("/", "|")))
            except ResourceNotFoundError:
                return None
        return str(row["digest"]), row["pushedAt"]

    async def open_fan_out(self, digest: str, tasks: tuple[str, ...], owner: str) -> bool:
        """Open the fan-out of a content; return False if another event has opened it (and so sees it through)."""
        table, row = await self._table(), {**_fan_out_key(digest, tasks), "owner": owner}
        with _doing("open a fan-out"):
            try:
                await table.create_entity(row)
            except ResourceExistsError:
                return bool((await table.get_entity(row["PartitionKey"], row["RowKey"]))["owner"] == owner)
        return True

    async def forget_fan_out(self, digest: str, tasks: tuple[str, ...]) -> None:
        """Let a content be asked for again, should it come back under its tag."""
        key = _fan_out_key(digest, tasks)
        with _doing("forget a fan-out"):
            await (await self._table()).delete_entity(key["PartitionKey"], key["RowKey"])

    async def verified(self, registry: str, task: str) -> tuple[str, str]:
        """Return (fingerprint, last change) under which a task's credential was seen to be right, or ("", "")."""
        with _doing("read what is known of a task"):
            try:
                row = await (await self._table()).get_entity(registry.lower(), f"task|{task}")
            except ResourceNotFoundError:
                return "", ""
        return str(row.get("fingerprint", "")), str(row.get("lastModifiedAt", ""))

    async def set_verified(self, registry: str, task: str, fingerprint: str, last_modified: str) -> None:
        """Record that a task's credential is right as of the task's last change."""
        row = {**_key(registry, f"task|{task}"), "fingerprint": fingerprint, "lastModifiedAt": last_modified}
        with _doing("record what is known of a task"):
            await (await self._table()).upsert_entity(row, mode="replace")

    async def rows(self, registry: str) -> list[Mapping[str, Any]]:
        """Return everything the ledger holds about a registry, oldest keys first."""
        query = "PartitionKey eq @registry"
        with _doing("read a registry's rows"):
            table = await self._table()
            return [row async for row in table.query_entities(query, parameters={"registry": registry.lower()})]


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        raise from_azure(error, f"{what} in the ledger") from error


def _key(registry: str, row: str) -> dict[str, Any]:
    return {"PartitionKey": registry.lower(), "RowKey": row}


def _fan_out_key(digest: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    return {"PartitionKey": ".fan-outs", "RowKey": _safe(f"{digest} {' '.join(sorted(tasks))}")}


def _build_key(build: Build) -> str:
    return f"build|{build.task}|{_safe(build.key)}"


def _safe(text: str) -> str:
    r"""Return text that may be part of a row key (no / \ # ? nor control characters), still one for one."""
    kept = re.sub(r"[^A-Za-z0-9_.:@=+-]", "_", text)
    return kept if kept == text else f"{kept[:150]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"

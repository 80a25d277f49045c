"""The ledger: what was requested, what was started and how it ended, in one storage table.

The partition is a registry's name (unique in a cloud). Rows:

    request|{id}             a request and its outcome
    build|{task}|{key}       one content to build for one task: claimed, scheduled, ended
    turn|{task}              the task's claim: which build is being scheduled, and until when
    run|{run id}             a scheduled run
    task|{task}              when the task's credential was last verified
    registry                 when the registry was last seen to be deleted

and in the partition .images, whose name no registry can have:

    tag|{repository:tag}         the newest digest that was pushed under a tag
    fan-out|{digest} {tasks}     the event that requests the rebuilds of a digest

A build is claimed before its run is scheduled, so that no content is built twice. A claim is a lease: if its holder
dies, another worker takes it over when the lease has expired. A task has one claim at a time. ACR does not say which
content a run builds, so a run without a record can be attributed to a claim only if there is no other claim.

Rows that must agree change in one transaction, with ETags.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from shared.adapters.azure_errors import from_azure
from shared.adapters.clients import Clients
from shared.adapters.messages import RebuildRequest
from shared.adapters.rows import is_table_gone, safe
from shared.domain import images
from shared.domain.echo import shown
from shared.domain.errors import InvalidInput, TemporaryError
from shared.domain.images import BaseImage
from shared.domain.targets import Verified
from shared.logs import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.data.tables import TableEntity
    from azure.data.tables.aio import TableClient

log = Log("ledger")

_NEVER = datetime.max.replace(tzinfo=UTC)

_Change = tuple[Any, ...]
"""One operation of a transaction, as the SDK takes it."""


@dataclass(frozen=True)
class Build:
    """One content to build for one task of one registry.

    Attributes:
        key: What makes it the same build: the base digest, or the request for a manual run.
        created: The registry's creation: a registry created again under its name starts afresh.
    """

    registry: str
    task: str
    key: str
    created: str
    image: BaseImage | None


@dataclass(frozen=True)
class Claim:
    """The right to schedule a build's run, until the lease expires.

    Attributes:
        since: When this build was first claimed without being released; no orphan run is older.
        turn: ETag of the row that holds the task's claim.
        inherited: True if somebody held the claim before and may have scheduled a run without recording it.
    """

    build: Build
    since: datetime
    turn: str
    inherited: bool = False


@dataclass(frozen=True)
class Scheduled:
    """The build already has its run."""

    run_id: str


@dataclass(frozen=True)
class Busy:
    """Another worker holds the task's claim, at most until `until`."""

    until: datetime


@dataclass(frozen=True)
class RunRecord:
    """A run on record.

    Attributes:
        cause: Why it was asked for.
        image: The base image that it was started with, or "".
        scheduled: When it was; None if the record does not tell.
        status: How it ended, in ACR's word, or `Scheduled`.
        reason: Why it failed, or "".
    """

    id: str
    task: str
    cause: str
    image: str
    scheduled: datetime | None
    status: str
    reason: str


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
        """Claim a build; or, if the task's claim has expired, take that one over: it must be resolved first.

        Args:
            replaces: Run that failed and may be repeated: if it is the build's latest one, the build is open again.
        """
        with self._doing("claim a build"):
            known = await self._get(build.registry, f"turn|{build.task}")
            turn = _of(build, known)
            abandoned = turn if turn and turn["until"] <= now else None
            if abandoned and abandoned["key"] != build.key:
                image = _image(abandoned["image"])
                build, replaces = replace(build, key=abandoned["key"], image=image), ""
            row = await self._get(build.registry, _build_key(build))
            held = _of(build, row)
            if held and held["state"] != "claimed" and not (replaces and held["runId"] == replaces):
                return Scheduled(str(held["runId"]))
            if turn and not abandoned:
                return Busy(turn["until"])
            same = {"created": build.created, "image": str(build.image or "")}
            claimed = {
                **_key(build.registry, _build_key(build)), **same, "state": "claimed", "runId": "",
                "replaces": held.get("replaces", "") if held and held["state"] == "claimed" else replaces,
            }  # fmt: skip
            taken = {
                **_key(build.registry, f"turn|{build.task}"), **same, "key": build.key,
                "since": abandoned["since"] if abandoned else now, "until": now + self._lease,
            }  # fmt: skip
            etags = await self._change(_put(claimed, row), _put(taken, known))
            if etags is None:
                return Busy(now)
            return Claim(build, taken["since"], etags[1], inherited=abandoned is not None)

    async def scheduled_run(self, build: Build) -> str | None:
        """Return the run that a build was scheduled as, "" if that is being done, or None if it was not."""
        with self._doing("read a build"):
            row = _of(build, await self._get(build.registry, _build_key(build)))
        return str(row["runId"]) if row else None

    async def schedule(self, build: Build, run_id: str, request: RebuildRequest, now: datetime) -> None:
        """Record the run that was scheduled for a build; one that is on record stays as it is.

        A run that a person asked for counts as the build of the content that it was started with, unless that has one.
        """
        run = {
            **_key(build.registry, f"run|{run_id}"), "task": build.task, "build": build.key, "state": "scheduled",
            "image": str(build.image or ""), "scheduledAt": now, "cause": request.cause.value,
            "requestId": request.id, "eventId": request.event_id, "created": build.created,
        }  # fmt: skip
        row = {
            **_key(build.registry, _build_key(build)), "state": "scheduled", "runId": run_id, "scheduledAt": now,
            "created": build.created, "image": str(build.image or ""),
        }  # fmt: skip
        rows = [f"run|{run_id}", _build_key(build), f"turn|{build.task}"]
        content = f"build|{build.task}|{safe(build.image.digest)}" if build.image and build.image.digest else rows[1]
        if content != rows[1]:
            rows.append(content)
        with self._doing("record a run"):
            while True:
                known, before, turn, *same = await self._all(build, *rows)
                if _of(build, known):
                    return
                changes = [_put(run, known)]
                if same and not _of(build, same[0]):
                    changes.append(_put({**row, "RowKey": content}, same[0]))
                held = _of(build, before)
                # A run that is being repeated, or that another one stands for, is a run, but not the build's.
                if held is None or (held["state"] == "claimed" and held.get("replaces") != run_id):
                    changes.append(_put(row, before))
                    if turn and turn.get("key") == build.key:
                        changes.append(_delete(turn))
                if await self._change(*changes) is not None:
                    return

    async def release(self, claim: Claim, now: datetime, *, unclear: bool) -> None:
        """Give a claim back after a failure; one that another worker has taken over stays with that one.

        Args:
            unclear: The run may have been scheduled all the same: whoever is next must look before scheduling.
        """
        build = claim.build
        with self._doing("release a build"):
            turn, held = await self._all(build, f"turn|{build.task}", _build_key(build))
            if turn is None or turn.metadata["etag"] != claim.turn:
                return
            if unclear:
                await self._change(_put({**turn, "until": now}, turn))
            else:
                await self._change(_delete(turn), *([_delete(held)] if held else []))

    async def reopen(self, build: Build, run_id: str) -> None:
        """Allow a build whose latest run came to nothing to be requested again."""
        with self._doing("reopen a build"):
            held = await self._get(build.registry, _build_key(build))
            if held and _of(build, held) and held["runId"] == run_id:
                await self._change(_delete(held))

    async def ended(
        self, build: Build, run_id: str, status: str, reason: str, at: datetime, *, repeated: bool = False
    ) -> None:
        """Record how a run ended.

        Args:
            repeated: Another run is to stand in for it.
        """
        end = {"state": "ended", "status": status, "reason": shown(reason, 1000), "endedAt": at}
        with self._doing("record the end of a run"):
            while True:
                run, held = await self._all(build, f"run|{run_id}", _build_key(build))
                if _of(build, run) is None:
                    return
                changes = [_put({**run, **end}, run)] if run else []
                if held and _of(build, held) and held["runId"] == run_id and not repeated:
                    changes.append(_put({**held, **end}, held))
                if await self._change(*changes) is not None:
                    return

    async def known_runs(self, build: Build) -> set[str]:
        """Return the ids of all runs of a build's registry that the ledger knows."""
        query = "PartitionKey eq @registry and RowKey ge 'run|' and RowKey lt 'run}' and created eq @created"
        with self._doing("read the runs of a registry"):
            table = await self._table()
            parameters = {"registry": build.registry.lower(), "created": build.created}
            return {
                str(row["RowKey"]).removeprefix("run|")
                async for row in table.query_entities(query, parameters=parameters, select="RowKey")
            }

    async def runs(self, registry: str) -> list[RunRecord]:
        """Return the runs of a registry that are on record, the oldest first."""
        query = "PartitionKey eq @registry and RowKey ge 'run|' and RowKey lt 'run}'"
        with self._doing("read the runs of a registry"):
            table = await self._table()
            found = table.query_entities(query, parameters={"registry": registry.lower()})
            runs = [_run_record(row) async for row in found]
        return sorted(runs, key=lambda run: run.scheduled or _NEVER)

    async def request(self, registry: str, request: RebuildRequest, outcome: str, reason: str, at: datetime) -> None:
        """Record a request and what became of it (the newest outcome stays)."""
        row = {
            **_key(registry, f"request|{safe(request.id)}"), "task": request.task, "cause": request.cause.value,
            "eventId": request.event_id, "requestedAt": request.requested_at, "outcome": outcome,
            "reason": shown(reason, 1000), "handledAt": at, "attempts": request.attempts,
        }  # fmt: skip
        with self._doing("record a request"):
            await (await self._table()).upsert_entity(row, mode="replace")

    async def registry_deleted(self, registry: str, registry_id: str, event_id: str, at: datetime) -> None:
        """Record that a registry was deleted."""
        row = {**_key(registry, "registry"), "deletedAt": at, "id": registry_id, "eventId": event_id}
        with self._doing("record a deletion"):
            await (await self._table()).upsert_entity(row, mode="replace")

    async def note_image(self, image: BaseImage, pushed_at: datetime, event_id: str, tasks: tuple[str, ...]) -> bool:
        """Record a push; return False if a newer push of another content is on record for the tag.

        A content that leaves a tag may be asked for again by these tasks, should it come back.
        """
        row = {**_tag_key(image), "digest": image.digest, "pushedAt": pushed_at, "eventId": event_id}
        with self._doing("record a push"):
            while True:
                there = await self._get(row["PartitionKey"], row["RowKey"])
                known = _sound(there)
                if known and known["pushedAt"] >= pushed_at:
                    return bool(known["digest"] == image.digest)
                changes = [_put(row, there)]
                if known and known["digest"] != image.digest:
                    changes.append(("upsert", {**_fan_out_key(known["digest"], tasks), "owner": ""}))
                if await self._change(*changes) is not None:
                    return True

    async def newest(self, image: BaseImage) -> tuple[str, datetime] | None:
        """Return the newest digest that was pushed under an image's tag and when, or None if none is on record."""
        key = _tag_key(image)
        with self._doing("read the newest push"):
            row = _sound(await self._get(key["PartitionKey"], key["RowKey"]))
        return (str(row["digest"]), row["pushedAt"]) if row else None

    async def newest_push(self) -> datetime | None:
        """Return when a base image was last pushed, or None if no push is on record."""
        query = "PartitionKey eq '.images' and RowKey ge 'tag|' and RowKey lt 'tag}'"
        with self._doing("read the pushes"):
            table = await self._table()
            pushes = [row.get("pushedAt") async for row in table.query_entities(query, select="pushedAt")]
        return max((pushed for pushed in pushes if isinstance(pushed, datetime)), default=None)

    async def is_current(self, digest: str) -> bool:
        """Tell whether a digest is the newest one of any tag."""
        query = "PartitionKey eq '.images' and RowKey ge 'tag|' and RowKey lt 'tag}' and digest eq @digest"
        with self._doing("read the tags of a digest"):
            table = await self._table()
            async for _ in table.query_entities(query, parameters={"digest": digest}):
                return True
        return False

    async def open_fan_out(self, digest: str, tasks: tuple[str, ...], owner: str) -> bool:
        """Open the fan-out of a content; return False if another event has opened it (and so sees it through)."""
        row = {**_fan_out_key(digest, tasks), "owner": owner}
        with self._doing("open a fan-out"):
            while True:
                known = await self._get(row["PartitionKey"], row["RowKey"])
                if known and known.get("owner"):
                    return bool(known["owner"] == owner)
                if await self._change(_put(row, known)) is not None:
                    return True

    async def verified(self, registry: str, task: str) -> Verified | None:
        """Return as of when a task's credential was last seen to be right, or None if it was not."""
        with self._doing("read what is known of a task"):
            row = _sound(await self._get(registry, f"task|{task}"))
        return Verified(str(row["fingerprint"]), str(row["lastModifiedAt"])) if row else None

    async def set_verified(self, registry: str, task: str, verified: Verified) -> None:
        """Record that a task's credential is right as of the task's last change."""
        row = {
            **_key(registry, f"task|{task}"), "fingerprint": verified.fingerprint, "lastModifiedAt": verified.modified,
        }  # fmt: skip
        with self._doing("record what is known of a task"):
            await (await self._table()).upsert_entity(row, mode="replace")

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except AzureError as error:
            if is_table_gone(error):
                # Lost or deleted while the app runs: the next attempt makes it anew.
                self._client = None
                raise TemporaryError(f"Could not {what} in the ledger: its table is gone.", 15.0) from error
            raise from_azure(error, f"{what} in the ledger") from error

    async def _get(self, partition: str, row: str) -> TableEntity | None:
        try:
            return await (await self._table()).get_entity(partition.lower(), row)
        except ResourceNotFoundError as error:
            if is_table_gone(error):
                raise
            return None

    async def _all(self, build: Build, *rows: str) -> list[TableEntity | None]:
        return await asyncio.gather(*(self._get(build.registry, row) for row in rows))

    async def _change(self, *changes: _Change) -> list[str] | None:
        """Make changes of one partition, all or none; return the rows' new ETags, or None if somebody was faster."""
        try:
            done = await (await self._table()).submit_transaction(changes)
        except HttpResponseError as error:
            if error.status_code not in (404, 409, 412) or is_table_gone(error):
                raise
            return None
        return [str(one.get("etag", "")) for one in done]


def _key(registry: str, row: str) -> dict[str, Any]:
    return {"PartitionKey": registry.lower(), "RowKey": row}


def _tag_key(image: BaseImage) -> dict[str, Any]:
    return {"PartitionKey": ".images", "RowKey": f"tag|{safe(image.name)}"}


def _fan_out_key(digest: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    content = " ".join((digest, *sorted(tasks)))
    return {"PartitionKey": ".images", "RowKey": f"fan-out|{safe(content)}"}


def _of(build: Build, row: TableEntity | None) -> TableEntity | None:
    """Return a row if it is about the registry that the build is for, not about an earlier one of that name."""
    known = _sound(row)
    return known if known is not None and known["created"] == build.created else None


_COLUMNS: Mapping[str, Mapping[str, type]] = {
    "build": {"created": str, "state": str, "runId": str},
    "turn": {"created": str, "key": str, "image": str, "since": datetime, "until": datetime},
    "run": {"created": str},
    "task": {"fingerprint": str, "lastModifiedAt": str},
    "tag": {"digest": str, "pushedAt": datetime},
}
"""What a row of each kind must hold to be understood."""


def _sound(row: TableEntity | None) -> TableEntity | None:
    """Return a row, or None if it is not there or cannot be understood: then it is overwritten."""
    if row is None:
        return None
    columns = _COLUMNS[str(row["RowKey"]).partition("|")[0]]
    if broken := [name for name, kind in columns.items() if not isinstance(row.get(name), kind)]:
        log.warning("row of the ledger not understood", registry=row["PartitionKey"], row=row["RowKey"],
                    reason=f"wrong: {', '.join(broken)}")  # fmt: skip
        return None
    return row


def _run_record(row: TableEntity) -> RunRecord:
    scheduled = row.get("scheduledAt")
    return RunRecord(
        id=str(row["RowKey"]).removeprefix("run|"),
        task=str(row.get("task") or ""),
        cause=str(row.get("cause") or ""),
        image=str(row.get("image") or ""),
        scheduled=scheduled if isinstance(scheduled, datetime) else None,
        status=str(row.get("status") or "Scheduled"),
        reason=str(row.get("reason") or ""),
    )


def _image(text: str) -> BaseImage | None:
    try:
        return images.parse(text) if text else None
    except InvalidInput:
        return None


def _put(row: Mapping[str, Any], known: TableEntity | None) -> _Change:
    """Return the change that writes a whole row, provided that nobody changed it since it was read."""
    if known is None:
        return "create", row
    return "update", row, {"mode": "replace", **_unchanged(known)}


def _unchanged(row: TableEntity) -> dict[str, Any]:
    return {"etag": row.metadata["etag"], "match_condition": MatchConditions.IfNotModified}


def _delete(row: TableEntity) -> _Change:
    return "delete", row, _unchanged(row)


def _build_key(build: Build) -> str:
    return f"build|{build.task}|{safe(build.key)}"

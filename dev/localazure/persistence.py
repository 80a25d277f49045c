"""Keeps the state in a directory: `state.json`, and the bytes of manifests and blobs in `objects/{sha256}`.

Objects are written first and `state.json` last, by renaming a complete file over it, so whatever interrupts a write
leaves the last good state. Not kept: tokens (their key lives in memory only), the CA and its key, request journal,
faults, settings, unfinished uploads; deliveries go on where they stopped; a run that was under way ends as an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.state import State

log = logging.getLogger("localazure.persistence")

VERSION = 1
INTERVAL = 1.0
_UNFINISHED = ("Queued", "Started", "Running")


class StoreError(Exception):
    """The directory cannot be used; the message says why and what to do."""


def encode(value: Any, objects: dict[str, bytes]) -> Any:
    """Turn state into JSON values; bytes become the name of an object and are added to `objects`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name), objects) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: encode(item, objects) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [encode(item, objects) for item in value]
    if isinstance(value, bytes | bytearray):
        name = hashlib.sha256(value).hexdigest()
        objects[name] = bytes(value)
        return name
    return iso(value) if isinstance(value, datetime) else value


def decode(kind: Any, value: Any, folder: Path) -> Any:
    """Turn JSON values back into what a type annotation says; members that are not known any more are left out."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else decode(arguments[0], value, folder)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{name: decode(hints[name], item, folder) for name, item in value.items() if name in hints})
    if origin is dict:
        return {key: decode(arguments[1], item, folder) for key, item in value.items()}
    if origin in (list, set, tuple):
        return origin(decode(arguments[0], item, folder) for item in value)
    if kind in (bytes, bytearray):
        return kind((folder / value).read_bytes())
    return datetime.fromisoformat(value) if kind is datetime else value


class Store:
    """A directory that follows the state of an Azure."""

    def __init__(self, folder: Path) -> None:
        """Take a directory (made if missing) for this process alone.

        Raises:
            StoreError: Another process uses it, or it cannot be written to.
        """
        self._folder, self._objects = folder, folder / "objects"
        self._saved = ""
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        try:
            # For the owner only: the secrets of the apps' identities are kept too.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._objects.mkdir(mode=0o700, exist_ok=True)
            self._lock: IO[str] = open(folder / "lock", "w", opener=_private)  # noqa: SIM115 - held as long as the directory is ours
        except OSError as error:
            raise StoreError(f"{folder} cannot be used to keep the state: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StoreError(f"another localazure keeps its state in {folder}") from error

    def load(self, core: Core) -> bool:
        """Fill an Azure with what was saved; return False if nothing was.

        Raises:
            StoreError: What was saved cannot be read.
        """
        file = self._folder / "state.json"
        if not file.exists():
            return False
        try:
            saved = json.loads(file.read_text())
            if saved["version"] != VERSION:
                raise StoreError(f"{file} was written by another version of localazure; use another directory")
            state: State = decode(State, saved["state"], self._objects)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{file} cannot be read ({error}); move it away to start anew") from error
        for field in dataclasses.fields(State):
            setattr(core.state, field.name, getattr(state, field.name))
        behind = (datetime.fromisoformat(saved["now"]) - core.clock.now()).total_seconds()
        if behind > 0:
            core.clock.advance(behind)
        self._end_runs(core)
        return True

    def _end_runs(self, core: Core) -> None:
        for run in core.state.of_type("Microsoft.ContainerRegistry/registries/runs"):
            if run.properties.get("status") in _UNFINISHED:
                now = iso(core.clock.now())
                run.properties.update(
                    status="Error", finishTime=now, lastUpdatedTime=now,
                    runErrorMessage="localazure was restarted while the run was under way",
                )  # fmt: skip

    def start(self, core: Core) -> None:
        """Begin to save whenever something has changed, at most once a second."""
        self._task = asyncio.get_running_loop().create_task(self._follow(core))

    async def stop(self, core: Core) -> None:
        """Save for the last time and let go of the directory."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            if self._writing:
                await asyncio.wait([self._writing])
            self.save(core)
        self._lock.close()

    async def _follow(self, core: Core) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            text, objects = self._snapshot(core)
            if text != self._saved:
                # Shielded: `stop` lets a write that has begun finish before it saves for the last time.
                self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, core, text, objects))
                try:
                    await asyncio.shield(self._writing)
                except OSError as error:
                    log.error("the state could not be written to %s, will try again: %s", self._folder, error)

    def _snapshot(self, core: Core) -> tuple[str, dict[str, bytes]]:
        objects: dict[str, bytes] = {}
        return json.dumps(encode(core.state, objects)), objects

    def save(self, core: Core) -> None:
        """Save now."""
        self._write(core, *self._snapshot(core))

    def _write(self, core: Core, text: str, objects: dict[str, bytes]) -> None:
        for name, body in objects.items():
            if not (self._objects / name).exists():
                _replace(self._objects / name, body)
        now = json.dumps(iso(core.clock.now()))
        _replace(self._folder / "state.json", f'{{"version": {VERSION}, "now": {now}, "state": {text}}}'.encode())
        self._saved = text
        for file in self._objects.iterdir():
            if file.name not in objects:
                file.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    """Open a file so that, if it is new, only its owner can read it, whoever may look into the directory."""
    return os.open(path, flags, 0o600)


def _replace(path: Path, body: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb", opener=_private) as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)

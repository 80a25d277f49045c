"""The local Functions host as a process that tests start, call and stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60.0


class FunctionsHost:
    """Runs ``python -m dev.functionshost`` for one app on a free port; use as a context manager.

    Args:
        app: directory of the app.
        settings: app settings; they become environment variables of the host.
        arguments: further command-line arguments.

    Attributes:
        ready: the content of the host's ready file: URL, keys, state, errors, functions.
    """

    def __init__(self, app: Path, settings: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()) -> None:
        self._app = app
        self._settings = dict(settings or {})
        self._arguments = arguments
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> str:
        """Return what the host wrote so far, standard output and error together."""
        return self._file("log").read_text(encoding="utf-8")

    def __enter__(self) -> FunctionsHost:
        self._directory = tempfile.TemporaryDirectory(prefix="functions-host-")
        command = [sys.executable, "-m", "dev.functionshost", "--app", str(self._app), "--port", "0"]
        command += ["--ready-file", str(self._file("ready.json")), *self._arguments]
        with self._file("log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process and self._process.poll() is None:
            self.stop()
        if error and self._directory:
            print(self.log, file=sys.stderr)
        if self._directory:
            self._directory.cleanup()

    def send_signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def stop(self) -> int:
        """Ask the host to end, wait for it, and return its exit status."""
        process = self._running()
        process.terminate()
        return self.wait()

    def wait(self, seconds: float = 60) -> int:
        """Wait for the process to end and return its exit status."""
        process = self._running()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the host was not started")
        return self._process

    def _file(self, name: str) -> Path:
        if self._directory is None:
            raise RuntimeError("the host was not started")
        return Path(self._directory.name, name)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._file("ready.json").exists():
            if self._running().poll() is not None:
                raise RuntimeError(f"the host ended with status {self._running().returncode}:\n{self.log}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the host did not start in time:\n{self.log}")
            time.sleep(0.02)
        self.ready = json.loads(self._file("ready.json").read_text(encoding="utf-8"))


def write_app(directory: Path, source: str, host_json: Mapping[str, Any] | None = None) -> Path:
    """Write an app of one file and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "host.json").write_text(json.dumps({"version": "2.0"} | dict(host_json or {})), encoding="utf-8")
    (directory / "function_app.py").write_text(textwrap.dedent(source), encoding="utf-8")
    return directory


@overload
async def eventually(check: Callable[[], Awaitable[T]], seconds: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], seconds: float = ...) -> T: ...
async def eventually(check: Callable[[], Any], seconds: float = 60) -> Any:
    """Call until the result is true, and return it.

    Raises:
        AssertionError: it did not become true in time; the last result is named.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        value = await result if isinstance(result, Awaitable) else result
        if value:
            return value
        assert time.monotonic() < deadline, f"not true within {seconds} s: {value!r}"
        await asyncio.sleep(0.05)

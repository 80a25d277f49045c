"""Azurite, Microsoft's storage emulator, as a process that tests start and stop; its limits are those of Azure."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType

from dev import azurite
from dev.ports import free_ports, listens
from dev.testing.strictstorage import COUNTS

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 30.0


class Azurite:
    """Blob, queue and table services on free loopback ports, in memory; use as a context manager.

    Queues and tables are reached through what refuses as Azure does (`dev.testing.limits`) and counts.

    Raises:
        NotInstalled: there is no Azurite.
        RuntimeError: it did not start.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.blob_port, self.queue_port, self.table_port, *self._behind = free_ports(0, 0, 0, 0, 0)

    @property
    def connection_string(self) -> str:
        """Return the connection string of the emulator's account."""
        return azurite.connection_string(self.blob_port, self.queue_port, self.table_port)

    def requests(self) -> Counter[str]:
        """Return how many requests there were so far, by kind: `table query`, `table transaction`, `queue send`, …"""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.table_port, timeout=10)) as connection:
            connection.request("GET", COUNTS)
            return Counter(json.load(connection.getresponse()))

    def __enter__(self) -> Azurite:
        """Start the processes and wait until all services accept connections."""
        self._directory = tempfile.TemporaryDirectory(prefix="azurite-")
        queue, table = self._behind
        command = azurite.command({"blob": self.blob_port, "queue": queue, "table": table})
        ways = (f"queue={self.queue_port}:{queue}", f"table={self.table_port}:{table}")
        try:
            self._start(command, Path(self._directory.name))
            self._start([sys.executable, "-m", "dev.testing.strictstorage", *ways], ROOT)
            self._wait_until_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes and wait for them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._directory:
            self._directory.cleanup()

    def _start(self, command: list[str], folder: Path) -> None:
        self._processes.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=folder)
        )

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        for port in (self.blob_port, self.queue_port, self.table_port, *self._behind):
            while not listens(port):
                for process in self._processes:
                    if process.poll() is not None:
                        raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
                if time.monotonic() > deadline:
                    raise RuntimeError("Azurite did not start in time")
                time.sleep(0.05)

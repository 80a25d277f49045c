"""Azurite, Microsoft's storage emulator, as a process that tests start and stop."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from types import TracebackType

from dev import azurite

START_TIMEOUT = 30.0


class Azurite:
    """Blob, queue and table services on free loopback ports, in memory; use as a context manager.

    Raises:
        NotInstalled: there is no Azurite.
        RuntimeError: it did not start.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.blob_port, self.queue_port, self.table_port = _free_ports(3)

    @property
    def connection_string(self) -> str:
        """Return the connection string of the emulator's account."""
        return azurite.connection_string(self.blob_port, self.queue_port, self.table_port)

    def __enter__(self) -> Azurite:
        """Start the process and wait until all three services accept connections."""
        self._directory = tempfile.TemporaryDirectory(prefix="azurite-")
        self._process = subprocess.Popen(
            azurite.command(self._ports()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._directory.name,
        )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process and wait for it."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._directory:
            self._directory.cleanup()

    def _ports(self) -> dict[str, int]:
        return {"blob": self.blob_port, "queue": self.queue_port, "table": self.table_port}

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        for port in self._ports().values():
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if self._process and self._process.poll() is not None:
                        raise RuntimeError(f"Azurite ended with status {self._process.returncode}") from None
                    if time.monotonic() > deadline:
                        raise RuntimeError("Azurite did not start in time") from None
                    time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()

"""Azurite, Microsoft's storage emulator, as a process that tests start and stop."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "devstoreaccount1"
# The published key of the emulator's account: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_TIMEOUT = 30.0


class Azurite:
    """Blob, queue and table services on free loopback ports, in memory; use as a context manager.

    Raises:
        FileNotFoundError: Azurite is not installed.
        RuntimeError: it did not start.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.blob_port, self.queue_port, self.table_port = _free_ports(3)

    @property
    def connection_string(self) -> str:
        """Return the connection string of the emulator's account."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.blob_port}/{ACCOUNT};"
            f"QueueEndpoint=http://127.0.0.1:{self.queue_port}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{self.table_port}/{ACCOUNT};"
        )

    def __enter__(self) -> Azurite:
        """Start the process and wait until all three services accept connections."""
        self._directory = tempfile.TemporaryDirectory(prefix="azurite-")
        command = ["node", str(azurite_script()), "--silent"]
        command += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        for service, port in self._ports().items():
            command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
        # It keeps a configuration file in its current directory even when the data are in memory.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self._directory.name
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


def azurite_script() -> Path:
    """Return Azurite's entry point: of ``node_modules``, else what ``AZURITE_JS`` names.

    Raises:
        FileNotFoundError: neither exists.
    """
    installed = ROOT / "node_modules/azurite/dist/src/azurite.js"
    named = os.environ.get("AZURITE_JS")
    if installed.exists():
        return installed
    if named and Path(named).exists():
        return Path(named)
    raise FileNotFoundError("Azurite is not installed: run 'make setup', or point AZURITE_JS at its azurite.js")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()

"""Azurite, Microsoft's storage emulator: its account, and how to start it. Who needs it starts it.

https://learn.microsoft.com/azure/storage/common/storage-use-azurite
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account's key, which is published."""

_INSTALLED = Path(__file__).resolve().parents[1] / "node_modules/azurite/dist/src/azurite.js"


class NotInstalled(Exception):
    """Azurite is not there; the text says what to do."""


def connection_string(blob: int, queue: int, table: int) -> str:
    """Return the connection string of the account, whose services listen on these ports of this machine."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{blob}/{ACCOUNT};"
        f"QueueEndpoint=http://127.0.0.1:{queue}/{ACCOUNT};"
        f"TableEndpoint=http://127.0.0.1:{table}/{ACCOUNT};"
    )


def command(ports: Mapping[str, int], *, log: bool = False) -> list[str]:
    """Return the command that runs Azurite with everything in memory.

    Even so, it writes a configuration file into its current folder.

    Args:
        ports: Of "blob", "queue" and "table", on this machine.
        log: Whether it writes a line for each request to its standard output.

    Raises:
        NotInstalled: There is no Azurite.
    """
    words = ["node", str(script()), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    if not log:
        words.append("--silent")
    for service, port in ports.items():
        words += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    return words


def script() -> Path:
    """Return Azurite's entry point: of `node_modules`, else what `AZURITE_JS` names.

    Raises:
        NotInstalled: Neither exists.
    """
    if _INSTALLED.exists():
        return _INSTALLED
    if (named := os.environ.get("AZURITE_JS")) and Path(named).exists():
        return Path(named)
    raise NotInstalled("Azurite is not installed: run `make setup`, or point AZURITE_JS at its azurite.js.")

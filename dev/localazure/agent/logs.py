"""A run's log: the text that ACR keeps in an append blob while the agent works."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dev.localazure.blobs import Blobs
    from dev.localazure.clock import Clock
    from dev.localazure.state import Resource


class RunLog:
    """Writes one run's log. Lines end in CR LF: `az` prints a log only up to the last of these."""

    def __init__(self, blobs: Blobs, path: str, clock: Clock) -> None:
        """Write to this blob, which comes into being with the first line."""
        self._blobs, self._path, self._clock = blobs, path, clock

    def say(self, text: str) -> None:
        """Write a line of the agent itself, which stamps what it says (`2026/11/22 18:40:01 …`)."""
        self.raw(f"{self._clock.now():%Y/%m/%d %H:%M:%S} {text}")

    def raw(self, text: str) -> None:
        """Write the output of a program that the agent runs, or its last words."""
        lines = "".join(f"{line}\r\n" for line in text.split("\n"))
        self._blobs.append(self._path, lines.encode())

    def complete(self, outcome: str) -> None:
        """Close the log: `successful`, `failed`, `timedout`, `canceled` or `internalerror`."""
        self._blobs.set_metadata(self._path, {"Complete": outcome})


def duration(elapsed: timedelta) -> str:
    """Write a duration as the agent does, in whole seconds.

    >>> duration(timedelta(seconds=85))
    '1m25s'
    """
    seconds = max(0, round(elapsed.total_seconds()))
    text = f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"
    return re.sub(r"^(0h0m|0h)", "", text)


def location(registry: Resource, run_id: str) -> tuple[str, str]:
    """Return where a run's log lies: the storage account's host name, and container and path of the blob."""
    seed = f"{registry.id.lower()} {registry.properties.get('creationDate')}".encode()
    digest = hashlib.sha256(seed).hexdigest()
    host = f"{registry.location[:12]}managed{int(digest[:4], 16) % 100}.blob.core.windows.net"
    return host, f"{digest[:32]}-{digest[32:42]}/logs/{run_id}/rawtext.log"

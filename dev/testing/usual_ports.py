"""The ports that people know: 7071 of `func start`, 10000–10002 of Azurite. One test at a time may take them."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_LOCK = Path(tempfile.gettempdir()) / f"groundswell-usual-ports-{os.getuid()}.lock"


@pytest.fixture
def usual_ports() -> Iterator[None]:
    """Wait until no other test of this machine's runs uses these ports, and keep them until the test ends."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

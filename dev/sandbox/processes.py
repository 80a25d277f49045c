"""The programs that the demo runs on, each a process of its own that ends with the demo, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 8.0
# What a developer's shell may say about another Azure or another Groundswell.
_FOREIGN = ("AZURE_", "AzureWebJobs", "GROUNDSWELL_", "IDENTITY_", "MSI_")


class CannotStart(Exception):
    """Something that the demo needs is missing; the text says what to do."""


class Processes:
    """Child processes and the folder of their logs."""

    def __init__(self, folder: Path) -> None:
        """Keep the logs and the temporary files of all children in this folder."""
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log_file(self, name: str) -> Path:
        """Where a child's output goes, standard output and error together."""
        return self._folder / f"{name}.log"

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None, folder: Path = ROOT
    ) -> None:
        """Start a child, in a session of its own: Ctrl-C reaches only the demo, which ends all children."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        # Whatever a child cannot clean up any more goes with the demo's own folder.
        variables = {**inherited, **(environment or {}), "TMPDIR": str(self._folder)}
        with self.log_file(name).open("wb") as log:
            self._children[name] = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def dead(self) -> str:
        """Say which child has ended although nobody asked it to, or ""."""
        for name, child in self._children.items():
            if (status := child.poll()) is not None:
                how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
                return f"{name} {how}"
        return ""

    async def stop(self, *names: str) -> None:
        """End these children, or all, and wait until they are gone; the newest goes first, as it uses the others."""
        ending = [self._children[name] for name in reversed(self._children) if name in names or not names]
        for child in ending:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        for child in ending:
            try:
                await asyncio.to_thread(child.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children = {name: child for name, child in self._children.items() if child not in ending}


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this project."""
    return [sys.executable, "-m", module, *arguments]

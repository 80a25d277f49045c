"""Where the clients do their work: a running localazure, Azurite beside it, and commands as child processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.sandbox.world import Option, World, running

__all__ = ["ROOT", "Option", "Output", "World", "azure", "run"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Output:
    """What a command left.

    Attributes:
        status: Its exit status; -1 if it took too long.
    """

    status: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line that it wrote, for messages."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip() if lines else "no output"


async def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
    stdin: bytes = b"",
    seconds: float = 90,
) -> Output:
    """Run a command to its end and return what it wrote.

    Args:
        environment: Added to that of this process.
        folder: Its current folder.
        seconds: How long it may take; then it and its children are ended.

    Raises:
        FileNotFoundError: There is no such program.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        return Output(-1, "", f"took more than {seconds:.0f} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Output(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


@contextlib.asynccontextmanager
async def azure(option: Option = Option.USER_ASSIGNED, *, settings: object = None) -> AsyncIterator[World]:
    """Start a localazure with Azurite beside it; end everything and remove all files afterwards.

    The world's `cloud` calls Azure as Owner, `cloud.environment` makes any client do so, and `start_host` runs
    Groundswell in a Functions host.

    Args:
        option: Whose identity the policy of the world's Groundswell names.
        settings: Changes to localazure's settings; by default role assignments work at once.
    """
    async with running(option) as world:
        await world.cloud.control("PATCH", "/settings", settings or {"rbac": {"delay": 0}})
        yield world

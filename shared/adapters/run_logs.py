"""Logs of runs: blobs, each behind a signed link that Resource Manager gives out."""

from __future__ import annotations

import aiohttp

from shared.adapters.arm import Arm
from shared.adapters.azure_errors import from_link
from shared.domain.errors import NotFound, TemporaryError
from shared.domain.refusals import LEFT_OUT
from shared.domain.registries import RegistryId

_LIMIT = 4 * 1024 * 1024


class RunLogs:
    """Reads logs of runs."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    async def read(self, registry: RegistryId, run_id: str) -> str:
        """Return the log of a run so far; of a long one the last 4 MiB, below a line that says so.

        Raises:
            NotFound: The run does not exist or has no log yet.
        """
        link = await self._arm.log_link(registry, run_id)
        if not link:
            raise NotFound(f"Run {run_id} of {registry.name} has no log yet.")
        try:
            async with aiohttp.ClientSession(trust_env=True) as session, session.get(link) as response:
                if response.status == 404:
                    raise NotFound(f"Run {run_id} of {registry.name} has no log yet.")
                if response.status != 200:
                    code = response.headers.get("x-ms-error-code", "")
                    raise from_link(response.status, code, f"read the log of run {run_id}")
                text, missing = await _end_of(response.content, _LIMIT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The link is a secret: neither it nor an error text that quotes it may reach a log.
            raise TemporaryError(f"Could not read the log of run {run_id}: {type(error).__name__}.") from None
        if missing:
            whole = f"az acr task logs --registry {registry.name} --run-id {run_id}"
            return f"{LEFT_OUT}{missing} bytes are left out; for the whole log: {whole}]\n{text}"
        return text


async def _end_of(body: aiohttp.StreamReader, limit: int) -> tuple[str, int]:
    """Read a body through; return its text, of a longer one whole lines at its end, and how many bytes are left out.

    `body.read(limit)` returns no more than what has arrived (https://docs.aiohttp.org/en/stable/streams.html).
    """
    end, missing = bytearray(), 0
    async for piece in body.iter_any():
        end += piece
        missing += max(0, len(end) - limit)
        del end[:-limit]
    if missing and (broken := end.find(b"\n") + 1) < len(end):
        missing += broken
        del end[:broken]
    return end.decode(errors="replace").replace("\r\n", "\n"), missing

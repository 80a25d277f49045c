"""The forward proxy: leads every Azure host name to the local TLS port and refuses all others.

Nothing can leave the machine through it: a CONNECT to a name that is not Azure's is answered with 403.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re

log = logging.getLogger("localazure.proxy")

AZURE_SUFFIXES = (
    ".azurecr.io",
    ".blob.core.windows.net",
    ".azurewebsites.net",
    "management.azure.com",
    "graph.microsoft.com",
    "login.microsoftonline.com",
)
_HOST_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+\.?")


def is_azure(host: str) -> bool:
    """Tell whether this host name belongs to the Azure that is served here; one final dot is part of a full name."""
    host = host.lower()
    if not _HOST_NAME.fullmatch(host):
        return False
    host = host.removesuffix(".")
    return any(host == suffix if not suffix.startswith(".") else host.endswith(suffix) for suffix in AZURE_SUFFIXES)


class Proxy:
    """A CONNECT proxy on loopback that pipes Azure's names to `target_port`."""

    def __init__(self, target_port: int) -> None:
        """Remember where the TLS server listens."""
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1 (port 0 picks a free one)."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and drop open tunnels."""
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("tunnel broke", exc_info=True)
        except asyncio.CancelledError:
            # Only `stop` cancels. Before Python 3.12 asyncio's streams complain of a connection task that ends so.
            log.debug("tunnel cut")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, *_ = [*head.split("\r\n", 1)[0].split(" "), ""]
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or port != "443" or not is_azure(host):
            log.warning("refused %s %s: not a host of this local Azure", method, target)
            text = f"localazure serves Azure's own host names over https only; {target} is not one of them.\n"
            writer.write(
                f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
                f"Connection: close\r\n\r\n{text}".encode("latin-1")
            )
            await writer.drain()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        try:
            await asyncio.gather(_pipe(reader, up_writer), _pipe(up_reader, writer))
        finally:
            up_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            writer.close()

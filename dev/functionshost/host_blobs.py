"""Blobs of the host itself, in the container that it keeps in the app's storage account."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from azure.storage.queue import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

from dev.functionshost.settings import AppSettings
from dev.functionshost.storage import DEFAULT_CONNECTION

logger = logging.getLogger(__name__)

CONTAINER = "azure-webjobs-hosts"
_EMULATOR = {
    "AccountName": "devstoreaccount1",
    # Published: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class HostBlobs:
    """Reads and writes small texts. A storage that cannot be reached is logged, and counts as an empty one.

    Only a connection string with a key is understood, the one of an emulator included: without it nothing is kept.
    """

    def __init__(self, settings: AppSettings) -> None:
        self._account = _parse(settings.get(DEFAULT_CONNECTION) or "")

    async def read(self, name: str) -> str | None:
        """Return the text of a blob, or None if there is none."""
        status, text = await self._request("GET", name)
        return text if status == 200 else None

    async def write(self, name: str, text: str) -> None:
        """Write a blob, and make the container first if it does not exist."""
        status, _ = await self._request("PUT", name, text)
        if status == 404:
            await self._request("PUT", "")
            await self._request("PUT", name, text)

    async def _request(self, method: str, name: str, text: str = "") -> tuple[int, str]:
        if not self._account:
            return 0, ""
        headers = {"x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob"}
        path = f"{CONTAINER}/{name}" if name else f"{CONTAINER}?restype=container"
        url = f"{self._account['BlobEndpoint']}/{path}{'&' if '?' in path else '?'}{self._signature()}"
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.request(method, url, data=text.encode() if method == "PUT" else None, headers=headers) as reply,
            ):
                if reply.status >= 400 and reply.status not in (404, 409):
                    logger.warning("Cannot %s the host's blob '%s': %s", method, name, reply.status)
                return reply.status, await reply.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.warning("Cannot %s the host's blob '%s': %s", method, name, type(error).__name__)
            return 0, ""

    def _signature(self) -> str:
        return generate_account_sas(
            self._account["AccountName"],
            self._account["AccountKey"],
            ResourceTypes(container=True, object=True),
            AccountSasPermissions(read=True, write=True, create=True),
            datetime.now(UTC) + timedelta(hours=1),
            services=Services(blob=True),
        )


def _parse(text: str) -> dict[str, str]:
    parts: dict[str, Any] = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if parts.get("UseDevelopmentStorage") == "true":
        return _EMULATOR
    if "AccountKey" not in parts or "BlobEndpoint" not in parts:
        return {}
    return parts | {"BlobEndpoint": parts["BlobEndpoint"].rstrip("/")}

"""The storage account behind ACR: run logs and uploaded sources, reached with signed links only.

A shared access signature is a bearer secret: without one that fits (signature, permission, expiry) a blob answers 403
(https://learn.microsoft.com/rest/api/storageservices/create-service-sas).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from aiohttp import web

from dev.localazure.core import Core
from dev.localazure.front import ENTRY
from dev.localazure.state import Blob, new_guid

if TYPE_CHECKING:
    from collections.abc import Mapping


VERSION = "2023-01-03"
_MESSAGES = {
    "AuthenticationFailed": "Server failed to authenticate the request. Make sure the value of Authorization header is "
    "formed correctly including the signature.",
    "AuthorizationPermissionMismatch": "This request is not authorized to perform this operation using this "
    "permission.",
    "BlobNotFound": "The specified blob does not exist.",
    "InvalidRange": "The range specified is invalid for the current size of the resource.",
    "UnsupportedHttpVerb": "The resource doesn't support specified Http Verb.",
}


class Blobs:
    """The blob service at `*.blob.core.windows.net`: HEAD, GET (with ranges) and PUT of whole blobs."""

    def __init__(self, core: Core) -> None:
        """Serve the blobs of this Azure's state; links are signed with a key that exists only in this process."""
        self._core = core
        self._key = secrets.token_bytes(32)
        core.front.serve(".blob.core.windows.net", self.handle)

    def append(self, path: str, data: bytes) -> None:
        """Append to the blob at `container/path`, which is made if there is none."""
        self._core.state.blobs.setdefault(path, Blob()).body += data
        self._touch(path)

    def delete(self, path: str) -> None:
        """Delete a blob, if it is there."""
        self._core.state.blobs.pop(path, None)

    def set_metadata(self, path: str, metadata: Mapping[str, str]) -> None:
        """Set a blob's metadata (`x-ms-meta-…` headers)."""
        self._core.state.blobs[path].metadata.update(metadata)
        self._touch(path)

    def read(self, path: str) -> bytes | None:
        """Return a blob's content, or None if there is no such blob."""
        blob = self._core.state.blobs.get(path)
        return None if blob is None else bytes(blob.body)

    def link(self, host: str, path: str, *, permissions: str = "r", lifetime: timedelta = timedelta(hours=1)) -> str:
        """Return a signed link to a blob, which need not exist yet."""
        expiry = (self._core.clock.now() + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"sv": VERSION, "se": expiry, "sr": "b", "sp": permissions}
        query["sig"] = self._signature(host, path, query)
        return f"https://{host}/{quote(path)}?{urlencode(query)}"

    def _signature(self, host: str, path: str, query: Mapping[str, str]) -> str:
        text = "\n".join([host, path, *(query.get(name, "") for name in ("sv", "se", "sr", "sp"))])
        return base64.b64encode(hmac.digest(self._key, text.encode(), hashlib.sha256)).decode()

    def _touch(self, path: str) -> None:
        self._core.state.blobs[path].modified = self._core.clock.now().isoformat()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to the blob service."""
        path = request.path.lstrip("/")
        request[ENTRY].operation = {"PUT": "blob/write"}.get(request.method, "blob/read")
        query = request.query
        expected = self._signature(request.host.split(":")[0], path, query)
        if not hmac.compare_digest(expected.encode(), query.get("sig", "").encode()) or self._expired(query["se"]):
            return _refuse(403, "AuthenticationFailed")
        if {"PUT": "w"}.get(request.method, "r") not in query["sp"]:
            return _refuse(403, "AuthorizationPermissionMismatch")
        if request.method == "PUT":
            self.delete(path)
            self.append(path, await request.read())
            blob = self._core.state.blobs[path]
            return web.Response(status=201, headers=_headers(blob))
        if request.method not in ("GET", "HEAD"):
            return _refuse(405, "UnsupportedHttpVerb")
        found = self._core.state.blobs.get(path)
        if found is None:
            return _refuse(404, "BlobNotFound", head=request.method == "HEAD")
        return _content(request, found)

    def _expired(self, moment: str) -> bool:
        return datetime.fromisoformat(moment) <= self._core.clock.now()


def _content(request: web.Request, blob: Blob) -> web.StreamResponse:
    # Copied, because the agent may append while this answer is on its way.
    body, status, headers = bytes(blob.body), 200, _headers(blob)
    asked = request.headers.get("x-ms-range") or request.headers.get("Range") or ""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    if match and request.method == "GET":
        first = int(match[1])
        if first >= len(body):
            return _refuse(416, "InvalidRange", extra={"Content-Range": f"bytes */{len(body)}"})
        last = min(int(match[2] or len(body) - 1), len(body) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        body, status = body[first : last + 1], 206
    return web.Response(status=status, body=body, headers=headers)


def _headers(blob: Blob) -> dict[str, str]:
    modified = datetime.fromisoformat(blob.modified)
    return {
        "Content-Type": "text/plain; charset=utf-8",
        "Accept-Ranges": "bytes",
        "Last-Modified": format_datetime(modified, usegmt=True),
        "ETag": f'"0x{int(modified.timestamp() * 1e6):X}"',
        "x-ms-blob-type": "AppendBlob",
        "x-ms-creation-time": format_datetime(modified, usegmt=True),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
        **_common(),
        **{f"x-ms-meta-{name}": value for name, value in blob.metadata.items()},
    }


def _common() -> dict[str, str]:
    return {
        "Server": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
        "x-ms-request-id": new_guid(),
        "x-ms-version": VERSION,
    }


def _refuse(status: int, code: str, *, head: bool = False, extra: Mapping[str, str] | None = None) -> web.Response:
    error = f"<Error><Code>{code}</Code><Message>{escape(_MESSAGES[code])}</Message></Error>"
    body = f'<?xml version="1.0" encoding="utf-8"?>{error}'
    headers = {**_common(), "x-ms-error-code": code, "Content-Type": "application/xml", **(extra or {})}
    return web.Response(status=status, body=None if head else body.encode(), headers=headers)

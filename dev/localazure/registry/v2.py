"""The OCI distribution API under `/v2/` (https://github.com/opencontainers/distribution-spec/blob/main/spec.md)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from dev.localazure.front import ENTRY
from dev.localazure.registry.auth import CATALOG, Auth, Scope
from dev.localazure.registry.content import Registries
from dev.localazure.registry.errors import PageNotFound, RegistryError, json_response, manifest_unknown, name_unknown
from dev.localazure.registry.manifests import (
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    is_digest,
    is_repository,
    parse,
)
from dev.localazure.state import Resource, new_guid

_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_BLOB = re.compile(r"/v2/(.+)/blobs/([^/]+)")
_UPLOADS = re.compile(r"/v2/(.+)/blobs/uploads/?")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/]+)")
_TAGS = re.compile(r"/v2/(.+)/tags/list")
_REFERRERS = re.compile(r"/v2/(.+)/referrers/([^/]+)")
_CHUNK = 1024 * 1024


@dataclass
class _Upload:
    registry: str
    repository: str
    body: bytearray = field(default_factory=bytearray)
    hash: Any = field(default_factory=hashlib.sha256)

    async def receive(self, request: web.Request) -> None:
        """Append a request's body as it arrives."""
        async for chunk in request.content.iter_chunked(_CHUNK):
            self.body += chunk
            self.hash.update(chunk)

    @property
    def range(self) -> str:
        """What has arrived so far, as the `Range` header says it."""
        return f"0-{max(len(self.body) - 1, 0)}"


def page(request: web.Request, items: Sequence[str], default: int = 100) -> tuple[list[str], dict[str, str]]:
    """Return one page of sorted names and the `Link` header to the next (`n`, `last` from the query).

    Raises:
        RegistryError: 400 for a bad `n`.
    """
    query = request.query
    text = query.get("n") or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise RegistryError(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", {"n": text})
    number, last = int(text), query.get("last", "")
    start = items.index(last) + 1 if last in items else sum(1 for item in items if item <= last)
    shown = list(items[start : start + number])
    if start + number >= len(items):
        return shown, {}
    following = {"last": shown[-1], "n": str(number)}
    if request.path.startswith("/acr/v1/"):
        following["orderby"] = query.get("orderby", "")
    return shown, {"Link": f'<{request.path}?{urlencode(following)}>; rel="next"'}


def repository_scope(name: str, *actions: str) -> Scope:
    """Return the scope of some actions in a repository.

    Raises:
        PageNotFound: No repository can have this name; ACR's router does not know the path then.
    """
    if not is_repository(name):
        raise PageNotFound
    return Scope("repository", name, actions)


class Distribution:
    """Push and pull."""

    def __init__(self, registries: Registries, auth: Auth) -> None:
        """Serve the content of these registries."""
        self._registries, self._auth = registries, auth
        self._uploads: dict[str, _Upload] = {}

    def forget(self, registry: Resource) -> None:
        """Drop the upload sessions of a deleted registry."""
        for key in [key for key, upload in self._uploads.items() if upload.registry == registry.id]:
            del self._uploads[key]

    async def handle(self, request: web.Request, registry: Resource) -> web.StreamResponse:
        """Answer a request under `/v2`."""
        path = request.path
        if path in ("/v2", "/v2/"):
            self._auth.authorize(request, registry)
            return json_response({})
        if path == "/v2/_catalog":
            return self._catalog(request, registry)
        if match := _TAGS.fullmatch(path):
            return self._tags(request, registry, match[1])
        if match := _REFERRERS.fullmatch(path):
            return self._referrers(request, registry, match[1], match[2])
        if match := _MANIFEST.fullmatch(path):
            return await self._manifest(request, registry, match[1], match[2])
        if match := _UPLOADS.fullmatch(path):
            return await self._start_upload(request, registry, match[1])
        if match := _UPLOAD.fullmatch(path):
            return await self._upload(request, registry, match[1], match[2])
        if match := _BLOB.fullmatch(path):
            return self._blob(request, registry, match[1], match[2])
        raise PageNotFound

    def _enter(self, request: web.Request, registry: Resource, operation: str, *needs: Scope) -> None:
        request[ENTRY].operation = operation
        self._auth.authorize(request, registry, *needs)

    def _catalog(self, request: web.Request, registry: Resource) -> web.Response:
        self._enter(request, registry, "catalog/read", CATALOG)
        names, link = page(request, sorted(self._registries.content(registry).repositories))
        return json_response({"repositories": names}, headers=link)

    def _tags(self, request: web.Request, registry: Resource, name: str) -> web.Response:
        self._enter(request, registry, "tag/list", repository_scope(name, "pull"))
        tags, link = page(request, sorted(self._registries.tags(registry, name)))
        return json_response({"name": name, "tags": tags}, headers=link)

    def _referrers(self, request: web.Request, registry: Resource, name: str, digest: str) -> web.Response:
        self._enter(request, registry, "referrer/list", repository_scope(name, "pull"))
        if not is_digest(digest):
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        wanted = request.query.get("artifactType")
        found = []
        repository = self._registries.content(registry).repositories.get(name)
        for manifest in repository.manifests.values() if repository else ():
            references = parse(manifest.body, manifest.media_type)
            if references.subject != digest or wanted not in (None, references.artifact_type):
                continue
            found.append(
                {
                    "mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.body),
                    "artifactType": references.artifact_type, "annotations": dict(references.annotations),
                }
            )  # fmt: skip
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted is not None else None
        return web.Response(text=body, content_type=OCI_INDEX, headers=headers)

    async def _manifest(self, request: web.Request, registry: Resource, name: str, reference: str) -> web.Response:
        if request.method in ("GET", "HEAD"):
            self._enter(request, registry, "manifest/read", repository_scope(name, "pull"))
            return self._read_manifest(request, registry, name, reference)
        if request.method == "PUT":
            self._enter(request, registry, "manifest/write", repository_scope(name, "pull", "push"))
            return await self._write_manifest(request, registry, name, reference)
        if request.method == "DELETE":
            self._enter(request, registry, "manifest/delete", repository_scope(name, "delete"))
            if is_digest(reference):
                agent = request.headers.get("User-Agent", "")
                self._registries.delete_manifest(registry, name, reference, user_agent=agent)
            elif self._registries.repository(registry, name).tags.pop(reference, None) is None:
                raise manifest_unknown(reference)
            return web.Response(status=202)
        raise _unsupported()

    def _read_manifest(self, request: web.Request, registry: Resource, name: str, reference: str) -> web.Response:
        if name not in self._registries.content(registry).repositories:
            raise name_unknown(name)
        manifest = self._registries.get_manifest(registry, name, reference)
        if manifest is None:
            raise manifest_unknown(reference)
        # As in the distribution code base, `*/*` does not count: who does not name the type does not get it
        # (https://github.com/Azure/acr/issues/741).
        parts = ",".join(request.headers.getall("Accept", [])).split(",")
        accepted = {part.partition(";")[0].strip() for part in parts}
        if manifest.media_type != DOCKER_MANIFEST and manifest.media_type not in accepted:
            raise RegistryError(
                404, "MANIFEST_UNKNOWN", f"{manifest.media_type} found, but the accept header does not support it"
            )
        headers = {
            "Content-Type": manifest.media_type, "Docker-Content-Digest": manifest.digest,
            "Etag": f'"{manifest.digest}"',
        }  # fmt: skip
        return web.Response(body=manifest.body, headers=headers)

    async def _write_manifest(
        self, request: web.Request, registry: Resource, name: str, reference: str
    ) -> web.Response:
        body = await request.content.read(MAX_MANIFEST_BYTES + 1)
        while len(body) <= MAX_MANIFEST_BYTES and (more := await request.content.read(_CHUNK)):
            body += more
        references = parse(body, request.headers.get("Content-Type", ""))
        for digest in references.blobs:
            if not self._registries.has_blob(registry, name, digest):
                raise RegistryError(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", {"Digest": digest})
        manifest = self._registries.put_manifest(
            registry, name, reference, references.media_type, body,
            user_agent=request.headers.get("User-Agent", ""), host=request.host,
        )  # fmt: skip
        headers = {"Location": f"/v2/{name}/manifests/{manifest.digest}", "Docker-Content-Digest": manifest.digest}
        if references.subject:
            headers["OCI-Subject"] = references.subject
        return web.Response(status=201, headers=headers)

    def _blob(self, request: web.Request, registry: Resource, name: str, digest: str) -> web.Response:
        if request.method == "DELETE":
            self._enter(request, registry, "blob/delete", repository_scope(name, "delete"))
            self._registries.delete_blob(registry, name, digest)
            return web.Response(status=202)
        if request.method not in ("GET", "HEAD"):
            raise _unsupported()
        self._enter(request, registry, "blob/read", repository_scope(name, "pull"))
        data = self._registries.get_blob(registry, digest)
        if data is None or not self._registries.has_blob(registry, name, digest):
            raise RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})
        headers = {
            "Content-Type": "application/octet-stream", "Docker-Content-Digest": digest, "Etag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }  # fmt: skip
        try:
            wanted = request.http_range
        except ValueError as error:
            raise _range_invalid() from error
        if wanted.start is None and wanted.stop is None:
            return web.Response(body=data, headers=headers)
        start, stop, _ = wanted.indices(len(data))
        if start >= stop:
            raise _range_invalid({"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return web.Response(status=206, body=data[start:stop], headers=headers)

    async def _start_upload(self, request: web.Request, registry: Resource, name: str) -> web.Response:
        if request.method != "POST":
            raise _unsupported()
        query = request.query
        needs = [repository_scope(name, "pull", "push")]
        mount, source = query.get("mount"), query.get("from")
        if mount and source:
            needs.append(repository_scope(source, "pull"))
        self._enter(request, registry, "blob/write", *needs)
        if mount and source and self._registries.has_blob(registry, source, mount):
            self._registries.link_blob(registry, name, mount)
            return _created(name, mount)
        identifier = new_guid()
        upload = self._uploads[identifier] = _Upload(registry.id, name)
        if "digest" in query:
            return await self._finish(request, registry, identifier, upload)
        return self._progress(202, identifier, upload)

    async def _upload(self, request: web.Request, registry: Resource, name: str, identifier: str) -> web.Response:
        self._enter(request, registry, "blob/write", repository_scope(name, "pull", "push"))
        upload = self._uploads.get(identifier)
        if upload is None or (upload.registry, upload.repository) != (registry.id, name):
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.method == "GET":
            return self._progress(204, identifier, upload)
        if request.method == "DELETE":
            del self._uploads[identifier]
            return web.Response(status=204)
        if request.method == "PUT":
            return await self._finish(request, registry, identifier, upload)
        if request.method != "PATCH":
            raise _unsupported()
        start = request.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if start and start != str(len(upload.body)):
            raise _range_invalid({"Range": upload.range})
        await upload.receive(request)
        return self._progress(202, identifier, upload)

    async def _finish(self, request: web.Request, registry: Resource, identifier: str, upload: _Upload) -> web.Response:
        await upload.receive(request)
        digest = request.query.get("digest", "")
        del self._uploads[identifier]
        if digest != "sha256:" + upload.hash.hexdigest():
            raise RegistryError(
                400, "DIGEST_INVALID", "provided digest did not match uploaded content", {"Digest": digest}
            )
        self._registries.put_blob(registry, bytes(upload.body), upload.repository)
        return _created(upload.repository, digest)

    def _progress(self, status: int, identifier: str, upload: _Upload) -> web.Response:
        headers = {
            "Location": f"/v2/{upload.repository}/blobs/uploads/{identifier}", "Range": upload.range,
            "Docker-Upload-UUID": identifier,
        }  # fmt: skip
        return web.Response(status=status, headers=headers)


def _created(name: str, digest: str) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)


def _unsupported() -> RegistryError:
    return RegistryError(405, "UNSUPPORTED", "The operation is unsupported.")


def _range_invalid(headers: dict[str, str] | None = None) -> RegistryError:
    return RegistryError(416, "RANGE_INVALID", "invalid content range", None, headers)

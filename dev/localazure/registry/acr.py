"""ACR's own metadata API under `/acr/v1/` (https://learn.microsoft.com/rest/api/containerregistry/)."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from dev.localazure.front import ENTRY
from dev.localazure.registry.auth import CATALOG, Auth
from dev.localazure.registry.content import Registries
from dev.localazure.registry.errors import RegistryError, json_response, manifest_unknown
from dev.localazure.registry.manifests import parse
from dev.localazure.registry.v2 import page, repository_scope
from dev.localazure.state import Manifest, Repository, Resource, Tag

_CHILD = re.compile(r"/acr/v1/(.+)/_(tags|manifests)(?:/([^/]+))?")
_UNLOCKED = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}


class Metadata:
    """Lists and deletes repositories, tags and manifests."""

    def __init__(self, registries: Registries, auth: Auth) -> None:
        """Serve the content of these registries."""
        self._registries, self._auth = registries, auth

    async def handle(self, request: web.Request, registry: Resource) -> web.StreamResponse:
        """Answer a request under `/acr/v1`."""
        path, deletes = request.path, request.method == "DELETE"
        if request.method not in ("GET", "DELETE"):
            raise RegistryError(405, "UNSUPPORTED", "The operation is unsupported.")
        if path == "/acr/v1/_catalog" and not deletes:
            request[ENTRY].operation = "catalog/read"
            self._auth.authorize(request, registry, CATALOG)
            names, link = page(request, sorted(self._registries.content(registry).repositories))
            return json_response({"repositories": names}, headers=link)
        match = _CHILD.fullmatch(path)
        name, kind, item = (match[1], match[2], match[3]) if match else (path.removeprefix("/acr/v1/"), "", None)
        scope = repository_scope(name, "delete" if deletes else "metadata_read")
        verb = "delete" if deletes else "read"
        request[ENTRY].operation = f"{kind.removesuffix('s') or 'repository'}/{verb}"
        self._auth.authorize(request, registry, scope)
        repository = self._registries.repository(registry, name)
        if not kind:
            return self._delete(request, registry, name) if deletes else self._repository(registry, name, repository)
        head = {"registry": registry.properties["loginServer"], "imageName": name}
        if item is None:
            if deletes:
                raise RegistryError(405, "UNSUPPORTED", "The operation is unsupported.")
            return self._list_tags(request, registry, head) if kind == "tags" else self._list_manifests(
                request, registry, head, repository
            )  # fmt: skip
        if kind == "tags":
            return self._tag(registry, head, repository, item, deletes=deletes)
        manifest = repository.manifests.get(item)
        if manifest is None:
            raise manifest_unknown(item)
        if deletes:
            self._registries.delete_manifest(registry, name, item, user_agent=request.headers.get("User-Agent", ""))
            return web.Response(status=202)
        return json_response({**head, "manifest": self._manifest_view(registry, repository, manifest)})

    def _repository(self, registry: Resource, name: str, repository: Repository) -> web.Response:
        created = [m.created for m in repository.manifests.values()]
        updated = [*created, *(t.updated for t in repository.tags.values())]
        return json_response(
            {
                "registry": registry.properties["loginServer"], "imageName": name, "createdTime": min(created),
                "lastUpdateTime": max(updated), "manifestCount": len(repository.manifests),
                "tagCount": len(repository.tags), "changeableAttributes": {**_UNLOCKED, "teleportEnabled": False},
            }
        )  # fmt: skip

    def _delete(self, request: web.Request, registry: Resource, name: str) -> web.Response:
        repository = self._registries.repository(registry, name)
        manifests, tags = sorted(repository.manifests), sorted(repository.tags)
        for digest in manifests:
            self._registries.delete_manifest(registry, name, digest, user_agent=request.headers.get("User-Agent", ""))
        return json_response({"manifestsDeleted": manifests, "tagsDeleted": tags}, 202)

    def _tag(
        self, registry: Resource, head: dict[str, Any], repository: Repository, name: str, *, deletes: bool
    ) -> web.Response:
        tag = (repository.tags if deletes else self._registries.tags(registry, head["imageName"])).get(name)
        if tag is None:
            raise RegistryError(404, "TAG_UNKNOWN", "the specified tag does not exist", {"name": name})
        if deletes:
            del repository.tags[name]
            return web.Response(status=202)
        return json_response({**head, "tag": _tag_view(tag)})

    def _list_tags(self, request: web.Request, registry: Resource, head: dict[str, Any]) -> web.Response:
        digest = request.query.get("digest")
        found = self._registries.tags(registry, head["imageName"])
        tags = {name: tag for name, tag in found.items() if digest in (None, tag.digest)}
        names = _ordered(request, {name: tag.updated for name, tag in tags.items()})
        shown, link = page(request, names)
        return json_response({**head, "tags": [_tag_view(tags[name]) for name in shown]}, headers=link)

    def _list_manifests(
        self, request: web.Request, registry: Resource, head: dict[str, Any], repository: Repository
    ) -> web.Response:
        digests = _ordered(request, {m.digest: self._updated(repository, m) for m in repository.manifests.values()})
        shown, link = page(request, digests)
        views = [self._manifest_view(registry, repository, repository.manifests[digest]) for digest in shown]
        return json_response({**head, "manifests": views}, headers=link)

    @staticmethod
    def _updated(repository: Repository, manifest: Manifest) -> str:
        return max([manifest.created, *(t.updated for t in repository.tags.values() if t.digest == manifest.digest)])

    def _manifest_view(self, registry: Resource, repository: Repository, manifest: Manifest) -> dict[str, Any]:
        references = parse(manifest.body, manifest.media_type)
        view: dict[str, Any] = {
            "digest": manifest.digest, "imageSize": references.size, "createdTime": manifest.created,
            "lastUpdateTime": self._updated(repository, manifest),
        }  # fmt: skip
        if references.config:
            config = self._registries.get_blob(registry, references.config) or b"{}"
            view |= _platform(config)
            view["configMediaType"] = json.loads(manifest.body)["config"]["mediaType"]
        view["mediaType"] = manifest.media_type
        tags = sorted(t.name for t in repository.tags.values() if t.digest == manifest.digest)
        if tags:
            view["tags"] = tags
        if references.manifests:
            view["references"] = [
                {"digest": d["digest"], **{k: d["platform"][k] for k in ("architecture", "os") if k in d["platform"]}}
                for d in json.loads(manifest.body)["manifests"]
                if "platform" in d
            ]
        return {**view, "changeableAttributes": _UNLOCKED}


def _platform(config: bytes) -> dict[str, str]:
    try:
        document = json.loads(config)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: document[key] for key in ("architecture", "os") if key in document}


def _tag_view(tag: Tag) -> dict[str, Any]:
    return {
        "name": tag.name, "digest": tag.digest, "createdTime": tag.created, "lastUpdateTime": tag.updated,
        "signed": False, "changeableAttributes": _UNLOCKED,
    }  # fmt: skip


def _ordered(request: web.Request, updated: dict[str, str]) -> list[str]:
    """Order names by `orderby`: `timedesc`, `timeasc`, or by name."""
    order = request.query.get("orderby", "")
    names = sorted(updated)
    if order in ("timedesc", "timeasc"):
        names.sort(key=lambda name: updated[name], reverse=order == "timedesc")
    return names

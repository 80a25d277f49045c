"""What registries hold, and who may touch it."""

from __future__ import annotations

from datetime import timedelta

from dev.localazure.clock import iso
from dev.localazure.conditions import REPOSITORY_NAME
from dev.localazure.core import Core
from dev.localazure.events import Events
from dev.localazure.rbac import Decision
from dev.localazure.registry import events
from dev.localazure.registry.errors import RegistryError, manifest_unknown, name_unknown
from dev.localazure.registry.images import Image
from dev.localazure.registry.manifests import INDEXES, MAX_MANIFEST_BYTES, digest_of, is_digest, is_tag, parse
from dev.localazure.registry.moves import Moves
from dev.localazure.state import Manifest, Principal, RegistryContent, Repository, Resource, Tag

REGISTRY = "Microsoft.ContainerRegistry/registries"

# https://learn.microsoft.com/azure/container-registry/container-registry-rbac-built-in-roles-overview: outside of ABAC
# mode the right to pull includes reading metadata and listing, the right to push writing metadata.
_LEGACY_ACTIONS = {
    "pull": ("pull/read",),
    "push": ("push/write",),
    "delete": ("artifacts/delete",),
    "metadata_read": ("metadata/read", "pull/read"),
    "metadata_write": ("metadata/write", "push/write"),
    "catalog": ("catalog/read", "pull/read"),
}
# https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions: only these
# data actions count; AcrPull, AcrPush, AcrDelete, Owner, Contributor and Reader give nothing.
_ABAC_DATA_ACTIONS = {
    "pull": ("repositories/content/read",),
    "push": ("repositories/content/write",),
    "delete": ("repositories/content/delete",),
    "metadata_read": ("repositories/metadata/read",),
    "metadata_write": ("repositories/metadata/write",),
    "catalog": ("catalog/read",),
}


class Registries:
    """The content of all registries.

    Attributes:
        tag_lag: How long all reads by a tag and of tags show what a tag was before it was pushed, though its event
            has been raised.
        replica_lag: How long runs in a region with a replica pull what a tag was before.
    """

    def __init__(self, core: Core, published: Events) -> None:
        """Keep the content in the state; pushes and deletions are published."""
        self.core, self._published = core, published
        self.tag_lag, self.replica_lag = timedelta(0), timedelta(0)
        self._moves = Moves()
        # Blobs that were uploaded or mounted but that no manifest of the repository refers to yet.
        self._uploaded: dict[tuple[str, str], set[str]] = {}
        # Where a host name was found last, so that not every request searches all resources.
        self._found: dict[str, str] = {}
        core.on_forget.append(self._forget)

    def reset(self) -> None:
        """Forget what tags were before."""
        self._moves.reset()

    def regions(self, registry: Resource) -> list[str]:
        """Return where a registry's content is, its home first; a push raises an event for each."""
        return [registry.location, *self.content(registry).replicas.values()]

    def find(self, login_server: str) -> Resource | None:
        """Return the ARM resource of the registry with this login server (or regional endpoint), in any casing."""
        host = login_server.lower()
        known = self.core.state.get(self._found.get(host, ""))
        if known is not None and host in _hosts(known):
            return known
        for registry in self.core.state.of_type(REGISTRY):
            if host in _hosts(registry):
                self._found[host] = registry.id
                return registry
        return None

    def content(self, registry: Resource) -> RegistryContent:
        """Return what a registry holds."""
        return self.core.state.content.setdefault(registry.properties["loginServer"].lower(), RegistryContent())

    def repository(self, registry: Resource, name: str) -> Repository:
        """Return a repository.

        Raises:
            RegistryError: 404 `NAME_UNKNOWN`.
        """
        found = self.content(registry).repositories.get(name)
        if found is None:
            raise name_unknown(name)
        return found

    def tags(self, registry: Resource, name: str, region: str = "") -> dict[str, Tag]:
        """Return the tags of a repository as they are read in a region (by default the registry's own).

        Raises:
            RegistryError: 404 `NAME_UNKNOWN`.
        """
        replica = region in self.regions(registry)[1:]
        lag = max(self.tag_lag, self.replica_lag) if replica else self.tag_lag
        return self._moves.tags(registry.id, name, self.repository(registry, name), self.core.clock.now() - lag)

    def may(self, principal: Principal, registry: Resource, repository: str, action: str) -> bool:
        """Tell whether a principal may do something in a repository, by the registry's role assignment mode.

        Args:
            principal: Who asks.
            registry: The registry's ARM resource.
            repository: The repository's name ("" for `catalog`, "*" for any: conditions on its name do not count).
            action: `pull`, `push`, `delete`, `metadata_read`, `metadata_write` or `catalog` (list repositories).
        """
        abac = registry.properties.get("roleAssignmentMode") == "AbacRepositoryPermissions"
        actions = (_ABAC_DATA_ACTIONS if abac else _LEGACY_ACTIONS).get(action, ())
        enough = (Decision.ALLOWED, Decision.CONDITION) if repository == "*" else (Decision.ALLOWED,)
        request = {REPOSITORY_NAME.lower(): [repository]} if repository not in ("", "*") else {}
        return any(
            self.core.rbac.decide(principal.object_id, f"{REGISTRY}/{suffix}", registry.id, data=abac, request=request)
            in enough
            for suffix in actions
        )

    def get_manifest(self, registry: Resource, repository: str, reference: str, region: str = "") -> Manifest | None:
        """Return a manifest by tag or digest as it is read in a region (by default the registry's own), or None."""
        found = self.content(registry).repositories.get(repository)
        if found is None:
            return None
        tag = None if is_digest(reference) else self.tags(registry, repository, region).get(reference)
        return found.manifests.get(tag.digest if tag else reference)

    def put_manifest(
        self,
        registry: Resource,
        repository: str,
        reference: str,
        media_type: str,
        body: bytes,
        *,
        method: str = "PUT",
        user_agent: str = "",
        host: str = "",
        raises_event: bool = True,
    ) -> Manifest:
        """Store a manifest whose blobs and children are there, move the tag to it and raise `ImagePushed`.

        Args:
            registry: The registry's ARM resource.
            repository: Repository name; it comes into being with its first manifest.
            reference: The tag to move, or the manifest's digest.
            media_type: Media type of the manifest ("" takes the one in the body).
            body: The manifest's bytes.
            method: HTTP method to name in the event.
            user_agent: User agent to name in the event.
            host: Host to name in the event (default: the login server).
            raises_event: Whether `ImagePushed` is raised.

        Raises:
            RegistryError: 400 for a bad manifest, reference or digest, or for something missing.
        """
        if len(body) > MAX_MANIFEST_BYTES:
            raise RegistryError(400, "MANIFEST_INVALID", "manifest invalid", {"Reason": "larger than 4 MiB"})
        references, digest = parse(body, media_type), digest_of(body)
        content = self.content(registry)
        target = content.repositories.get(repository, Repository())
        for missing in (d for d in references.blobs if d not in content.blobs):
            raise RegistryError(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", {"Digest": missing})
        # An index may list blobs too, as a build cache does.
        for missing in (d for d in references.manifests if d not in target.manifests and d not in content.blobs):
            raise RegistryError(400, "MANIFEST_BLOB_UNKNOWN", "manifest unknown to registry", {"Digest": missing})
        tag = None if is_digest(reference) else reference
        if tag is None and reference != digest:
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        if tag is not None and not is_tag(tag):
            raise RegistryError(400, "TAG_INVALID", "manifest tag did not match URI", {"Tag": tag})
        moment = self.core.clock.now()
        now = iso(moment, zulu=True)
        content.repositories[repository] = target
        manifest = target.manifests.setdefault(digest, Manifest(digest, references.media_type, body, now))
        if tag is not None:
            known = target.tags.get(tag)
            self._moves.moved(registry.id, repository, tag, known, moment, max(self.tag_lag, self.replica_lag))
            target.tags[tag] = Tag(tag, digest, known.created if known else now, now)
        request = {"host": host or registry.properties["loginServer"], "method": method, "useragent": user_agent}
        locations = self.regions(registry) if raises_event else ()
        for event in events.image_pushed(repository, tag, manifest, now=moment, request=request, locations=locations):
            self._published.publish(registry.id, event)
        return manifest

    def push(
        self, registry: Resource, repository: str, reference: str, image: Image, *, user_agent: str = "",
        raises_event: bool = True,
    ) -> Manifest:  # fmt: skip
        """Store an image with its blobs and, for an index, its children (each by digest).

        Raises:
            RegistryError: As `put_manifest`.
        """
        for child in image.children:
            self.push(registry, repository, child.digest, child, user_agent=user_agent, raises_event=raises_event)
        for blob in image.blobs.values():
            self.put_blob(registry, blob)
        return self.put_manifest(
            registry, repository, reference, image.media_type, image.manifest, user_agent=user_agent,
            raises_event=raises_event,
        )  # fmt: skip

    def load(self, registry: Resource, repository: str, reference: str, region: str = "") -> Image:
        """Return a stored image with its blobs (and, for an index, its children), as it is read in a region.

        Raises:
            RegistryError: 404 `MANIFEST_UNKNOWN`.
        """
        manifest = self.get_manifest(registry, repository, reference, region)
        if manifest is None:
            raise manifest_unknown(reference)
        references, blobs = parse(manifest.body, manifest.media_type), self.content(registry).blobs
        children = tuple(self.load(registry, repository, digest) for digest in references.manifests)
        held = {digest: blobs[digest] for digest in references.blobs}
        return Image(manifest.body, manifest.media_type, held, children)

    def delete_manifest(self, registry: Resource, repository: str, digest: str, *, user_agent: str = "") -> None:
        """Delete a manifest with all its tags and raise `ImageDeleted`.

        Raises:
            RegistryError: 404 for an unknown repository or manifest.
        """
        found = self.repository(registry, repository)
        manifest = found.manifests.pop(digest, None)
        if manifest is None:
            raise manifest_unknown(digest)
        for tag in [t for t in found.tags.values() if t.digest == digest]:
            del found.tags[tag.name]
        if not found.manifests:
            del self.content(registry).repositories[repository]
        request = {"host": registry.properties["loginServer"], "method": "DELETE", "useragent": user_agent}
        event = events.image_deleted(registry, repository, manifest, now=self.core.clock.now(), request=request)
        self._published.publish(registry.id, event)

    def get_blob(self, registry: Resource, digest: str) -> bytes | None:
        """Return a blob's bytes, or None."""
        return self.content(registry).blobs.get(digest)

    def put_blob(self, registry: Resource, data: bytes, repository: str = "") -> str:
        """Store a blob and return its digest; with a repository, link it there for manifests to come."""
        digest = digest_of(data)
        self.content(registry).blobs[digest] = data
        if repository:
            self.link_blob(registry, repository, digest)
        return digest

    def link_blob(self, registry: Resource, repository: str, digest: str) -> None:
        """Let a repository use a blob that the registry holds, before a manifest refers to it."""
        self._uploaded.setdefault((registry.id.lower(), repository), set()).add(digest)

    def has_blob(self, registry: Resource, repository: str, digest: str) -> bool:
        """Tell whether a blob can be seen from a repository: only what was uploaded, mounted or pushed there."""
        content = self.content(registry)
        if digest not in content.blobs:
            return False
        if digest in self._uploaded.get((registry.id.lower(), repository), ()):
            return True
        manifests = content.repositories.get(repository, Repository()).manifests.values()
        return any(digest in parse(m.body, m.media_type).blobs for m in manifests if m.media_type not in INDEXES)

    def delete_blob(self, registry: Resource, repository: str, digest: str) -> None:
        """Delete a blob.

        Raises:
            RegistryError: 404 `BLOB_UNKNOWN`.
        """
        if not self.has_blob(registry, repository, digest):
            raise RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})
        del self.content(registry).blobs[digest]

    def _forget(self, resource: Resource) -> None:
        if resource.type.lower() == REGISTRY.lower():
            self.core.state.content.pop(resource.properties["loginServer"].lower(), None)
            for key in [key for key in self._uploaded if key[0] == resource.id.lower()]:
                del self._uploaded[key]


def _hosts(registry: Resource) -> set[str]:
    names = (registry.properties["loginServer"], *registry.properties.get("regionalEndpointHostNames", ()))
    return {name.lower() for name in names}

"""Registries' data planes: what their tags point to."""

from __future__ import annotations

from collections.abc import Callable

from azure.containerregistry import ArtifactTagProperties
from azure.core.exceptions import ResourceNotFoundError

from shared.adapters.azure_errors import doing, or_none
from shared.adapters.clients import Clients
from shared.domain.errors import PermanentError
from shared.domain.images import BaseImage
from shared.domain.registries import Registry
from shared.domain.state.bases import Tag

_PAGE = 100


class RegistryImages:
    """Looks up images in registries."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def digest_of(self, registry: Registry, image: BaseImage) -> str | None:
        """Return what a tag points to now, or None if the tag does not exist."""
        with doing(f"look up {image.name} in {registry.name}"):
            async with self._clients.images(registry.login_server) as client:
                found = await or_none(client.get_tag_properties(image.repository, image.tag))
        if found is None:
            return None
        if not found.digest:
            raise PermanentError(f"{registry.name} does not say what {image.name} points to.")
        return str(found.digest)

    async def tag(self, registry: Registry, image: BaseImage) -> Tag | None:
        """Return a tag as the registry tells it, or None if it does not exist."""
        with doing(f"look up {image.name} in {registry.name}"):
            async with self._clients.images(registry.login_server) as client:
                found = await or_none(client.get_tag_properties(image.repository, image.tag))
        return _tag(image.repository, found) if found is not None else None

    async def tags(
        self, registry: Registry, repository: str, enough: Callable[[Tag], bool], most: int | None
    ) -> list[Tag]:
        """Return a repository's tags, those that were pushed last first, until one is `enough`, or `most` are read.

        A repository that does not exist has none.
        """
        tags = list[Tag]()
        with doing(f"list the tags of {repository} in {registry.name}"):
            async with self._clients.images(registry.login_server) as client:
                listed = client.list_tag_properties(repository, order_by="timedesc", results_per_page=_PAGE)
                try:
                    async for found in listed:
                        tag = _tag(repository, found)
                        if len(tags) == most or enough(tag):
                            break
                        tags.append(tag)
                except ResourceNotFoundError:
                    pass
        return tags


def _tag(repository: str, found: ArtifactTagProperties) -> Tag:
    return Tag(BaseImage(repository, found.name, found.digest), found.last_updated_on)

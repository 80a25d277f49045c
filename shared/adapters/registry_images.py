"""Registries' data planes: what their tags point to."""

from __future__ import annotations

from shared.adapters.azure_errors import doing, or_none
from shared.adapters.clients import Clients
from shared.domain.errors import PermanentError
from shared.domain.images import BaseImage
from shared.domain.registries import Registry


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

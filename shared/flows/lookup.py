"""Registries by the names that callers write into paths."""

from __future__ import annotations

from shared.adapters.fleet import Fleet
from shared.domain.echo import quoted
from shared.domain.errors import NotFound
from shared.domain.registries import Registry
from shared.flows.inputs import part_of_path


async def registry(fleet: Fleet, name: str) -> Registry:
    """Return a registry.

    Raises:
        InvalidInput: No registry can have the name.
        NotFound: There is none.
    """
    return _known(name, await fleet.find(part_of_path(name, "registry")))


async def registry_now(fleet: Fleet, name: str) -> Registry:
    """Return a registry with its tags of this moment.

    Raises:
        InvalidInput: No registry can have the name.
        NotFound: There is none.
    """
    return _known(name, await fleet.find_now(part_of_path(name, "registry")))


def _known(name: str, found: Registry | None) -> Registry:
    if found is None:
        raise NotFound(
            f"There is no registry {quoted(name)} in the subscriptions that Groundswell watches, or it may not read it."
        )
    return found

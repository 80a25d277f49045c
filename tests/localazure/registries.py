"""Sets up registries and clients for the registry tests."""

from __future__ import annotations

import aiohttp

from localazure.azure import Azure
from localazure.clock import iso
from localazure.registry.client import RegistryClient
from localazure.state import App, Resource
from tests.conftest import SUBSCRIPTION, Client

ABAC = "AbacRepositoryPermissions"
LEGACY = "LegacyRegistryPermissions"


def make_registry(azure: Azure, name: str = "myregistry", mode: str = LEGACY, location: str = "westus") -> Resource:
    """Put a registry into the state, past ARM."""
    return azure.state.put(
        Resource(
            f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/{name}",
            "Microsoft.ContainerRegistry/registries", name, location, {}, {"name": "Standard", "tier": "Standard"},
            properties={
                "loginServer": f"{name}.azurecr.io", "roleAssignmentMode": mode, "anonymousPullEnabled": False,
                "creationDate": iso(azure.clock.now(), zulu=True),
            },
        )
    )  # fmt: skip


def client_of(
    azure: Azure, registry: Resource, session: aiohttp.ClientSession, app: App | None = None
) -> RegistryClient:
    """Return a client that signs in to a registry as an app (default: the owner)."""
    entra = Client(azure, app or azure.owner, session)
    return RegistryClient(session, registry.properties["loginServer"], entra.token)

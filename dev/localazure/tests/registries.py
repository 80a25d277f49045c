"""Sets up registries and clients for the registry tests."""

from __future__ import annotations

import aiohttp

from dev.localazure.azure import Azure
from dev.localazure.clock import iso
from dev.localazure.registry.client import RegistryClient
from dev.localazure.state import App, Resource
from dev.testing.azure import SUBSCRIPTION, Client

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

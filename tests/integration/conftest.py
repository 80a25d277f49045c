"""The company in the local Azure, with real storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dev.localazure.azure import Azure
from dev.testing.azure import Client
from dev.testing.azurite import Azurite
from tests.integration.world import BASE, GROUP, World, deploy


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One storage emulator for the session."""
    with Azurite() as azurite:
        yield azurite


@pytest.fixture
async def world(
    azure: Azure, owner: Client, azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A base registry and the app; the environment makes SDKs talk to Azure as the app."""
    await owner.arm("PUT", GROUP, {"location": "eastus"}, api_version="2024-11-01")
    body = {"location": "eastus", "sku": {"name": "Standard"}}
    path = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/{BASE}"
    await owner.arm("PUT", path, body, api_version="2026-09-01-preview")
    app = azure.identity.create_app("groundswell")
    roles = await deploy(owner, app)
    monkeypatch.setenv("IDENTITY_HEADER", app.header)
    world = World(azure, owner, app, tmp_path, azurite.connection_string, roles)
    await world.clear_queues()
    yield world
    await world.groundswell.close()

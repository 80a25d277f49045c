"""The app in a Functions host of its own, wired to Event Grid as a deployment wires it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.testing.functions_host import FunctionsHost
from tests.e2e.company import Company, wire
from tests.integration.conftest import azurite, world
from tests.integration.world import OPTED_IN, ROOT, TEAM, World

__all__ = ["azurite", "world"]


@pytest.fixture
def changes() -> dict[str, str]:
    """Settings of the app that a test module wants otherwise."""
    return {}


@pytest.fixture
async def company(world: World, tmp_path: Path, changes: dict[str, str]) -> AsyncIterator[Company]:
    """The company with Groundswell running."""
    environment = {**world.azure.environment(world.app), **world.settings, **changes}
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        environment[name] = str(world.azure.ca_bundle)
    (tmp_path / "settings.json").write_text('{"IsEncrypted": false, "Values": {}}')
    with FunctionsHost(ROOT, environment, ("--settings", str(tmp_path / "settings.json"))) as host:
        await wire(world, host)
        yield Company(world, host)


@pytest.fixture
async def bystanders(company: Company) -> Company:
    """A company whose registries are of every kind, with no base image pushed."""
    await company.unsubscribe()
    for name, tags in {TEAM: OPTED_IN, "notselected": {}, "pausedteam": {"base-image-rebuilds": "paused"}}.items():
        await company.world.create_registry(name, tags=tags)
    return company

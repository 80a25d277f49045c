"""A company whose app has Azure's clock: a walker that waits lets time pass, and nobody sleeps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.walks.steps import Company
from tests.integration.world import World


@pytest.fixture
async def company(world: World) -> AsyncIterator[Company]:
    company = Company(world.azure, world.owner, world.app, world.folder, world.storage, world.roles)
    company.azure.agent.pace = 0
    yield company
    await company.groundswell.close()

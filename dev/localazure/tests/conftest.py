"""The registries that several modules of tests start from."""

from __future__ import annotations

import aiohttp
import pytest

from dev.localazure.azure import Azure
from dev.localazure.registry.client import RegistryClient
from dev.localazure.state import Resource
from dev.localazure.tests.registries import client_of, make_registry
from dev.localazure.tests.task_runs import Scenario
from dev.testing.azure import Client


@pytest.fixture
def registry(azure: Azure) -> Resource:
    return make_registry(azure)


@pytest.fixture
def client(azure: Azure, registry: Resource, session: aiohttp.ClientSession) -> RegistryClient:
    return client_of(azure, registry, session)


@pytest.fixture
async def scenario(azure: Azure, owner: Client) -> Scenario:
    """The scenario with its two registries, without firewalls."""
    scenario = Scenario(azure, owner)
    await scenario.set_up()
    return scenario


@pytest.fixture
async def granted_task(scenario: Scenario) -> None:
    """The scenario's task, which may pull from the base registry."""
    await scenario.create_granted_task()

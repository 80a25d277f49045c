"""The composition root: what is given takes the place of what the app would make for itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import yaml
from azure.storage.queue.aio import QueueServiceClient

from shared import settings
from shared.adapters.clients import Clients
from shared.app import build, current
from shared.domain.errors import ConfigurationError
from tests.builders import SUBSCRIPTION, TASK_FILE, event, policy, policy_document

VALUES = {"GROUNDSWELL_SUBSCRIPTIONS": SUBSCRIPTION, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_messages_bear_the_time_of_the_clock_that_is_given() -> None:
    app = build(settings.load(VALUES), policy=policy, clock=lambda: LONG_AGO)

    message = json.loads(app.fan_outs.base_image_pushed(event("image_pushed")) or "{}")

    assert message["requestedAt"] == "2026-01-02T03:04:05Z"
    # No push comes from the future.
    assert message["pushedAt"] == message["requestedAt"]


def test_policy_is_the_file_that_the_settings_name_unless_one_is_given(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TASK_FILE)
    (tmp_path / "rebuilds.yaml").write_text(yaml.safe_dump(policy_document(baseRegistry="anotherregistry")))
    values = settings.load({**VALUES, "GROUNDSWELL_POLICY": str(tmp_path / "rebuilds.yaml")})

    assert build(values).policy().base_name == "anotherregistry"
    assert build(values, policy=policy).policy().base_name == "mybaseregistry"


def test_nothing_is_read_before_it_is_used(tmp_path: Path) -> None:
    app = build(settings.load({**VALUES, "GROUNDSWELL_POLICY": str(tmp_path / "missing.yaml")}))

    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        app.policy()


async def test_queues_are_those_of_the_clients_that_are_given() -> None:
    queues = QueueServiceClient("https://given.queue.core.windows.net", credential="a2V5")
    app = build(settings.load(VALUES), policy=policy, clients=partial(Clients, queues=queues))

    assert app.clients.queues() is queues

    await app.close()


def test_worker_has_one_app(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    current.cache_clear()

    assert current() is current()

    current.cache_clear()

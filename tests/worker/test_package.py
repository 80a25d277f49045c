"""The deployment package alone, in a clean folder, is a whole app for the official worker."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from dev.checks import package
from tests.worker.payloads import image_pushed
from tests.worker.worker import APP, Worker, needs_worker

pytestmark = needs_worker


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    target = tmp_path / "groundswell.zip"
    package.write(APP, target)
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path / "wwwroot")
    return tmp_path / "wwwroot"


def test_every_function_of_the_package_is_indexed(unpacked: Path, unconfigured: Worker) -> None:
    with Worker(app=unpacked) as worker:
        assert set(worker.functions) == set(unconfigured.functions)


async def test_package_finds_its_policy(unpacked: Path, settings: dict[str, str], no_azure: dict[str, str]) -> None:
    with Worker(settings | no_azure, app=unpacked) as worker:
        reply = await worker.event_grid("base_image_pushed", image_pushed("mybaseregistry"))
        assert reply.error == ""
        assert len(reply.messages) == 1

"""How hypothesis runs here, and a folder for policies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.builders import TASK_FILE

# A busy machine must not fail a test, and the same code must get the same examples.
settings.register_profile(
    "groundswell", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("groundswell")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy's folder, with the task file that tests/builders.py names, and one outside of it."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "task.yaml").write_text(TASK_FILE)
    (tmp_path / "outside.yaml").write_text(TASK_FILE)
    return tmp_path / "policy"

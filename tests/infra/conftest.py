"""What the tests of the hooks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.scripted_az import Azure


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    """Return an Azure where nothing exists yet but what is asked first."""
    return Azure(tmp_path)

"""Policies as the app reads them from their file, for tests of what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.adapters import policy_file
from shared.domain.errors import ConfigurationError
from shared.domain.policy import Policy


def parse(document: Any, folder: Path) -> Policy:
    return policy_file.parse(yaml.safe_dump(document), folder, "rebuilds.yaml")


def refusal(document: Any, folder: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        parse(document, folder)
    return str(refused.value)

"""Whatever happens in whatever order: when all has come to rest, every registry was served once and none twice."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from dev.testing.azurite import Azurite
from tests.faults.player import play
from tests.faults.script import Script, scripts

SHORT = 15
SCRIPTS = int(os.environ.get("GROUNDSWELL_FAULT_SCRIPTS", SHORT))
"""How many scripts are played: the same ones each time in the short form, new ones in a longer one."""


@pytest.mark.timeout(120 + 30 * SCRIPTS)
@settings(
    max_examples=SCRIPTS,
    deadline=None,
    derandomize=SCRIPTS <= SHORT,
    database=None,
    # A script takes seconds: shrinking one that fails takes many minutes, so only the long form does it.
    phases=[Phase.generate] if SCRIPTS <= SHORT else [Phase.generate, Phase.shrink],
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(script=scripts)
def test_fleet_is_served_exactly_once_whatever_happens(
    script: Script, azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    problems = asyncio.run(play(script, azurite.connection_string, tmp_path_factory.mktemp("company")))
    note("\n".join(problems))
    assert problems == []

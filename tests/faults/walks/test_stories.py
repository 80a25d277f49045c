"""Whatever happens in whatever order: when all has come to rest, every image is current and none was built in vain."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from dev.testing.azurite import Azurite
from tests.faults.walks.player import play
from tests.faults.walks.script import Story, stories

SHORT = 15
STORIES = int(os.environ.get("GROUNDSWELL_FAULT_SCRIPTS", SHORT))
"""How many stories are played: the same ones each time in the short form, new ones in a longer one."""


@pytest.mark.timeout(120 + 30 * STORIES)
@settings(
    max_examples=STORIES,
    deadline=None,
    derandomize=STORIES <= SHORT,
    database=None,
    # A story takes seconds: shrinking one that fails takes many minutes, so only the long form does it.
    phases=[Phase.generate] if STORIES <= SHORT else [Phase.generate, Phase.shrink],
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(story=stories)
def test_images_are_current_in_the_end_whatever_happens(
    story: Story, azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    problems = asyncio.run(play(story, azurite.connection_string, tmp_path_factory.mktemp("company")))
    note("\n".join(problems))
    assert problems == []

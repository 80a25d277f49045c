"""What `make` alone says: first what a newcomer needs, then the other targets, each under its heading."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def listed() -> dict[str, list[str]]:
    """The targets under each heading, in their order."""
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    _, *paragraphs = done.stdout.rstrip("\n").split("\n\n")
    return {
        heading: [re.fullmatch(r"  make ([a-z-]+) +\S.*", line)[1] for line in lines]  # type: ignore[index]
        for heading, *lines in (paragraph.splitlines() for paragraph in paragraphs)
    }


def test_help_starts_with_what_a_newcomer_needs(listed: dict[str, list[str]]) -> None:
    assert next(iter(listed.items())) == ("Start with", ["demo", "test", "up", "check"])


def test_help_lists_every_described_target_once(listed: dict[str, list[str]]) -> None:
    described = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name for names in listed.values() for name in names) == sorted(described)

"""The tools that documents and the Makefile name answer to `--help`, and by the name that is written there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = (ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("dev/*/README.md"))
NAMED = {
    name
    for source in SOURCES
    for name in re.findall(r"(?:python|\$\(PY\)) -m (dev(?:\.[a-z_]+)+)", source.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_tool_that_is_named_answers_to_help_by_that_name(name: str) -> None:
    command = [sys.executable, "-m", name, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m {name} ")

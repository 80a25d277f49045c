"""The check with the compiler: it fails on anything that the compiler says, and says when there is none."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dev.checks import snapshots


def run(task: str, folder: Path, compiler: str = "") -> subprocess.CompletedProcess[str]:
    """Run the check with a compiler that is a shell script, or with none."""
    if compiler:
        path = folder / "bicep"
        path.write_text(f"#!/bin/sh\n{compiler}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    command = [sys.executable, "-m", "dev.checks.snapshots", task]
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    return subprocess.run(command, cwd=snapshots.ROOT, env=environment, capture_output=True, text=True, check=False)


def test_machine_without_the_compiler_is_told_and_may_go_on(tmp_path: Path) -> None:
    done = run("validate", tmp_path)
    assert done.returncode == 0
    assert "infra was not compiled: bicep is not on the PATH" in done.stdout


def test_snapshots_cannot_be_renewed_without_the_compiler(tmp_path: Path) -> None:
    assert run("renew", tmp_path).returncode == 1


def test_compiler_that_says_nothing_is_asked_for_every_file_and_every_case(tmp_path: Path) -> None:
    done = run("validate", tmp_path, f'echo "$1 ${{2##*/}}" >> {tmp_path}/calls')
    assert done.returncode == 0, done.stdout
    asked = set((tmp_path / "calls").read_text().splitlines())
    assert asked == {f"{task} {entry}.bicep" for entry in snapshots.ENTRIES for task in ("build", "lint")} | {
        f"snapshot {case}.bicepparam" for case in snapshots.cases()
    }


@pytest.mark.parametrize(("compiler", "finding"), [
    ("[ $1 != lint ] || echo 'a.bicep(1,1) : Warning no-unused-vars' >&2", "a.bicep(1,1) : Warning no-unused-vars"),
    ("[ $1 != snapshot ] || { echo '- ftpsState'; exit 1; }", "bicep snapshot main-default.bicepparam: - ftpsState"),
    ("[ $1 != build ] || exit 1", "bicep build events.bicep: exit status 1"),
])  # fmt: skip
def test_warning_error_or_difference_fails_the_check(tmp_path: Path, compiler: str, finding: str) -> None:
    done = run("validate", tmp_path, compiler)
    assert done.returncode == 1
    assert finding in done.stdout

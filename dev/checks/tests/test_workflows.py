"""The workflow of GitHub Actions calls what there is, holds no secret, and lets one job alone sign in to Azure."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.checks import check_requirements, package

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / ".github").rglob("*.yml"))
WORKFLOW = ROOT / ".github/workflows/ci.yml"


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


def outputs() -> set[str]:
    """What infra/main.bicep tells of a deployment."""
    return set(re.findall(r"^output (\w+) ", (ROOT / "infra/main.bicep").read_text(), re.MULTILINE))


def test_make_targets_exist(jobs: dict[str, Any]) -> None:
    called = {line.split()[-1] if "=" not in line else line.split()[1]
              for job in jobs.values() for line in re.findall(r"^make .*$", commands(job), re.MULTILINE)}  # fmt: skip
    assert called >= {"check", "test", "demo", "package"}
    for target in called:
        dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_secret_is_used(path: Path) -> None:
    assert not re.search(r"\bsecrets\b\s*[.\[:]", path.read_text())


def test_actions_are_pinned_to_commits_with_their_version_beside() -> None:
    used = re.findall(r"uses: (.*)$", WORKFLOW.read_text(), re.MULTILINE)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_only_the_deployment_may_sign_in_and_only_from_main(jobs: dict[str, Any]) -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {}
    deploy, others = jobs["deploy"], [job for name, job in jobs.items() if name != "deploy"]
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}
    assert deploy["environment"] == "production"
    assert "github.ref == 'refs/heads/main'" in deploy["if"]
    assert "github.event_name != 'pull_request'" in deploy["if"]
    assert all(job["permissions"] == {"contents": "read"} for job in others)


def test_infra_is_compiled_by_the_compiler_that_made_its_snapshots(jobs: dict[str, Any]) -> None:
    assert 'az bicep install --version "v$(make --no-print-directory bicep-version)"' in commands(jobs["test"])
    said = subprocess.run(["make", "--no-print-directory", "bicep-version"], cwd=ROOT, capture_output=True, text=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", said.stdout)


def test_every_job_is_bounded(jobs: dict[str, Any]) -> None:
    assert all(job["timeout-minutes"] <= 60 for job in jobs.values())


def test_oldest_and_deployed_python_are_tested(jobs: dict[str, Any]) -> None:
    tested = set(jobs["test"]["strategy"]["matrix"]["python"])
    assert tested <= set(check_requirements.PYTHONS)
    assert {min(check_requirements.PYTHONS), "3.13"} <= tested


def test_published_package_is_the_one_that_was_made(jobs: dict[str, Any]) -> None:
    made = package.PACKAGE.relative_to(ROOT).as_posix()
    uploaded, downloaded = (
        next(step["with"] for step in jobs[job]["steps"] if f"{way}-artifact" in step.get("uses", ""))
        for job, way in (("test", "upload"), ("deploy", "download"))
    )
    assert uploaded["path"] == made == f"{downloaded['path']}/{package.PACKAGE.name}"
    assert uploaded["name"] == downloaded["name"]
    assert f"--src {made}" in commands(jobs["deploy"])


def test_hook_after_the_deployment_is_told_what_it_asks_for(jobs: dict[str, Any]) -> None:
    (hook,) = re.findall(r"^infra/hooks/\S+$", commands(jobs["deploy"]), re.MULTILINE)
    assert os.access(ROOT / hook, os.X_OK)
    asked = re.search(r"^need ((?:[A-Z_]+[ \\\n]+)+)", (ROOT / hook).read_text(), re.MULTILINE)
    assert asked
    assert set(asked[1].replace("\\", "").split()) <= set(jobs["deploy"]["env"])


def test_variables_of_the_deployment_are_those_that_infra_tells(jobs: dict[str, Any]) -> None:
    # The name of the environment is azd's own, and the first thing that it asks.
    assert set(jobs["deploy"]["env"]) - outputs() == {"AZURE_ENV_NAME"}
    assert all(value == f"${{{{ vars.{name} }}}}" for name, value in jobs["deploy"]["env"].items())


def test_smoke_is_told_the_deployment_by_what_infra_tells() -> None:
    # The first name of each is an output; the second, where there is one, what people answered without azd.
    asked = set(re.findall(r"\(of_deployment ([A-Z_]+)", (ROOT / "infra/smoke").read_text()))
    assert "DEPLOYED_BASE_REGISTRY_ID" in asked
    assert asked <= outputs()


def test_smoke_does_nothing_unless_it_is_told_to() -> None:
    environment = {"PATH": "/usr/bin:/bin", "BASE_REGISTRY_ID": "/subscriptions/s/resourceGroups/g/providers/p/r/base",
                   "TEAM_SUBSCRIPTION_IDS": "s"}  # fmt: skip
    done = subprocess.run([ROOT / "infra/smoke"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "when it is called with --yes" in done.stdout


def test_smoke_asks_for_what_it_is_not_told() -> None:
    done = subprocess.run(
        [ROOT / "infra/smoke", "--yes"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "BASE_REGISTRY_ID is not set" in done.stderr

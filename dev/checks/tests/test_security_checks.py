"""What checkov gets to see: the resources that infra/ makes. What it finds, and what the doctor finds, is passed on."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from dev.checks import check_security, snapshots


def program(folder: Path, name: str, output: str, status: int = 0) -> None:
    """Write a program that prints something, in the place of the real one."""
    (folder / f"{name}.out").write_text(output)
    path = folder / name
    path.write_text(f'#!/bin/sh\ncat "{folder / name}.out"\nexit {status}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("case", snapshots.cases())
def test_checkov_sees_every_resource_and_why_a_policy_is_skipped(case: str) -> None:
    resources = check_security.template(case)["resources"]
    assert [one["id"] for one in resources] == [one["id"] for one in snapshots.read(case)["predictedResources"]]
    assert ": null" not in json.dumps(resources)
    assert all(len(skip["comment"]) > 10 for one in resources for skip in one["metadata"]["checkov"])


def test_no_policy_is_skipped_for_what_is_not_made() -> None:
    types = {one["type"] for case in snapshots.cases() for one in snapshots.read(case)["predictedResources"]}
    assert check_security._SKIPPED.keys() <= types


FAILED = {"file_path": "/main.json", "resource": "a.b", "check_id": "CKV_1", "check_name": "be safe"}


@pytest.mark.parametrize(("results", "passed", "finding"), [
    ({}, 20, ""),
    ({}, 3, "checkov applied 3 policies: it does not see the resources any more"),
    ({"failed_checks": [FAILED]}, 20, "main: a.b: CKV_1: be safe"),
    ({"parsing_errors": ["/x/main.json"]}, 20, "main: checkov cannot read it"),
])  # fmt: skip
def test_finding_of_checkov_is_passed_on(tmp_path: Path, results: dict[str, object], passed: int, finding: str) -> None:
    report = {"results": results, "summary": {"passed": passed, "failed": 0, "skipped": 0}}
    program(tmp_path, "checkov", json.dumps(report))
    assert list(check_security.policies(tmp_path)) == ([finding] if finding else [])


def test_checkov_that_fails_is_no_praise(tmp_path: Path) -> None:
    program(tmp_path, "checkov", "", status=2)
    (finding,) = check_security.policies(tmp_path)
    assert finding.startswith("checkov failed")


@pytest.mark.parametrize(("output", "finding"), [
    ('{"results": [{"items": [{"status": "pass"}, {"status": "warn"}]}]}', ""),
    ('{"results": [{"items": [{"status": "fail", "rule_id": "r", "value": "v", "hint": "h"}]}]}', "r: v: h"),
    ("no module named x", "azure-functions-doctor failed: no module named x"),
])  # fmt: skip
def test_finding_of_the_doctor_is_passed_on(tmp_path: Path, output: str, finding: str) -> None:
    program(tmp_path, "azure-functions-doctor", output)
    assert list(check_security.doctor(tmp_path)) == ([finding] if finding else [])

"""What checkov gets to see: the resources that registry modules make, with what is passed to the modules."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from scripts import check_security
from scripts.infra import bicep, plain
from tests.unit import infra_sample

MODULE = """\
param sku string

module account 'br/public:avm/res/storage/storage-account:0.33.0' = {
  // checkov:skip=CKV_AZURE_206: history can be lost
  params: {
    name: 'groundswell'
    skuName: sku
    managedIdentities: { userAssignedResourceIds: [ 'x' ] }
    allowBlobPublicAccess: false
  }
}
output id string = account.outputs.resourceId
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "main.bicep").write_text(MODULE)
    return tmp_path


def program(folder: Path, name: str, output: str, status: int = 0) -> None:
    """Write a program that prints something, in the place of the real one."""
    (folder / f"{name}.out").write_text(output)
    path = folder / name
    path.write_text(f'#!/bin/sh\ncat "{folder / name}.out"\nexit {status}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_registry_module_is_written_as_the_resource_that_it_makes(project: Path) -> None:
    plain.write(project, project / "plain")
    file = bicep.read(project / "plain" / "main.bicep")
    assert file.errors == []
    account = file.declarations["account"]
    assert (account.kind, account.reference.partition("@")[0]) == ("resource", "Microsoft.Storage/storageAccounts")
    members = bicep.properties(account.body)
    assert {name: bicep.text_of(value) for name, (_, value) in members.items() if name != "properties"} == {
        "name": "'groundswell'", "sku": "{ name: sku }",
        "identity": "{ type: 'UserAssigned', userAssignedIdentities: { app: {} } }",
    }  # fmt: skip
    assert list(bicep.properties(members["properties"][1])) == ["allowBlobPublicAccess"]
    assert "// checkov:skip=CKV_AZURE_206: history can be lost" in (project / "plain" / "main.bicep").read_text()


def test_module_whose_resource_is_unknown_is_named(project: Path) -> None:
    (project / "infra" / "main.bicep").write_text(MODULE.replace("storage/storage-account", "key-vault/vault"))
    with pytest.raises(plain.UnknownModule, match=r"which resource br/public:avm/res/key-vault/vault:0\.33\.0 makes"):
        plain.write(project, project / "plain")


def test_everything_we_ship_can_be_written_plainly(tmp_path: Path) -> None:
    plain.write(infra_sample.ROOT, tmp_path)
    files = [bicep.read(path) for path in tmp_path.rglob("*.bicep")]
    assert [file.path for file in files if file.errors] == []
    assert [m.reference for file in files for m in file.of_kind("module") if m.reference.startswith("br")] == []


FAILED = {"file_path": "/main.bicep", "resource": "a.b", "check_id": "CKV_1", "check_name": "be safe"}
SKIPPED = {"file_path": "/main.bicep", "check_id": "CKV_1", "check_result": {"suppress_comment": ""}}


@pytest.mark.parametrize(("results", "passed", "finding"), [
    ({}, 20, ""),
    ({}, 3, "checkov applied 3 policies: it does not see the resources any more"),
    ({"failed_checks": [FAILED]}, 20, "infra/main.bicep: a.b: CKV_1: be safe"),
    ({"skipped_checks": [SKIPPED]}, 20, "infra/main.bicep: CKV_1 is skipped without a reason"),
    ({"parsing_errors": ["/x/main.bicep"]}, 20, "infra/main.bicep: checkov cannot read it"),
])  # fmt: skip
def test_finding_of_checkov_is_passed_on(project: Path, results: dict[str, object], passed: int, finding: str) -> None:
    report = {"results": results, "summary": {"passed": passed, "failed": 0, "skipped": 0}}
    program(project, "checkov", json.dumps(report))
    assert list(check_security.policies(project, project)) == ([finding] if finding else [])


def test_checkov_that_fails_is_no_praise(project: Path) -> None:
    program(project, "checkov", "", status=2)
    (finding,) = check_security.policies(project, project)
    assert finding.startswith("checkov failed")


@pytest.mark.parametrize(("output", "finding"), [
    ('{"results": [{"items": [{"status": "pass"}, {"status": "warn"}]}]}', ""),
    ('{"results": [{"items": [{"status": "fail", "rule_id": "r", "value": "v", "hint": "h"}]}]}', "r: v: h"),
    ("no module named x", "azure-functions-doctor failed: no module named x"),
])  # fmt: skip
def test_finding_of_the_doctor_is_passed_on(tmp_path: Path, output: str, finding: str) -> None:
    program(tmp_path, "azure-functions-doctor", output)
    assert list(check_security.doctor(tmp_path)) == ([finding] if finding else [])

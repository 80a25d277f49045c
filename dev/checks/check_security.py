"""Let checkov judge infra/ and azure-functions-doctor the app, by policies that others wrote.

    python -m dev.checks.check_security FOLDER

FOLDER holds the two programs. checkov reads the snapshots of infra/, each as a template of what Azure is asked to make.
No policy is fetched: both bring theirs along.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.checks import package, snapshots

ROOT = Path(__file__).resolve().parents[2]
LEAST = 15
"""Policies that checkov has to have applied: fewer mean that it saw nothing, which is no praise."""

_SKIPPED = {
    "Microsoft.Storage/storageAccounts": {
        "CKV_AZURE_35": "Deny with private networking; without it, only identities with a role open anything",
        "CKV_AZURE_59": "Event Grid comes over the public network with dead letters; no blob is public",
        "CKV_AZURE_206": "replication is the operator's choice (storageSku); what could be lost is history",
    },
    "Microsoft.Web/serverfarms": {
        "CKV_AZURE_225": "work waits in queues while a zone is down, and is done after it",
    },
    "Microsoft.Web/sites": {
        "CKV_AZURE_17": "Event Grid and callers of the API present keys, not certificates",
        "CKV_AZURE_78": "Flex Consumption has no FTP and refuses ftpsState; its publishing password is switched off",
        "CKV_AZURE_212": "Flex Consumption scales from zero by the length of the queues",
        "CKV_AZURE_213": "an app that scales to zero has no instance to probe; alerts watch what it does",
        "CKV_AZURE_222": "Event Grid delivers over the public network only",
    },
}
"""Policies that do not fit, for each type of resource, with the reason."""


def template(case: str) -> dict[str, Any]:
    """Return a snapshot as a template, with the policies that are skipped noted where checkov looks for them."""
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [
            {**_without_nulls(resource), "metadata": {"checkov": [
                {"id": policy, "comment": reason} for policy, reason in _SKIPPED.get(resource["type"], {}).items()
            ]}}
            for resource in snapshots.read(case)["predictedResources"]
        ],
    }  # fmt: skip


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value


def policies(programs: Path) -> Iterator[str]:
    """Yield each policy of checkov that infra/ breaks."""
    with tempfile.TemporaryDirectory(prefix="groundswell-infra-") as name:
        for case in snapshots.cases():
            (Path(name) / f"{case}.json").write_text(json.dumps(template(case), indent=1), encoding="utf-8")
        command = [str(programs / "checkov"), "--directory", name, "--framework", "arm", "--skip-download",
                   "--compact", "--output", "json", "--soft-fail"]  # fmt: skip
        quiet = {**os.environ, "LOG_LEVEL": "ERROR"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        yield f"checkov failed: {done.stderr.strip()[-500:]}"
        return
    report = json.loads(done.stdout)
    results, summary = report.get("results", {}), report.get("summary", report)
    for path in results.get("parsing_errors", []):
        yield f"{Path(path).stem}: checkov cannot read it"
    for failed in results.get("failed_checks", []):
        where = Path(failed["file_path"]).stem
        yield f"{where}: {failed['resource']}: {failed['check_id']}: {failed['check_name']}"
    if (applied := summary["passed"] + summary["failed"] + summary["skipped"]) < LEAST:
        yield f"checkov applied {applied} policies: it does not see the resources any more"


def doctor(programs: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield what azure-functions-doctor would not deploy, looking at the deployment package."""
    with tempfile.TemporaryDirectory(prefix="groundswell-app-") as name:
        folder = Path(name) / "app"
        package.write(root, Path(name) / "app.zip")
        with zipfile.ZipFile(Path(name) / "app.zip") as archive:
            archive.extractall(folder)
        command = [str(programs / "azure-functions-doctor"), "doctor", "--path", str(folder), "--profile", "deploy",
                   "--hosting-plan", "flex-consumption", "--target-python", "3.13", "--format", "json"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        yield f"azure-functions-doctor failed: {(done.stderr or done.stdout).strip()[-500:]}"
        return
    for part in json.loads(done.stdout)["results"]:
        for item in part["items"]:
            if item["status"] == "fail":
                yield f"{item['rule_id']}: {item['value']}: {item['hint']}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m dev.checks.check_security",
        description="Check infra/ and the app by policies that others wrote.",
    )
    parser.add_argument("folder", type=Path, help="where the programs checkov and azure-functions-doctor lie")
    programs = parser.parse_args().folder
    found = [*policies(programs), *doctor(programs)]
    print("\n".join(found) or "security: infra/ and the app keep the policies of checkov and azure-functions-doctor")
    sys.exit(bool(found))

"""Let checkov judge infra/ and azure-functions-doctor the app, by policies that others wrote.

    python -m scripts.check_security FOLDER

FOLDER holds the two programs. A policy that does not fit is skipped where it would apply, with its reason:
`// checkov:skip=CKV_AZURE_0: reason` inside the module or resource. No policy is fetched: both bring theirs along.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from scripts import package
from scripts.infra import plain

ROOT = Path(__file__).resolve().parent.parent
LEAST = 15
"""Policies that checkov has to have applied: fewer mean that it saw nothing, which is no praise."""


def policies(programs: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield each policy of checkov that infra/ breaks, and skips without a reason."""
    with tempfile.TemporaryDirectory(prefix="groundswell-infra-") as name:
        plain.write(root, Path(name))
        command = [str(programs / "checkov"), "--directory", name, "--framework", "bicep", "--skip-download",
                   "--compact", "--output", "json", "--soft-fail"]  # fmt: skip
        quiet = {**os.environ, "LOG_LEVEL": "ERROR"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        yield f"checkov failed: {done.stderr.strip()[-500:]}"
        return
    report = json.loads(done.stdout)
    results, summary = report.get("results", {}), report.get("summary", report)
    for path in results.get("parsing_errors", []):
        yield f"infra/{Path(path).name}: checkov cannot read it"
    for failed in results.get("failed_checks", []):
        where = failed["file_path"].lstrip("/")
        yield f"infra/{where}: {failed['resource']}: {failed['check_id']}: {failed['check_name']}"
    for skipped in results.get("skipped_checks", []):
        if len(skipped["check_result"].get("suppress_comment", "").strip()) < 10:
            yield f"infra/{skipped['file_path'].lstrip('/')}: {skipped['check_id']} is skipped without a reason"
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
    programs = Path(sys.argv[1])
    found = [*policies(programs), *doctor(programs)]
    print("\n".join(found) or "security: infra/ and the app keep the policies of checkov and azure-functions-doctor")
    sys.exit(bool(found))

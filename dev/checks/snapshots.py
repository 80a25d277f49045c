"""What Resource Manager would be asked to make, as data: infra/snapshots/.

    python -m dev.checks.snapshots renew      # after a change of infra/; needs bicep
    python -m dev.checks.snapshots validate   # compiles, lints and compares, where bicep is on the PATH

A case is a file of parameters beside the snapshot that Bicep's copy of Resource Manager's template engine makes of it:
every resource with its properties as they would be sent. Tests and checkov read the snapshots; only this module needs
the compiler. https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-cli#snapshot
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
FOLDER = INFRA / "snapshots"
SEAL = FOLDER / "inputs.sha256"
"""What the snapshots were made of, so that a forgotten renewal shows without the compiler."""

ENTRIES = ("main", "access", "events")
DEPLOYMENT = "dddddddd-0000-4000-8000-000000000008"
"""The subscription that is deployed to."""
_WHERE = ("--subscription-id", DEPLOYMENT, "--location", "westeurope", "--deployment-name", "groundswell")


def cases(entry: str = "*") -> list[str]:
    """Return the names of the cases, of one entry file or of all."""
    return sorted(path.stem for path in FOLDER.glob(f"{entry}-*.bicepparam"))


def read(case: str) -> dict[str, Any]:
    """Return a snapshot: `predictedResources`, `outputs`, `diagnostics`."""
    snapshot: dict[str, Any] = json.loads((FOLDER / f"{case}.snapshot.json").read_text(encoding="utf-8"))
    return snapshot


def inputs() -> str:
    """Return the fingerprint of all that the snapshots are made of. The policy is no part: cases bring their own."""
    digest = hashlib.sha256()
    for path in sorted([*INFRA.rglob("*.bicep"), *INFRA.glob("*.json"), *FOLDER.glob("*.bicepparam")]):
        digest.update(f"{path.relative_to(INFRA).as_posix()}\0".encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def renew() -> Iterator[str]:
    """Make all snapshots anew; yield what the compiler says against it."""
    yield from _all([_snapshot(case, "overwrite") for case in cases()])
    for case in cases():
        # The compiler writes outputs in another order each time.
        snapshot = read(case)
        snapshot["outputs"] = dict(sorted(snapshot["outputs"].items()))
        text = json.dumps(snapshot, indent=2, ensure_ascii=False)
        (FOLDER / f"{case}.snapshot.json").write_text(f"{text}\n", encoding="utf-8")
    SEAL.write_text(inputs() + "\n", encoding="utf-8")


def validate() -> Iterator[str]:
    """Compile and lint every entry file and compare every snapshot; yield each warning, error and difference."""
    compiled = [["bicep", command, str(INFRA / f"{entry}.bicep")] for entry in ENTRIES for command in ("build", "lint")]
    yield from _all([*compiled, *(_snapshot(case, "validate") for case in cases())])


def _snapshot(case: str, mode: str) -> list[str]:
    return ["bicep", "snapshot", str(FOLDER / f"{case}.bicepparam"), "--mode", mode, *_WHERE]


def _all(commands: list[list[str]]) -> Iterator[str]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for finding in pool.map(_run, commands):
            if finding:
                yield finding


def _run(command: list[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="groundswell-bicep-") as folder:
        # Beside its input, a build would leave its template.
        built = ["--outdir", folder] if command[1] == "build" else []
        done = subprocess.run([*command, *built], cwd=ROOT, capture_output=True, text=True, check=False)
    said = f"{done.stdout}{done.stderr}".replace(f"{ROOT}{os.sep}", "").strip()
    if not done.returncode and not said:
        return ""
    return f"bicep {command[1]} {Path(command[2]).name}: {said or f'exit status {done.returncode}'}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m dev.checks.snapshots", description="What Resource Manager would be asked to make, as data."
    )
    parser.add_argument("task", choices=("renew", "validate"), help="make the snapshots anew, or compare them")
    task = {"renew": renew, "validate": validate}[parser.parse_args().task]
    if not shutil.which("bicep"):
        print("  – infra was not compiled: bicep is not on the PATH (az bicep install, and ~/.azure/bin on the PATH)")
        sys.exit(task is renew)
    found = list(task())
    print("\n".join(found) or f"infra: {len(ENTRIES)} files and {len(cases())} snapshots")
    sys.exit(bool(found))

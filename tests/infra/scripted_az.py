"""An `az` that follows a script, with which the hooks of the deployment are run as azd runs them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HOOKS = Path(__file__).resolve().parents[2] / "infra" / "hooks"
TEAM = "11111111-1111-1111-1111-111111111111"
PLATFORM = "22222222-2222-2222-2222-222222222222"
BASE = f"/subscriptions/{PLATFORM}/resourceGroups/base/providers/Microsoft.ContainerRegistry/registries/myBaseRegistry"
APP = f"/subscriptions/{PLATFORM}/resourceGroups/rg-prod/providers/Microsoft.Web/sites/func-abc"
TOPIC = f"/subscriptions/{TEAM}/resourceGroups/shared/providers/Microsoft.EventGrid/systemTopics/theirs"
# Outputs of main.bicep, as azd keeps them.
DEPLOYED = {
    "AZURE_ENV_NAME": "prod",
    "AZURE_FUNCTION_APP_ID": APP,
    "AZURE_ACTION_GROUP_ID": f"{APP.partition('/Microsoft.Web')[0]}/Microsoft.Insights/actionGroups/ag-abc",
    "AZURE_STORAGE_ACCOUNT_ID": f"{APP.partition('/Microsoft.Web')[0]}/Microsoft.Storage/storageAccounts/stabc",
    "APP_PRINCIPAL_ID": "33333333-3333-3333-3333-333333333333",
    "DEPLOYED_LOCATION": "westeurope",
    "DEPLOYED_BASE_REGISTRY_ID": BASE,
    "DEPLOYED_TEAM_SUBSCRIPTION_IDS": TEAM,
    "DEPLOYED_GRANT_PUSH": "false",
}
WITHOUT_AZD = {
    name.replace("DEPLOYED_LOCATION", "AZURE_LOCATION").removeprefix("DEPLOYED_"): value
    for name, value in DEPLOYED.items()
}
READY = {"functionapp function list": "func-abc/base_image_pushed\nfunc-abc/team_registry_changed", "resource list": "",
         "deployment sub": ""}  # fmt: skip
FUNCTIONS = "func-abc/base_image_pushed\nfunc-abc/team_registry_changed\nfunc-abc/run_followed"


class Act(str):
    """An answer that is a command, not a text."""


class Azure:
    """An `az` on the path: it answers what the first matching pattern says and notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self.answers: dict[str, str | int] = {"account show": PLATFORM}
        self.line_end = "\n"
        self.program("python3", f'exec "{sys.executable}" "$@"')

    def program(self, name: str, script: str) -> None:
        """Put another program on the path."""
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, hook: str | Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a hook; it finds no answer for anything that was not scripted, as from an Azure that refuses."""
        script = [f"echo \"$*\" | tr '\\n' ' ' >> {self._calls}", f"echo >> {self._calls}",
                  # What Git Bash would make of an argument that begins with a slash.
                  'case "$*" in *" /subscriptions/"*) [ "${MSYS_NO_PATHCONV:-}" = 1 ] || exit 1 ;; esac',
                  'case "$*" in']  # fmt: skip
        for number, (pattern, answer) in enumerate(self.answers.items()):
            text = f"{answer}\n".replace("\n", self.line_end) if answer != "" else ""
            (self._folder / f"answer-{number}").write_bytes(text.encode())
            act = f"exit {answer}" if isinstance(answer, int) else f"cat {self._folder}/answer-{number}"
            act = answer if isinstance(answer, Act) else act
            script.append(f"  *'{pattern}'*) {act} ;;")
        script += ["  *) exit 1 ;;", "esac"]
        self.program("az", "\n".join(script))
        waits = {"WAIT_SECONDS": "0", "POLL_SECONDS": "0", "RETRY_SECONDS": "0"}
        path = f"{self._folder}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return subprocess.run(
            ["sh", str(HOOKS / hook)],
            env={"PATH": path, **waits, **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self, text: str) -> list[str]:
        """Return the calls that hold a text."""
        return [line for line in self._calls.read_text().splitlines() if text in line]

"""What VS Code is told: F5 starts what there is and attaches to where the worker listens.

The shapes are those that the Azure Functions extension writes for a Python app:
https://github.com/microsoft/vscode-azurefunctions/tree/main/src/commands/initProjectForVSCode
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = ("extensions", "launch", "settings", "tasks")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f".vscode/{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def tasks() -> dict[str, dict[str, Any]]:
    return {task["label"]: task for task in read("tasks")["tasks"]}


def test_f5_starts_the_host_after_the_set_up_and_the_storage(tasks: dict[str, dict[str, Any]]) -> None:
    (configuration,) = read("launch")["configurations"]
    host = tasks[configuration["preLaunchTask"]]
    assert (host["type"], host["command"]) == ("func", "host start")
    assert [tasks[name]["command"] for name in host["dependsOn"]] == ["make setup", "make storage"]
    # Side by side, both would install Azurite.
    assert host["dependsOrder"] == "sequence"


def test_debugger_attaches_to_the_port_on_which_the_extension_starts_the_worker() -> None:
    # The extension passes `-m debugpy --listen 127.0.0.1:9091`, as it were, unless the environment says otherwise:
    # https://github.com/microsoft/vscode-azurefunctions/blob/main/src/debug/PythonDebugProvider.ts
    (configuration,) = read("launch")["configurations"]
    assert (configuration["type"], configuration["request"]) == ("debugpy", "attach")
    assert configuration["connect"] == {"host": "localhost", "port": 9091}


def test_make_targets_of_the_tasks_exist(tasks: dict[str, dict[str, Any]]) -> None:
    commands = [task["command"] for task in tasks.values() if task["type"] == "shell"]
    assert commands
    for command in commands:
        assert re.fullmatch(r"make [a-z]+", command)
        dry = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr


def test_worker_runs_in_the_virtual_environment_that_make_installs() -> None:
    venv = re.search(r"^VENV \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert venv
    assert read("settings")["azureFunctions.pythonVenv"] == venv[1]


def test_storage_is_not_looked_for_before_the_task_that_starts_it() -> None:
    # https://github.com/microsoft/vscode-azurefunctions/blob/main/src/debug/validatePreDebug.ts
    assert read("settings")["azureFunctions.validateEmulators"] is False


def test_extensions_that_the_tasks_and_the_debugger_need_are_recommended() -> None:
    assert set(read("extensions")["recommendations"]) == {"ms-azuretools.vscode-azurefunctions", "ms-python.python"}


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        *((f".vscode/{name}.json", False) for name in FILES),
        ("local.settings.sample.json", False),
        (".vscode/mine.code-snippets", True),
        ("local.settings.json", True),
        ("azure.env", True),
    ],
)
def test_what_is_shared_is_in_git_and_what_is_somebodys_own_is_not(path: str, ignored: bool) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("which files are the project's is known in a clone only")
    done = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT, check=False)
    assert done.returncode == (0 if ignored else 1)

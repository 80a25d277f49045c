"""The promises that the project's own files make: who may import whom, and what the lists of packages hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dev.checks import check_requirements

ROOT = Path(__file__).resolve().parents[3]


def imported_modules(source: Path) -> set[str]:
    """Names of the modules that a file imports; `from azure import functions` counts as azure.functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([f"azure.{alias.name}" for alias in node.names] if node.module == "azure" else [node.module])
    return names


def strangers(source: Path, *, allowed: set[str]) -> set[str]:
    """Imports of a file that are neither allowed nor in the standard library."""
    return {
        name
        for name in imported_modules(source)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(name == room or name.startswith(f"{room}.") for room in allowed)
    }


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_function_app_imports_only_handlers_and_the_worker() -> None:
    assert strangers(ROOT / "function_app.py", allowed={"azure.functions", "handlers"}) == set()


def test_handlers_import_only_shared_and_the_worker() -> None:
    allowed = {"azure.functions", "handlers", "shared"}
    assert {
        name for handler in (ROOT / "handlers").glob("*.py") for name in strangers(handler, allowed=allowed)
    } == set()


def test_requirements_are_sound() -> None:
    assert list(check_requirements.problems()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("attrs>=26", "not pinned"),
        ("attrs", "not pinned"),
        ("attrs==26.1\nAttrs==26.2", "attrs is pinned twice for Python 3.11"),
        ('attrs==26.1\nattrs==26.2 ; python_version >= "3.13"', "attrs is pinned twice for Python 3.13"),
        ("attrs @ https://packages.example/attrs.whl", "records an address"),
        ("attrs==26.1 # from /opt/wheels", "records an address or a path"),
        ("--extra-index-url https://packages.example/simple\nattrs==26.1", "records an address"),
    ],
)
def test_list_of_pins_is_refused_when(text: str, problem: str) -> None:
    assert any(problem in found for found in check_requirements.check_pins(text))


def test_package_with_one_pin_for_each_python_is_accepted() -> None:
    text = "azure-functions==1.26.0 ; python_version < '3.13'\nazure-functions==2.3.0 ; python_version >= '3.13'\n"
    assert list(check_requirements.check_pins(text)) == []


def test_requirement_without_a_fitting_pin_is_reported_for_each_python() -> None:
    found = list(check_requirements.check_agreement('attrs>=26\nidna; python_version < "3.12"', "attrs==25.1\n"))
    assert [problem.partition(":")[0] for problem in found] == [
        "attrs>=26 is met by 25.1 on Python 3.11",
        "attrs>=26 is met by 25.1 on Python 3.12",
        "attrs>=26 is met by 25.1 on Python 3.13",
        'idna; python_version < "3.12" is met by no pin on Python 3.11',
    ]


def test_distribution_that_brings_one_of_our_packages_is_reported() -> None:
    assert list(check_requirements.check_shadowing({"attr": ["attrs"], "tests": ["careless", "careless"]})) == [
        "tests/ is shadowed by careless"
    ]


def test_lock_that_records_where_a_package_came_from_is_reported() -> None:
    lock = '{"packages": {"node_modules/azurite": {"version": "1", "resolved": "https://packages.example/azurite"}}}'
    assert list(check_requirements.check_lock(lock)) == ["node_modules/azurite records the address it came from"]

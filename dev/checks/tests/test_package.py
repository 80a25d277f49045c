"""The deployment package holds the app, nothing else, and the same bytes whenever it is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from dev.checks import package

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project's files, as in a fresh clone."""
    if not (ROOT / ".git").exists():
        pytest.skip("which files are the project's is known in a clone only")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folder = tmp_path / "checkout"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def names(folder: Path) -> set[str]:
    target = folder.parent / "package.zip"
    package.write(folder, target)
    with zipfile.ZipFile(target) as archive:
        return set(archive.namelist())


def test_package_holds_the_app_and_nothing_else(checkout: Path) -> None:
    found = names(checkout)
    assert {name.partition("/")[0] for name in found} == {
        "function_app.py", "handlers", "host.json", "policy", "requirements.txt", "shared",
    }  # fmt: skip
    for folder in ("handlers", "shared"):
        assert {name for name in found if name.startswith(folder)} == {
            path.relative_to(checkout).as_posix() for path in (checkout / folder).rglob("*") if path.is_file()
        }
    assert {name for name in found if name.startswith("policy")} >= {"policy/rebuilds.yaml"}
    assert {Path(name).suffix for name in found} == {".json", ".py", ".txt", ".yaml"}


@pytest.mark.parametrize(
    "stray",
    [
        "local.settings.json",
        "local.settings.mine.json",
        ".env",
        ".env.production",
        ".azure/prod/.env",
        ".venv-3.13/lib/python3.13/site-packages/six.py",
        "groundswell_env/lib/python3.13/site-packages/six.py",
        "azure.env",
        ".localazure/state.json",
        "node_modules/azurite/package.json",
        "handlers/__pycache__/runs_api.cpython-313.pyc",
        "shared/local.settings.json",
        "dist/groundswell.zip",
        "tests/anything.py",
        "dev/localazure/anything.py",
    ],
)
def test_secrets_and_leftovers_of_a_developer_stay_out(checkout: Path, stray: str) -> None:
    before = names(checkout)
    (checkout / stray).parent.mkdir(parents=True, exist_ok=True)
    (checkout / stray).write_text("AccountKey=secret", encoding="utf-8")
    assert names(checkout) == before


def test_package_is_the_same_whenever_and_wherever_it_is_made(checkout: Path, tmp_path: Path) -> None:
    package.write(checkout, tmp_path / "one.zip")
    other = tmp_path / "other"
    shutil.copytree(checkout, other)
    for path in other.rglob("*.py"):
        os.utime(path, (0, 1_700_000_000))
        path.chmod(0o755)
    package.write(other, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_package_changes_with_the_app(checkout: Path, tmp_path: Path) -> None:
    package.write(checkout, tmp_path / "one.zip")
    (checkout / "policy/rebuilds.yaml").write_text("changed", encoding="utf-8")
    package.write(checkout, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() != (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize("missing", ["host.json", "function_app.py", "requirements.txt", ".funcignore"])
def test_folder_without_an_app_is_refused(checkout: Path, missing: str) -> None:
    (checkout / missing).unlink()
    with pytest.raises(package.CannotPackage, match=missing):
        names(checkout)

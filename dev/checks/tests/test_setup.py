"""Setting up, as a person sees it on a machine that lacks something: what is missing is said first, and in a sentence.

`make` is the real one; Python, Node and npm are scripts that say what they are told to say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_PYTHON = """\
#!/bin/sh
case "$1 $2" in
    "-c "*) code=$2; shift 2; exec {real} -c "import sys; sys.version_info = ({version}, 0, 'final', 0)
$code" "$@" ;;
    --version*) echo "Python of a test" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") {pip} ;;
esac
"""
_OFFLINE = (
    "WARNING: Retrying after connection broken by 'NewConnectionError: Temporary failure in name resolution'",
    "ERROR: Could not find a version that satisfies the requirement aiohttp",
)


@dataclass
class Machine:
    """A copy of what `make setup` needs, and programs of a test's own before all others."""

    folder: Path

    def has(self, program: str, script: str) -> None:
        path = self.folder / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def has_python(self, program: str, version: str, *, pip: tuple[str, ...] = ()) -> None:
        lines = " ".join(f'echo "{line}" >&2;' for line in pip)
        script = f'echo pip >> "{self.folder}/pip-was-run"; {lines} exit {int(bool(pip))}'
        self.has(program, _PYTHON.format(real=sys.executable, version=version.replace(".", ", "), pip=script))

    def has_node(self) -> None:
        self.has("node", "#!/bin/sh\nexit 0\n")
        self.has("npm", "#!/bin/sh\nmkdir -p node_modules\n")

    def make(self, *arguments: str) -> str:
        """Run make, which must fail; return what the person sees."""
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder)}
        done = subprocess.run(["make", *arguments], cwd=self.folder, env=environment, capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode != 0, done.stderr
        return done.stdout + done.stderr

    @property
    def installed_packages(self) -> bool:
        return (self.folder / "pip-was-run").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "dev" / "checks").mkdir(parents=True)
    for name in ("find-python", "stage"):
        shutil.copy(ROOT / "dev" / "checks" / name, tmp_path / "dev" / "checks")
    return Machine(tmp_path)


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_python_that_does_not_do_is_refused_by_its_version_before_anything_is_installed(
    machine: Machine, version: str
) -> None:
    machine.has_node()
    machine.has_python(f"python{version}", version)
    seen = machine.make("setup", f"PYTHON=python{version}")
    assert f"python{version} is Python {version}; Groundswell runs on Python 3.11, 3.12 and 3.13." in seen
    assert not machine.installed_packages
    assert not (machine.folder / ".venv").exists()


def test_machine_with_a_newer_python_alone_is_told_which_to_install(machine: Machine) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3"):
        machine.has_python(name, "3.14")
    seen = machine.make("setup")
    assert "Groundswell runs on Python 3.11, 3.12 and 3.13, not on 3.14, which is python3 here" in seen


def test_command_that_is_no_python_is_named(machine: Machine) -> None:
    assert "python9 cannot be run" in machine.make("setup", "PYTHON=python9")


@pytest.mark.parametrize("node", ["", "#!/bin/sh\nexit 1\n"], ids=["none", "too old"])
def test_missing_node_is_said_before_python_packages_are_installed(machine: Machine, node: str) -> None:
    machine.has_python("python3.12", "3.12")
    machine.has("node", node or "#!/bin/sh\nexit 127\n")
    seen = machine.make("setup")
    assert "Node 20 or newer with npm is needed" in seen
    assert not machine.installed_packages


def test_machine_without_a_network_is_told_so_last(machine: Machine) -> None:
    machine.has_node()
    machine.has_python("python3.12", "3.12", pip=_OFFLINE)
    seen = machine.make("setup")
    assert "✗ No network: " in seen
    assert seen.index("Could not find a version") < seen.index("✗ No network: ")


def test_stage_that_fails_for_another_reason_says_nothing_of_the_network(tmp_path: Path) -> None:
    command = [str(ROOT / "dev/checks/stage"), "lint", "sh", "-c", "echo 'E501 line too long'; exit 3"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 3
    assert "E501" in done.stderr
    assert "network" not in done.stderr

"""How infra/smoke learns of the deployment; dev/conformance/azure_cli/smoke.py lets it work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "/usr/bin:/bin"


def registry(name: str) -> str:
    return f"/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/{name}"


def plan(path: str = SYSTEM, **environment: str) -> str:
    """Return what it would do, or what is missing."""
    done = subprocess.run(
        [ROOT / "infra/smoke"], env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    return done.stdout + done.stderr


@pytest.fixture
def azd(tmp_path: Path) -> Path:
    """An azd whose environment has one deployment; as the real one, it prints its error for an unknown name."""
    program = tmp_path / "azd"
    program.write_text(f"""#!/bin/sh
case $3 in
DEPLOYED_BASE_REGISTRY_ID) echo {registry("deployed")} ;;
DEPLOYED_TEAM_SUBSCRIPTION_IDS) echo team ;;
DEPLOYED_LOCATION) echo westus ;;
*) echo "ERROR: key '$3' not found in the environment values"; exit 1 ;;
esac
""")
    program.chmod(0o755)
    return tmp_path


def test_names_of_inputs_do_where_there_is_no_azd() -> None:
    told = plan(BASE_REGISTRY_ID=registry("base"), TEAM_SUBSCRIPTION_IDS="team", AZURE_LOCATION="eastus")
    assert "to the base registry base," in told
    assert "in subscription team, eastus" in told


def test_what_is_deployed_counts_more_than_what_would_be_deployed_next() -> None:
    told = plan(
        DEPLOYED_BASE_REGISTRY_ID=registry("deployed"), BASE_REGISTRY_ID=registry("next"),
        DEPLOYED_TEAM_SUBSCRIPTION_IDS="team", TEAM_SUBSCRIPTION_IDS="another",
        DEPLOYED_LOCATION="westus", AZURE_LOCATION="eastus",
    )  # fmt: skip
    assert "to the base registry deployed," in told
    assert "in subscription team, westus" in told


def test_azd_is_asked_for_what_the_environment_does_not_tell(azd: Path) -> None:
    told = plan(f"{azd}:{SYSTEM}", AZURE_LOCATION="eastus")
    assert "to the base registry deployed," in told
    assert "in subscription team, eastus" in told


def test_azd_that_knows_nothing_leaves_everything_unset(azd: Path) -> None:
    (azd / "azd").write_text("#!/bin/sh\necho \"ERROR: key '$3' not found\"\nexit 1\n")
    assert "DEPLOYED_BASE_REGISTRY_ID is not set" in plan(f"{azd}:{SYSTEM}")


@pytest.mark.parametrize("teams", [",a,,b", "a,a,b", " , a ,b,", "a"])
def test_first_team_subscription_is_taken_whatever_else_the_list_holds(teams: str) -> None:
    told = plan(BASE_REGISTRY_ID=registry("base"), TEAM_SUBSCRIPTION_IDS=teams, AZURE_LOCATION="eastus")
    assert "in subscription a, eastus" in told


def test_list_without_a_team_subscription_is_none() -> None:
    told = plan(BASE_REGISTRY_ID=registry("base"), TEAM_SUBSCRIPTION_IDS=" ,, ", AZURE_LOCATION="eastus")
    assert "DEPLOYED_TEAM_SUBSCRIPTION_IDS is not set" in told

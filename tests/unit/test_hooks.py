"""The hooks of the deployment, run as azd runs them, with an `az` that follows a script."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

HOOKS = Path(__file__).resolve().parents[2] / "infra" / "hooks"
TEAM = "11111111-1111-1111-1111-111111111111"
PLATFORM = "22222222-2222-2222-2222-222222222222"
BASE = f"/subscriptions/{PLATFORM}/resourceGroups/base/providers/Microsoft.ContainerRegistry/registries/myBaseRegistry"
APP = f"/subscriptions/{PLATFORM}/resourceGroups/rg-prod/providers/Microsoft.Web/sites/func-abc"
TOPIC = f"/subscriptions/{TEAM}/resourceGroups/shared/providers/Microsoft.EventGrid/systemTopics/theirs"
DEPLOYED = {
    "AZURE_ENV_NAME": "prod",
    "AZURE_LOCATION": "westeurope",
    "AZURE_FUNCTION_APP_ID": APP,
    "AZURE_STORAGE_ACCOUNT_ID": f"{APP.partition('/Microsoft.Web')[0]}/Microsoft.Storage/storageAccounts/stabc",
    "APP_PRINCIPAL_ID": "33333333-3333-3333-3333-333333333333",
    "BASE_REGISTRY_ID": BASE,
    "TEAM_SUBSCRIPTION_IDS": TEAM,
    "GRANT_PUSH": "false",
}
POLICY = "baseRegistry: {base}\nidentity:\n  type: UserAssigned\n  name: fleet\n  resourceGroup: fleet # shared\n"
FUNCTIONS = "func-abc/base_image_pushed\nfunc-abc/team_registry_changed\nfunc-abc/run_followed"


class Azure:
    """An `az` on the path: it answers what the first matching pattern says and notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self.answers: dict[str, str | int] = {"account show": PLATFORM}

    def run(self, hook: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a hook; it finds no answer for anything that was not scripted, as from an Azure that refuses."""
        script = ["#!/bin/sh", f"echo \"$*\" | tr '\\n' ' ' >> {self._calls}", f"echo >> {self._calls}", 'case "$*" in']
        for number, (pattern, answer) in enumerate(self.answers.items()):
            (self._folder / f"answer-{number}").write_text(f"{answer}\n" if answer != "" else "")
            act = f"exit {answer}" if isinstance(answer, int) else f"cat {self._folder}/answer-{number}"
            script.append(f"  *'{pattern}'*) {act} ;;")
        script += ["  *) exit 1 ;;", "esac"]
        az = self._folder / "az"
        az.write_text("\n".join(script) + "\n")
        az.chmod(az.stat().st_mode | stat.S_IXUSR)
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


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    """Return an Azure where nothing exists yet but what is asked first."""
    return Azure(tmp_path)


# -- postdeploy --------------------------------------------------------------------------------------------------------


def test_events_are_deployed_once_the_functions_are_listed(azure: Azure) -> None:
    azure.answers |= {"functionapp function list": FUNCTIONS, "resource list": "", "deployment sub": ""}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    (deployment,) = azure.calls("deployment sub create")
    assert f"functionAppId={APP}" in deployment
    assert f"teamSubscriptionIds={TEAM}" in deployment
    assert "existingTopics={}" in deployment


def test_nothing_is_subscribed_while_a_function_is_missing(azure: Azure) -> None:
    azure.answers |= {"functionapp function list": "func-abc/base_image_pushed"}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 1
    assert "still not there after 0 s: team_registry_changed" in outcome.stderr
    assert "azd hooks run postdeploy" in outcome.stderr
    assert not azure.calls("deployment sub create")


def test_a_system_topic_that_exists_is_used_whatever_the_case_of_its_source(azure: Azure) -> None:
    azure.answers |= {
        "functionapp function list": FUNCTIONS,
        f"resource list --subscription {TEAM}": TOPIC,
        "resource list": "",
        "--query properties.source": f"/SUBSCRIPTIONS/{TEAM}",
        "--query identity.type": "SystemAssigned",
        "deployment sub": "",
    }
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    (deployment,) = azure.calls("deployment sub create")
    assert f'existingTopics={{"/subscriptions/{TEAM}":"{TOPIC}"}}' in deployment
    assert not azure.calls("--method patch")


def test_an_existing_topic_without_identity_gets_one_for_dead_letters(azure: Azure) -> None:
    azure.answers |= {
        "functionapp function list": FUNCTIONS,
        f"resource list --subscription {TEAM}": TOPIC,
        "resource list": "",
        "--query properties.source": f"/subscriptions/{TEAM}",
        "--query identity.type": "",
        "--method patch": "",
        "deployment sub": "",
    }
    assert azure.run("postdeploy.sh", DEPLOYED).returncode == 0
    (patched,) = azure.calls("--method patch")
    assert TOPIC in patched
    assert '"SystemAssigned"' in patched


def test_an_existing_topic_with_only_user_assigned_identities_is_left_to_its_owner(azure: Azure) -> None:
    azure.answers |= {
        "functionapp function list": FUNCTIONS,
        f"resource list --subscription {TEAM}": TOPIC,
        "resource list": "",
        "--query properties.source": f"/subscriptions/{TEAM}",
        "--query identity.type": "UserAssigned",
    }
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 1
    assert "theirs has only user-assigned identities" in outcome.stderr
    assert not azure.calls("--method patch")
    assert not azure.calls("deployment sub create")


def test_a_refused_deployment_of_events_is_tried_three_times_and_told(azure: Azure) -> None:
    azure.answers |= {"functionapp function list": FUNCTIONS, "resource list": "", "deployment sub create": 1}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 1
    assert "the event subscriptions could not be made" in outcome.stderr
    assert len(azure.calls("deployment sub create")) == 3


@pytest.mark.parametrize("hook", ["postprovision.sh", "postdeploy.sh"])
def test_a_hook_names_the_variables_that_it_misses(azure: Azure, hook: str) -> None:
    outcome = azure.run(hook, {**DEPLOYED, "BASE_REGISTRY_ID": "", "AZURE_LOCATION": ""})
    assert outcome.returncode == 1
    assert re.search(r"not set:.* AZURE_LOCATION.* BASE_REGISTRY_ID", outcome.stderr)


# -- postprovision -----------------------------------------------------------------------------------------------------


def test_rights_are_deployed_with_the_answer_on_push_rights(azure: Azure) -> None:
    azure.answers |= {"deployment sub create": ""}
    assert azure.run("postprovision.sh", DEPLOYED).returncode == 0
    (deployment,) = azure.calls("deployment sub create")
    assert f"--subscription {PLATFORM}" in deployment
    assert f"principalId={DEPLOYED['APP_PRINCIPAL_ID']}" in deployment
    assert "grantPush=false" in deployment


# -- preprovision ------------------------------------------------------------------------------------------------------


def _sound(azure: Azure, tmp_path: Path, base: str = BASE) -> dict[str, str]:
    """Script an Azure in which nothing is wrong; return the environment."""
    azure.answers |= {"provider show": "Registered", "resource show": BASE, "group exists": "true", "permissions": "1"}
    policy = tmp_path / "rebuilds.yaml"
    policy.write_text(POLICY.format(base=base))
    return {"BASE_REGISTRY_ID": BASE, "TEAM_SUBSCRIPTION_IDS": TEAM, "GROUNDSWELL_POLICY": str(policy)}


def test_preflight_passes_where_nothing_is_wrong(azure: Azure, tmp_path: Path) -> None:
    outcome = azure.run("preprovision.sh", _sound(azure, tmp_path))
    assert outcome.returncode == 0, outcome.stderr
    assert "the policy names it" in outcome.stdout


def test_preflight_changes_nothing(azure: Azure, tmp_path: Path) -> None:
    azure.run("preprovision.sh", _sound(azure, tmp_path))
    assert not [
        call for call in azure.calls("") if re.search(r"\b(create|delete|update|register|set|put|patch)\b", call)
    ]


def test_preflight_refuses_another_base_registry_than_the_policy_s(azure: Azure, tmp_path: Path) -> None:
    outcome = azure.run("preprovision.sh", _sound(azure, tmp_path, base="otherregistry"))
    assert outcome.returncode == 1
    assert "the policy says baseRegistry: otherregistry" in outcome.stderr


def test_preflight_wants_an_arm_id_for_a_base_registry_outside_the_team_subscriptions(
    azure: Azure, tmp_path: Path
) -> None:
    environ = _sound(azure, tmp_path, base="mybaseregistry")
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert f"write its ARM id in policy/rebuilds.yaml: baseRegistry: {BASE}" in outcome.stderr
    beside = {**environ, "TEAM_SUBSCRIPTION_IDS": f"{TEAM}, {PLATFORM}"}
    assert azure.run("preprovision.sh", beside).returncode == 0


def test_preflight_says_which_rights_and_providers_are_missing(azure: Azure, tmp_path: Path) -> None:
    environ = _sound(azure, tmp_path)
    azure.answers["permissions"] = "0"
    azure.answers["provider show"] = "NotRegistered"
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert "you may not assign roles on the base registry" in outcome.stderr
    assert f"az provider register --subscription {TEAM} --namespace Microsoft.EventGrid" in outcome.stderr


def test_preflight_wants_the_resource_group_of_the_fleet_s_identity(azure: Azure, tmp_path: Path) -> None:
    environ = _sound(azure, tmp_path)
    azure.answers["group exists"] = "false"
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert (
        f"the resource group fleet of the fleet's identity does not exist in subscription {PLATFORM}" in outcome.stderr
    )


def test_preflight_without_login_says_so(azure: Azure) -> None:
    azure.answers = {}
    outcome = azure.run("preprovision.sh", {})
    assert outcome.returncode == 1
    assert "az login" in outcome.stderr


# -- predown -----------------------------------------------------------------------------------------------------------


def test_removal_takes_away_what_was_made_elsewhere(azure: Azure) -> None:
    events = f"{TOPIC}/eventSubscriptions/groundswell-team-registry-changed-abc123"
    right = f"/subscriptions/{TEAM}/providers/Microsoft.Authorization/roleAssignments/44444444"
    azure.answers |= {
        f"resource list --subscription {TEAM}": TOPIC,
        "resource list": "",
        "--query length(value)": "0",
        "eventSubscriptions?api-version": events,
        "resource show": "prod",
        f"role assignment list --subscription {TEAM}": right,
        "role assignment list": "",
        "delete": "",
    }
    outcome = azure.run("predown.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    assert [call.split("--ids ")[1].split()[0] for call in azure.calls("delete")] == [events, TOPIC, right]


def test_removal_leaves_a_topic_that_others_own_or_use(azure: Azure) -> None:
    azure.answers |= {
        f"resource list --subscription {TEAM}": TOPIC,
        "resource list": "",
        "--query length(value)": "1",
        "eventSubscriptions?api-version": "",
        "resource show": "prod",
        "role assignment list": "",
    }
    assert azure.run("predown.sh", DEPLOYED).returncode == 0
    azure.answers |= {"--query length(value)": "0", "resource show": "staging"}
    assert azure.run("predown.sh", DEPLOYED).returncode == 0
    assert not azure.calls("delete")

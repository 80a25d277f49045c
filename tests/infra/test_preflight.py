"""The preflight (infra/hooks/preprovision.sh) finds what would make the deployment fail half-way."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.infra.scripted_az import BASE, HOOKS, PLATFORM, TEAM, Azure

POLICY = "baseRegistry: {base}\nidentity:\n  type: UserAssigned\n  name: fleet\n  resourceGroup: fleet # shared\n"


def _sound(azure: Azure, tmp_path: Path, base: str = BASE, policy: str = POLICY) -> dict[str, str]:
    """Script an Azure in which nothing is wrong; return the environment."""
    azure.answers |= {"provider show": "Registered", "resource show": BASE, "group exists": "true", "permissions": "1"}
    path = tmp_path / "rebuilds.yaml"
    path.write_text(policy.format(base=base))
    return {"BASE_REGISTRY_ID": BASE, "TEAM_SUBSCRIPTION_IDS": TEAM, "GROUNDSWELL_POLICY": str(path)}


def asked_providers(azure: Azure) -> set[tuple[str, str]]:
    """Return which providers were looked at, with the subscription."""
    calls = [call.split() for call in azure.calls("provider show")]
    return {(call[call.index("--namespace") + 1], call[call.index("--subscription") + 1]) for call in calls}


FLOW = "baseRegistry: {base}\nidentity: {{type: UserAssigned, name: fleet, resourceGroup: fleet}}\n"
QUOTED = '"baseRegistry": "{base}" # ours\n"identity":\n    "type": "UserAssigned"\n    "resourceGroup": \'fleet\'\n'


@pytest.mark.parametrize("policy", [POLICY, FLOW, QUOTED], ids=["block", "flow", "quoted"])
def test_preflight_passes_where_nothing_is_wrong(azure: Azure, tmp_path: Path, policy: str) -> None:
    outcome = azure.run("preprovision.sh", _sound(azure, tmp_path, policy=policy))
    assert outcome.returncode == 0, outcome.stderr
    assert "the policy names it" in outcome.stdout
    assert "the resource group of the fleet's identity exists" in outcome.stdout


def test_preflight_changes_nothing(azure: Azure, tmp_path: Path) -> None:
    azure.run("preprovision.sh", _sound(azure, tmp_path))
    assert not [
        call for call in azure.calls("") if re.search(r"\b(create|delete|update|register|set|put|patch)\b", call)
    ]


@pytest.mark.parametrize("policy", [POLICY, FLOW, QUOTED], ids=["block", "flow", "quoted"])
def test_preflight_refuses_another_base_registry_than_the_policy_s(azure: Azure, tmp_path: Path, policy: str) -> None:
    outcome = azure.run("preprovision.sh", _sound(azure, tmp_path, "otherregistry", policy))
    assert outcome.returncode == 1
    assert "the policy says baseRegistry: otherregistry" in outcome.stderr


def test_preflight_says_what_it_did_not_check_where_no_python_reads_yaml(azure: Azure, tmp_path: Path) -> None:
    environ = _sound(azure, tmp_path, "otherregistry")
    project = tmp_path / "project" / "infra"
    shutil.copytree(HOOKS, project / "hooks")  # without the environment of this project
    for name in ("python3", "python"):
        azure.program(name, "exit 1")
    outcome = azure.run(project / "hooks" / "preprovision.sh", environ)
    assert outcome.returncode == 0, outcome.stderr
    assert "the policy was not read" in outcome.stdout
    assert not azure.calls("group exists")


@pytest.mark.parametrize("policy", ["a: [", "- list", "baseRegistry: x\n", ""])
def test_preflight_names_a_policy_that_cannot_be_read(azure: Azure, tmp_path: Path, policy: str) -> None:
    outcome = azure.run("preprovision.sh", _sound(azure, tmp_path, policy=policy))
    assert outcome.returncode == 1
    assert "the policy cannot be read" in outcome.stderr


def test_preflight_wants_an_arm_id_for_a_base_registry_outside_the_team_subscriptions(
    azure: Azure, tmp_path: Path
) -> None:
    environ = _sound(azure, tmp_path, base="mybaseregistry")
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert f"write its ARM id in policy/rebuilds.yaml: baseRegistry: {BASE}" in outcome.stderr
    beside = {**environ, "TEAM_SUBSCRIPTION_IDS": f"{TEAM}, {PLATFORM.upper()}"}
    assert azure.run("preprovision.sh", beside).returncode == 0


@pytest.mark.parametrize(("name", "value", "problem"), [
    ("TEAM_SUBSCRIPTION_IDS", f"{TEAM},", "TEAM_SUBSCRIPTION_IDS has an empty entry"),
    ("TEAM_SUBSCRIPTION_IDS", f"{TEAM},,{PLATFORM}", "TEAM_SUBSCRIPTION_IDS has an empty entry"),
    ("TEAM_SUBSCRIPTION_IDS", f" , {TEAM}", "TEAM_SUBSCRIPTION_IDS has an empty entry"),
    ("TEAM_SUBSCRIPTION_IDS", ",", "TEAM_SUBSCRIPTION_IDS has an empty entry"),
    ("TEAM_SUBSCRIPTION_IDS", f"{TEAM},{PLATFORM}, {TEAM}", "TEAM_SUBSCRIPTION_IDS names a subscription twice"),
    ("TEAM_SUBSCRIPTION_IDS", f"{TEAM[:-1]}a,{TEAM[:-1]}A", "TEAM_SUBSCRIPTION_IDS names a subscription twice"),
    ("TEAM_SUBSCRIPTION_IDS", "my subscription", "is no id of a subscription"),
    ("TEAM_SUBSCRIPTION_IDS", f"/subscriptions/{TEAM}", "is no id of a subscription"),
    ("TEAM_SUBSCRIPTION_IDS", f"{TEAM};{PLATFORM}", "is no id of a subscription"),
    ("BASE_REGISTRY_ID", "mybaseregistry", "is no ARM id of a registry"),
    ("BASE_REGISTRY_ID", f"{BASE}/", "is no ARM id of a registry"),
    ("BASE_REGISTRY_ID", BASE.replace("registries", "registry"), "is no ARM id of a registry"),
    ("AZURE_ENV_NAME", "x" * 41, "is longer than 40 characters"),
])  # fmt: skip
def test_preflight_refuses_an_answer_that_azure_would_misread(
    azure: Azure, tmp_path: Path, name: str, value: str, problem: str
) -> None:
    outcome = azure.run("preprovision.sh", {**_sound(azure, tmp_path), name: value})
    assert outcome.returncode == 1
    assert problem in outcome.stderr


def test_preflight_says_which_rights_and_providers_are_missing(azure: Azure, tmp_path: Path) -> None:
    environ = _sound(azure, tmp_path)
    azure.answers["permissions"] = "0"
    azure.answers["provider show"] = "NotRegistered"
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert "you may not assign roles on the base registry" in outcome.stderr
    assert f"az provider register --subscription {TEAM} --namespace Microsoft.EventGrid" in outcome.stderr


@pytest.mark.parametrize("private", ["true", "false"])
def test_preflight_asks_for_the_network_s_providers_only_with_private_networking(
    azure: Azure, tmp_path: Path, private: str
) -> None:
    azure.run("preprovision.sh", {**_sound(azure, tmp_path), "PRIVATE_NETWORKING": private})
    network = {name for name, _ in asked_providers(azure)} & {"Microsoft.App", "Microsoft.Network"}
    assert network == ({"Microsoft.App", "Microsoft.Network"} if private == "true" else set())


@pytest.mark.parametrize(
    ("policy", "asked"), [(POLICY, True), ("baseRegistry: {base}\nidentity: {{type: SystemAssigned}}", False)]
)
def test_preflight_asks_for_managed_identities_where_one_is_made(
    azure: Azure, tmp_path: Path, policy: str, asked: bool
) -> None:
    app = "33333333-3333-3333-3333-333333333333"
    outcome = azure.run("preprovision.sh", {**_sound(azure, tmp_path, policy=policy), "AZURE_SUBSCRIPTION_ID": app})
    assert outcome.returncode == 0, outcome.stderr
    identities = {where for name, where in asked_providers(azure) if name == "Microsoft.ManagedIdentity"}
    assert identities == ({app, PLATFORM} if asked else {app})


def test_preflight_asks_for_a_provider_once_where_app_and_base_registry_share_a_subscription(
    azure: Azure, tmp_path: Path
) -> None:
    azure.run("preprovision.sh", {**_sound(azure, tmp_path), "AZURE_SUBSCRIPTION_ID": PLATFORM})
    calls = azure.calls("provider show")
    assert len(calls) == len(set(calls))


def test_preflight_wants_the_resource_group_of_the_fleet_s_identity(azure: Azure, tmp_path: Path) -> None:
    environ = _sound(azure, tmp_path)
    azure.answers["group exists"] = "false"
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert (
        f"the resource group fleet of the fleet's identity does not exist in subscription {PLATFORM}" in outcome.stderr
    )


def test_preflight_reads_the_answers_that_azd_asked_for_itself(azure: Azure, tmp_path: Path) -> None:
    environ = {**_sound(azure, tmp_path), "BASE_REGISTRY_ID": "", "TEAM_SUBSCRIPTION_IDS": ""}
    azure.program(
        "azd",
        f"""case $4 in
        *baseRegistryId) echo '"{BASE}"' ;;
        *teamSubscriptionIds) echo '"{TEAM},"' ;;
        *) echo "ERROR: no value at path '$4'" >&2; exit 1 ;; esac""",
    )
    outcome = azure.run("preprovision.sh", environ)
    assert outcome.returncode == 1
    assert "TEAM_SUBSCRIPTION_IDS has an empty entry" in outcome.stderr
    assert "cannot be asked of azd" not in outcome.stderr


def test_preflight_says_when_azd_is_too_old_to_tell_its_answers(azure: Azure, tmp_path: Path) -> None:
    azure.program("azd", "echo 'ERROR: unknown flag' >&2; exit 1")
    outcome = azure.run("preprovision.sh", {**_sound(azure, tmp_path), "BASE_REGISTRY_ID": ""})
    assert outcome.returncode == 0, outcome.stderr
    assert "the answer for baseRegistryId cannot be asked of azd (1.23.4 or newer can)" in outcome.stderr


def test_preflight_without_login_says_so(azure: Azure) -> None:
    azure.answers = {}
    outcome = azure.run("preprovision.sh", {})
    assert outcome.returncode == 1
    assert "→ az login" in outcome.stderr

"""The hooks of the deployment, run as azd runs them, with an `az` that follows a script."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

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
POLICY = "baseRegistry: {base}\nidentity:\n  type: UserAssigned\n  name: fleet\n  resourceGroup: fleet # shared\n"
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


def test_a_refused_deployment_of_events_is_tried_ten_times_and_told(azure: Azure) -> None:
    azure.answers |= {"functionapp function list": FUNCTIONS, "resource list": "", "deployment sub create": 1}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 1
    assert "the event subscriptions could not be made" in outcome.stderr
    assert len(azure.calls("deployment sub create")) == 10
    assert re.findall(r"try (\d+) of 10 was refused", outcome.stderr) == [str(number) for number in range(1, 10)]


def test_role_of_a_topic_that_works_at_the_tenth_try_is_waited_for(azure: Azure, tmp_path: Path) -> None:
    tried = Act(f"echo >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 10 ]")
    azure.answers |= {"deployment sub create": tried, **READY}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    assert "Events reach func-abc from" in outcome.stdout
    assert len(azure.calls("deployment sub create")) == 10


def test_triggers_are_synchronized_while_functions_are_missing(azure: Azure) -> None:
    azure.answers |= {"functionapp function list": "func-abc/WarmUp", "syncfunctiontriggers": ""}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 1
    (synchronized,) = azure.calls("syncfunctiontriggers")
    assert f"--method post --url {APP}/syncfunctiontriggers?" in synchronized
    assert re.search(r"after \d+ s not there: base_image_pushed team_registry_changed", outcome.stdout)


@pytest.mark.parametrize(("hook", "what"), [("postprovision.sh", "access"), ("postdeploy.sh", "events")])
@pytest.mark.parametrize("environment", ["prod", "forty-characters-long-which-is-the-limit"])
def test_deployment_elsewhere_has_a_name_that_azure_takes_and_that_differs_by_region(
    azure: Azure, hook: str, what: str, environment: str
) -> None:
    azure.answers |= READY
    for token in ("kayr5sznvbxxw", "bkmrvvehxcdt4"):  # what one environment is in two regions
        app = APP.replace("func-abc", f"func-{token}")
        azure.answers["functionapp function list"] = FUNCTIONS.replace("func-abc", f"func-{token}")
        assert (
            azure.run(hook, {**DEPLOYED, "AZURE_ENV_NAME": environment, "AZURE_FUNCTION_APP_ID": app}).returncode == 0
        )
    names = [call.split("--name ")[1].split()[0] for call in azure.calls("deployment sub create")]
    assert names == [f"groundswell-{what}-kayr5sznvbxxw", f"groundswell-{what}-bkmrvvehxcdt4"]
    assert max(map(len, names)) <= 64


@pytest.mark.parametrize("hook", ["postprovision.sh", "postdeploy.sh"])
def test_hook_takes_the_answers_where_no_azd_tells_the_outputs(azure: Azure, hook: str) -> None:
    azure.answers |= READY
    outcome = azure.run(hook, WITHOUT_AZD)
    assert outcome.returncode == 0, outcome.stderr
    (deployment,) = azure.calls("deployment sub create")
    assert f"--location westeurope --name groundswell-{'access' if 'provision' in hook else 'events'}-abc" in deployment
    assert f"baseRegistryId={BASE} teamSubscriptionIds={TEAM}" in deployment


def test_lines_that_end_as_on_windows_are_read(azure: Azure) -> None:
    azure.line_end = "\r\n"
    azure.answers |= READY | {
        f"resource list --subscription {TEAM}": TOPIC,
        "--query properties.source": f"/subscriptions/{TEAM}",
        "--query identity.type": "SystemAssigned",
    }
    azure.answers = {"resource list --subscription": TOPIC, **azure.answers}
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    (deployment,) = azure.calls("deployment sub create")
    assert f'existingTopics={{"/subscriptions/{TEAM}":"{TOPIC}"}}' in deployment


def test_topics_are_looked_for_once_in_each_subscription_that_was_named(azure: Azure) -> None:
    azure.answers |= READY
    outcome = azure.run("postdeploy.sh", {**DEPLOYED, "DEPLOYED_TEAM_SUBSCRIPTION_IDS": f"{TEAM.upper()}, {TEAM},,"})
    assert outcome.returncode == 0, outcome.stderr
    asked = [call.split("--subscription ")[1].split()[0] for call in azure.calls("resource list")]
    assert asked == [PLATFORM, TEAM]


@pytest.mark.parametrize("hook", ["postprovision.sh", "postdeploy.sh"])
def test_a_hook_names_the_variables_that_it_misses(azure: Azure, hook: str) -> None:
    outcome = azure.run(hook, {**DEPLOYED, "DEPLOYED_BASE_REGISTRY_ID": "", "DEPLOYED_LOCATION": ""})
    assert outcome.returncode == 1
    assert re.search(r"not set:.* DEPLOYED_LOCATION DEPLOYED_BASE_REGISTRY_ID", outcome.stderr)


# -- postprovision -----------------------------------------------------------------------------------------------------


def test_rights_are_deployed_with_the_answer_on_push_rights(azure: Azure) -> None:
    azure.answers |= {"deployment sub create": ""}
    assert azure.run("postprovision.sh", DEPLOYED).returncode == 0
    (deployment,) = azure.calls("deployment sub create")
    assert f"--subscription {PLATFORM}" in deployment
    assert f"principalId={DEPLOYED['APP_PRINCIPAL_ID']}" in deployment
    assert "grantPush=false" in deployment


# -- preprovision ------------------------------------------------------------------------------------------------------


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


# -- predown -----------------------------------------------------------------------------------------------------------


def test_removal_takes_away_what_was_made_elsewhere(azure: Azure) -> None:
    events = f"{TOPIC}/eventSubscriptions/groundswell-team-registry-changed-abc123"
    right = f"/subscriptions/{TEAM}/providers/Microsoft.Authorization/roleAssignments/44444444"
    alert = f"/subscriptions/{TEAM}/resourceGroups/rg-prod-events/providers/Microsoft.Insights/metricAlerts/alert-prod"
    azure.answers |= {
        f"resource list --subscription {TEAM} --resource-type Microsoft.Insights/metricAlerts": alert,
        f"resource list --subscription {TEAM} --resource-type": TOPIC,
        f"resource list --subscription {TEAM} --resource-group rg-prod-events": "0",
        "resource list": "",
        f"group list --subscription {TEAM}": "rg-prod-events",
        "group list": "",
        "group delete": "",
        "--query length(value)": "0",
        "eventSubscriptions?api-version": events,
        "resource show": "prod",
        f"role assignment list --subscription {TEAM}": right,
        "role assignment list": "",
        "delete": "",
    }
    outcome = azure.run("predown.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    deleted = [re.split("--ids |--name ", call)[1].split()[0] for call in azure.calls("delete")]
    assert deleted == [alert, events, TOPIC, "rg-prod-events", right]


def test_removal_leaves_a_topic_that_others_own_or_use(azure: Azure) -> None:
    azure.answers |= {
        f"resource list --subscription {TEAM} --resource-type Microsoft.EventGrid": TOPIC,
        "--query length(@)": "1",
        "resource list": "",
        "group list": "rg-prod-events",
        "--query length(value)": "1",
        "eventSubscriptions?api-version": "",
        "resource show": "prod",
        "role assignment list": "",
    }
    assert azure.run("predown.sh", DEPLOYED).returncode == 0
    azure.answers |= {"--query length(value)": "0", "resource show": "staging"}
    assert azure.run("predown.sh", DEPLOYED).returncode == 0
    assert not azure.calls("delete")

"""The hooks that follow a provision or a deployment, or precede the end, run as azd runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.scripted_az import (
    APP,
    BASE,
    DEPLOYED,
    FUNCTIONS,
    PLATFORM,
    READY,
    TEAM,
    TOPIC,
    WITHOUT_AZD,
    Act,
    Azure,
)

# -- postdeploy --------------------------------------------------------------------------------------------------------


def with_a_topic_of_theirs(identity: str) -> dict[str, str]:
    """Answers of an Azure in which the functions are there and the team has a system topic already."""
    return {
        "functionapp function list": FUNCTIONS,
        f"resource list --subscription {TEAM}": TOPIC,
        "resource list": "",
        "--query properties.source": f"/subscriptions/{TEAM}",
        "--query identity.type": identity,
    }


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
        **with_a_topic_of_theirs("SystemAssigned"),
        "--query properties.source": f"/SUBSCRIPTIONS/{TEAM}",
        "deployment sub": "",
    }
    outcome = azure.run("postdeploy.sh", DEPLOYED)
    assert outcome.returncode == 0, outcome.stderr
    (deployment,) = azure.calls("deployment sub create")
    assert f'existingTopics={{"/subscriptions/{TEAM}":"{TOPIC}"}}' in deployment
    assert not azure.calls("--method patch")


def test_an_existing_topic_without_identity_gets_one_for_dead_letters(azure: Azure) -> None:
    azure.answers |= {**with_a_topic_of_theirs(""), "--method patch": "", "deployment sub": ""}
    assert azure.run("postdeploy.sh", DEPLOYED).returncode == 0
    (patched,) = azure.calls("--method patch")
    assert TOPIC in patched
    assert '"SystemAssigned"' in patched


def test_an_existing_topic_with_only_user_assigned_identities_is_left_to_its_owner(azure: Azure) -> None:
    azure.answers |= with_a_topic_of_theirs("UserAssigned")
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


# -- postprovision -----------------------------------------------------------------------------------------------------


def test_rights_are_deployed_with_the_answer_on_push_rights(azure: Azure) -> None:
    azure.answers |= {"deployment sub create": ""}
    assert azure.run("postprovision.sh", DEPLOYED).returncode == 0
    (deployment,) = azure.calls("deployment sub create")
    assert f"--subscription {PLATFORM}" in deployment
    assert f"principalId={DEPLOYED['APP_PRINCIPAL_ID']}" in deployment
    assert "grantPush=false" in deployment


# -- postprovision and postdeploy --------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("hook", ["postprovision.sh", "postdeploy.sh"])
def test_a_hook_names_the_variables_that_it_misses(azure: Azure, hook: str) -> None:
    outcome = azure.run(hook, {**DEPLOYED, "DEPLOYED_BASE_REGISTRY_ID": "", "DEPLOYED_LOCATION": ""})
    assert outcome.returncode == 1
    assert re.search(r"not set:.* DEPLOYED_LOCATION DEPLOYED_BASE_REGISTRY_ID", outcome.stderr)


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

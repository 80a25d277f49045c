"""What Azure would be asked to make (infra/snapshots) is what the code needs, what Azure takes, and no more."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import pytest

from dev.checks import snapshots
from dev.localazure import conditions
from dev.localazure.arm.topictypes import TOPIC_TYPES
from dev.localazure.eventgrid.subscription import settled
from dev.localazure.roles import ROLES
from dev.sandbox.infra import Place, event_subscriptions, role_assignments
from shared.adapters import messages
from shared.settings import Settings, load

ROOT, INFRA = snapshots.ROOT, snapshots.INFRA
TEAM, OTHER = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
PRINCIPAL = "cccccccc-0000-4000-8000-000000000003"
BASE = "/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform"
FLEET = BASE.replace("platform", "fleet")
BASE_REGISTRY = f"{BASE}/providers/Microsoft.ContainerRegistry/registries/mybaseregistry"
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ALL, MAIN = snapshots.cases(), snapshots.cases("main")

# What Flex Consumption refuses or ignores. https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#deprecated-properties-and-settings
NO_SITE_CONFIG = frozenset(
    """ftpsState linuxFxVersion windowsFxVersion use32BitWorkerProcess netFrameworkVersion javaVersion nodeVersion
    phpVersion powerShellVersion pythonVersion preWarmedInstanceCount minimumElasticInstanceCount
    functionsRuntimeScaleMonitoringEnabled functionAppScaleLimit alwaysOn vnetRouteAllEnabled""".lower().split()
)
NO_SETTING = re.compile(
    r"""FUNCTIONS_WORKER_RUNTIME(_VERSION)?|FUNCTIONS_EXTENSION_VERSION|FUNCTIONS_WORKER_PROCESS_COUNT
    |FUNCTIONS_MAX_HTTP_CONCURRENCY|FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED|WEBSITE_CONTENT\w*
    |WEBSITE_RUN_FROM_PACKAGE|WEBSITE_SKIP_CONTENTSHARE_VALIDATION|WEBSITE_VNET_ROUTE_ALL|WEBSITE_DNS_SERVER
    |WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT|WEBSITE_\w+_DEFAULT_VERSION|SCM_DO_BUILD_DURING_DEPLOYMENT
    |ENABLE_ORYX_BUILD|WEBSITE_TIME_ZONE|TZ""",
    re.VERBOSE | re.IGNORECASE,
)
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
NAMES = {
    "Microsoft.EventGrid/systemTopics": r"[A-Za-z0-9-]{3,50}",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": r"[A-Za-z0-9-]{3,64}",
    "Microsoft.Insights/actionGroups": r"[^:<>+/&%\\?|]{0,259}[^:<>+/&%\\?|. ]",
    "Microsoft.Insights/components": r"[^%&\\?/]{0,259}[^%&\\?/. ]",
    "Microsoft.Insights/metricAlerts": r"[^*#&+:<>?@%{}\\/]{0,259}[^*#&+:<>?@%{}\\/. ]",
    "Microsoft.Insights/scheduledQueryRules": r"[^*<>%{}&:\\?/#|]{0,259}[^*<>%{}&:\\?/#|. ]",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"[A-Za-z0-9][\w-]{2,127}",
    "Microsoft.Network/privateEndpoints": r"\w([\w.-]{0,62}\w)?",
    "Microsoft.Network/virtualNetworks": r"[A-Za-z0-9]([\w.-]{0,62}\w)?",
    "Microsoft.OperationalInsights/workspaces": r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    "Microsoft.Resources/resourceGroups": r"[\w().-]{0,89}[\w()-]",
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.Storage/storageAccounts/blobServices/containers": r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "Microsoft.Storage/storageAccounts/queueServices/queues": r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "Microsoft.Storage/storageAccounts/tableServices/tables": r"[A-Za-z][A-Za-z0-9]{2,62}",
    "Microsoft.Web/serverfarms": r"[A-Za-z0-9-]{1,40}",
    "Microsoft.Web/sites": r"[A-Za-z0-9][A-Za-z0-9-]{0,58}[A-Za-z0-9]",
}


def made(case: str, type_: str) -> list[dict[str, Any]]:
    """Return the resources of a type that a case makes."""
    return [one for one in snapshots.read(case)["predictedResources"] if one["type"] == type_]


def only(case: str, type_: str) -> dict[str, Any]:
    (found,) = made(case, type_)
    return found


def listed(name: str, member: str) -> list[dict[str, Any]]:
    """Return a list of one of the JSON files that Bicep, code and tests read."""
    found: list[dict[str, Any]] = json.loads((INFRA / name).read_text())[member]
    return found


def site_settings(case: str) -> dict[str, str]:
    site = only(case, "Microsoft.Web/sites")
    return {setting["name"]: setting["value"] for setting in site["properties"]["siteConfig"]["appSettings"]}


def last_names(case: str, type_: str) -> set[str]:
    return {one["name"].rpartition("/")[2] for one in made(case, type_)}


def parameters(entry: str) -> dict[str, bool]:
    """Return the parameters of an entry file: whether each has a default."""
    found = re.findall(r"^param (\w+) \w+( =)?", (INFRA / f"{entry}.bicep").read_text(), re.MULTILINE)
    return {name: bool(default) for name, default in found}


def environment_variables() -> dict[str, str]:
    """Return what azd fills each parameter of main.bicep from."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    return {name: re.split(r"[{}=]", value["value"])[1] for name, value in given.items()}


@lru_cache
def functions() -> dict[str, list[dict[str, Any]]]:
    """Return the bindings of every function, as the worker indexes them."""
    import function_app

    return {
        str(f.get_function_name()): [b.get_dict_repr() for b in f.get_bindings()]
        for f in function_app.app.get_functions()
    }


# -- the snapshots -----------------------------------------------------------------------------------------------------


def test_snapshots_are_of_these_files() -> None:
    assert snapshots.SEAL.read_text().strip() == snapshots.inputs(), "infra/ has changed since: make infra-snapshots"
    assert {path.name.removesuffix(".snapshot.json") for path in snapshots.FOLDER.glob("*.json")} == set(ALL)


@pytest.mark.parametrize("case", ALL)
def test_engine_had_nothing_to_say(case: str) -> None:
    assert snapshots.read(case)["diagnostics"] == []


# -- what Azure takes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MAIN)
def test_flex_consumption_is_asked_for_nothing_that_it_refuses(case: str) -> None:
    site = only(case, "Microsoft.Web/sites")
    assert only(case, "Microsoft.Web/serverfarms")["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    configured = {key.lower() for key, value in site["properties"]["siteConfig"].items() if value is not None}
    assert configured & NO_SITE_CONFIG == set()
    assert [name for name in site_settings(case) if NO_SETTING.fullmatch(name)] == []
    assert made(case, "Microsoft.Web/sites/config") == []


@pytest.mark.parametrize("case", ALL)
def test_names_are_as_azure_allows(case: str) -> None:
    for resource in snapshots.read(case)["predictedResources"]:
        name = resource["name"].rpartition("/")[2]
        if resource["type"] in NAMES and not name.startswith("["):
            assert re.fullmatch(NAMES[resource["type"]], name), (resource["type"], name)


@pytest.mark.parametrize("case", ALL)
def test_no_resource_is_made_twice(case: str) -> None:
    made_ids = [one["id"].lower() for one in snapshots.read(case)["predictedResources"]]
    assert len(made_ids) == len(set(made_ids))


@pytest.mark.parametrize("case", ALL)
def test_no_output_holds_a_secret(case: str) -> None:
    outputs = json.dumps(snapshots.read(case)["outputs"])
    assert not re.search(r"list[A-Z]\w*\(|key|secret|password|connectionString|sastoken", outputs, re.IGNORECASE)


# -- what azd makes of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MAIN)
def test_azd_finds_one_resource_to_publish_to(case: str) -> None:
    resources = snapshots.read(case)["predictedResources"]
    tagged = [one["type"] for one in resources if "azd-service-name" in (one.get("tags") or {})]
    assert tagged == ["Microsoft.Web/sites"]


def test_no_output_has_the_name_of_an_answer_which_azd_down_would_forget() -> None:
    answers = {*environment_variables().values(), "AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"}
    assert snapshots.read("main-default")["outputs"].keys() & answers == set()


def test_azd_can_set_every_parameter() -> None:
    assert environment_variables().keys() == parameters("main").keys()


@pytest.mark.parametrize(("entry", "hook"), [("access", "postprovision"), ("events", "postdeploy")])
def test_hook_passes_every_parameter_that_has_no_value_of_its_own(entry: str, hook: str) -> None:
    script = (INFRA / "hooks" / f"{hook}.sh").read_text()
    passed = set(re.findall(r"\b(\w+)=", script.partition(f"{entry}.bicep")[2]))
    asked = {name for name, has_default in parameters(entry).items() if not has_default}
    assert asked <= passed


@pytest.mark.parametrize("case", MAIN)
def test_deployment_touches_its_own_resource_group_alone_as_azd_down_deletes_what_it_touched(case: str) -> None:
    group = only(case, "Microsoft.Resources/resourceGroups")["id"]
    ids = [one["id"] for one in snapshots.read(case)["predictedResources"] if not one["id"].startswith("[")]
    assert [id_ for id_ in ids if id_ != group and not id_.startswith(f"{group}/")] == []


# -- rights ------------------------------------------------------------------------------------------------------------


def expected_rights(teams: list[str], *, push: bool = False, identity: str = FLEET) -> set[tuple[str, str]]:
    """Return scope and role of each assignment that app-roles.json gives outside the app's own group."""
    scopes = {
        "teamSubscriptions": [f"/subscriptions/{team}" for team in teams],
        "baseRegistry": [BASE_REGISTRY],
        "identityResourceGroup": [identity] if identity else [],
    }
    return {
        (scope, role["roleDefinitionId"])
        for role in listed("app-roles.json", "assignments")
        for scope in scopes.get(role["scope"], [])
        if push or role["name"] != "grantPush"
    }


def given_rights(case: str) -> set[tuple[str, str]]:
    found = set()
    for one in made(case, "Microsoft.Authorization/roleAssignments"):
        assert one["properties"]["principalId"] == PRINCIPAL
        scope = one["id"].partition("/providers/Microsoft.Authorization/")[0]
        found.add((scope, one["properties"]["roleDefinitionId"].rpartition("/")[2]))
    return found


@pytest.mark.parametrize(("case", "expected"), [
    ("default", expected_rights([TEAM])),
    ("grant-push", expected_rights([TEAM], push=True)),
    ("several", expected_rights([TEAM, OTHER])),
    ("trailing-comma", expected_rights([TEAM], push=True)),
    ("repeated", expected_rights([TEAM])),
    ("system-assigned", expected_rights([TEAM], identity="")),
    ("identity-elsewhere", expected_rights([TEAM], identity=f"/subscriptions/{OTHER}/resourceGroups/fleet")),
])  # fmt: skip
def test_app_gets_the_rights_of_the_table_and_no_others(case: str, expected: set[tuple[str, str]]) -> None:
    assert given_rights(f"access-{case}") == expected


@pytest.mark.parametrize("case", MAIN)
def test_app_gets_its_rights_on_storage_and_telemetry(case: str) -> None:
    types = {"storageAccounts/st": "storageAccount", "components/appi-": "applicationInsights"}
    wanted = {(role["scope"], role["roleDefinitionId"]) for role in listed("app-roles.json", "assignments")}
    given = {
        (scope, one["properties"]["roleDefinitionId"].rpartition("/")[2])
        for one in made(case, "Microsoft.Authorization/roleAssignments")
        for part, scope in types.items()
        if part in one["id"].partition("Microsoft.Authorization")[0]
    }
    assert given == {(scope, role) for scope, role in wanted if scope in types.values()}


@pytest.mark.parametrize("case", ALL)
def test_every_assignment_is_one_of_the_table_with_its_condition(case: str) -> None:
    table = [*listed("app-roles.json", "assignments"), *listed("app-roles.json", "topicAssignments")]
    for one in made(case, "Microsoft.Authorization/roleAssignments"):
        properties = one["properties"]
        (entry,) = [role for role in table if properties["description"] == f"Groundswell: {role['why']}"]
        assert properties["roleDefinitionId"].endswith(f"/{entry['roleDefinitionId']}")
        assert properties.get("condition") == entry.get("condition")
        assert properties.get("conditionVersion") == entry.get("conditionVersion")
        assert properties["principalType"] == "ServicePrincipal"


def test_roles_are_what_they_are_called_and_their_conditions_can_be_read() -> None:
    for role in (*listed("app-roles.json", "assignments"), *listed("app-roles.json", "topicAssignments")):
        assert ROLES[role["roleDefinitionId"]].name == role["role"]
        if "condition" in role:
            assert role["conditionVersion"] == "2.0"
            conditions.parse(role["condition"])
            assert {guid.lower() for guid in GUID.findall(role["condition"])} <= ROLES.keys()


def test_local_deployment_gives_the_same_rights() -> None:
    place = Place("/subscriptions/s/resourceGroups/g", BASE_REGISTRY)
    local = {put.body["properties"]["roleDefinitionId"].rpartition("/")[2]
             for put in role_assignments(place, PRINCIPAL).values()}  # fmt: skip
    assert local == {role["roleDefinitionId"] for role in listed("app-roles.json", "assignments")}


# -- settings ----------------------------------------------------------------------------------------------------------


def read_by_the_app() -> dict[str, tuple[bool, str]]:
    """Return the settings that shared/settings.py reads: whether each is required there, and its default."""
    found: dict[str, tuple[bool, str]] = {}
    for field in Settings.model_fields.values():
        for name in getattr(field.validation_alias, "choices", [field.alias]):
            found.setdefault(str(name), (field.is_required(), "" if field.is_required() else str(field.default)))
    return found


def table(place: str = "") -> dict[str, dict[str, Any]]:
    """Return the table of settings by name: those of a place, or all."""
    return {one["name"]: one for one in listed("app-settings.json", "settings") if not place or place in one["where"]}


@pytest.mark.parametrize("case", MAIN)
def test_app_gets_the_settings_of_the_table_and_understands_them(case: str) -> None:
    given, wanted = site_settings(case), table("azure")
    assert given.keys() == {name for name, one in wanted.items() if one.keys() & {"value", "from"}}
    assert [name for name, one in wanted.items() if "value" in one and given[name] != one["value"]] == []
    settings = load(given)
    assert settings.storage_account == only(case, "Microsoft.Storage/storageAccounts")["name"]
    assert settings.subscriptions == ((TEAM,) if case == "main-default" else (TEAM, OTHER))


def test_table_has_what_the_app_reads_with_its_default_and_nothing_else_of_ours() -> None:
    assert len(table()) == len(listed("app-settings.json", "settings"))
    for name, (required, default) in read_by_the_app().items():
        assert table()[name].get("default", "") == default, name
        assert table()[name]["required"] or not required, name
    assert [name for name in table() if name.startswith("GROUNDSWELL_") and name not in read_by_the_app()] == []


def test_every_entry_of_the_table_says_what_it_is_and_none_puts_a_secret_into_azure() -> None:
    for name, one in table().items():
        assert one.keys() >= {"name", "required", "description", "where", "secret"}, name
        assert one.keys() <= {"name", "required", "default", "description", "where", "value", "from", "secret"}, name
        assert not {"value", "from"} <= one.keys(), name
        assert one.keys() & {"value", "from"} or not one["required"], name
        assert not (one["secret"] and "azure" in one["where"]), name


def test_sample_of_local_settings_is_the_table_s_and_works() -> None:
    values, local = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"], table("local")
    assert values.keys() <= local.keys()
    assert {name for name, one in local.items() if one["required"]} <= values.keys()
    assert [name for name, one in local.items() if values.get(name) != one.get("value", values.get(name))] == []
    load(values)


def test_documents_have_every_setting_that_somebody_may_set_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text().partition("| setting | default | meaning |")[2].strip()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.split("\n\n")[0].splitlines()[1:]]
    rows = {name.strip("`"): default for name, default, _ in cells}
    for name, shown in rows.items():
        required, default = table()[name]["required"], table()[name].get("default", "")
        expected = (
            shown.startswith("*required") if required else shown == f"`{default}`" or ("`" not in shown and not default)
        )
        assert expected, name
    everything = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    for name, one in table().items():
        # What the deployment alone sets, for the host alone, is nobody's to set.
        if name in read_by_the_app() or not one.keys() & {"value", "from"}:
            assert name in rows or re.search(rf"`({name}|__{name.rpartition('__')[2]})`", everything), name


def test_claim_outlives_the_function_that_holds_it() -> None:
    hours, minutes, seconds = map(int, json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":"))
    assert Settings.model_fields["claim_seconds"].default >= (hours * 60 + minutes) * 60 + seconds


# -- storage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MAIN)
def test_storage_has_the_queues_tables_and_containers_that_the_code_uses(case: str) -> None:
    account = "Microsoft.Storage/storageAccounts"
    bound = {one["queueName"] for bindings in functions().values() for one in bindings if "queueName" in one}
    assert bound == {messages.FAN_OUTS, messages.REBUILD_REQUESTS, messages.RUN_CHECKS}
    assert last_names(case, f"{account}/queueServices/queues") == bound
    assert last_names(case, f"{account}/tableServices/tables") == {Settings.model_fields["ledger_table"].default}
    package = only(case, "Microsoft.Web/sites")["properties"]["functionAppConfig"]["deployment"]["storage"]["value"]
    letters = json.loads((INFRA / "event-subscriptions.json").read_text())["deadLetter"]["container"]
    assert last_names(case, f"{account}/blobServices/containers") == {letters, *re.findall(r"'(\w+)'\)\]$", package)}


@pytest.mark.parametrize(("case", "action"), [("main-default", "Allow"), ("main-private-networking", "Deny")])
def test_event_grid_reaches_the_dead_letters_and_nobody_has_a_key(case: str, action: str) -> None:
    properties = only(case, "Microsoft.Storage/storageAccounts")["properties"]
    assert properties["allowSharedKeyAccess"] is False
    assert properties["publicNetworkAccess"] == "Enabled"
    assert (properties["networkAcls"]["bypass"], properties["networkAcls"]["defaultAction"]) == (
        "AzureServices",
        action,
    )


# -- events ------------------------------------------------------------------------------------------------------------

EVENTS = snapshots.cases("events")
SUBSCRIPTIONS = "Microsoft.EventGrid/systemTopics/eventSubscriptions"


def function_of(subscription: dict[str, Any]) -> str:
    """Return the function that the properties of an event subscription lead to."""
    return str(subscription["destination"]["properties"]["resourceId"].rpartition("/")[2])


@pytest.mark.parametrize(("case", "teams"), [
    ("default", [TEAM]), ("several", [TEAM, OTHER]), ("trailing-comma", [TEAM]), ("repeated", [TEAM]),
    ("existing-topics", [TEAM, OTHER]),
])  # fmt: skip
def test_events_come_from_the_base_registry_and_each_team_subscription(case: str, teams: list[str]) -> None:
    sources = [
        (one["id"].split("/")[2], function_of(one["properties"])) for one in made(f"events-{case}", SUBSCRIPTIONS)
    ]
    expected = [(BASE.split("/")[2], "base_image_pushed"), *((team, "team_registry_changed") for team in teams)]
    assert sorted(sources) == sorted(expected)


def test_topics_that_exist_are_used_and_only_the_others_made() -> None:
    made_topics = [one["id"] for one in made("events-existing-topics", "Microsoft.EventGrid/systemTopics")]
    assert [topic.split("/")[2] for topic in made_topics] == [OTHER]
    topics = {one["name"].partition("/")[0] for one in made("events-existing-topics", SUBSCRIPTIONS)}
    assert {"theirs", "audit"} < topics


@pytest.mark.parametrize("case", EVENTS)
def test_every_topic_that_is_made_has_an_identity_that_may_write_dead_letters(case: str) -> None:
    for topic in made(case, "Microsoft.EventGrid/systemTopics"):
        assert topic["identity"] == {"type": "SystemAssigned"}
        assert topic["location"] == "global" or "Registries" in topic["properties"]["topicType"]
    given = [one["properties"]["roleDefinitionId"].rpartition("/")[2]
             for one in made(case, "Microsoft.Authorization/roleAssignments")]  # fmt: skip
    wanted = [role["roleDefinitionId"] for role in listed("app-roles.json", "topicAssignments")]
    assert given == wanted * len(made(case, SUBSCRIPTIONS))


def test_subscriptions_ask_for_events_that_exist_and_lead_to_functions_that_take_them() -> None:
    triggered = {name for name, bindings in functions().items()
                 if any(one["type"] == "eventGridTrigger" for one in bindings)}  # fmt: skip
    entries = listed("event-subscriptions.json", "subscriptions")
    assert {one["function"] for one in entries} == triggered
    for one in entries:
        types = TOPIC_TYPES[one["topicType"]][2]
        assert set(one["filter"]["includedEventTypes"]) <= set(types)
        settled({**one, "destination": {"endpointType": "AzureFunction", "properties": {"resourceId": "x"}}}, types)


@pytest.mark.parametrize("case", EVENTS)
def test_local_deployment_subscribes_in_the_same_way(case: str) -> None:
    place = Place("/subscriptions/s/resourceGroups/g", BASE_REGISTRY)
    local = {function_of(put.body["properties"]): put.body["properties"] for put in event_subscriptions(place)}
    for one in made(case, SUBSCRIPTIONS):
        ours, theirs = one["properties"], local[function_of(one["properties"])]
        for member in ("filter", "eventDeliverySchema", "retryPolicy"):
            assert ours[member] == theirs[member]
        ours, theirs = (one["deadLetterWithResourceIdentity"] for one in (ours, theirs))
        assert ours["identity"] == theirs["identity"]
        ours, theirs = (one["deadLetterDestination"]["properties"] for one in (ours, theirs))
        assert ours["blobContainerName"] == theirs["blobContainerName"]


# -- alerts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", EVENTS)
def test_deliveries_that_fail_are_heard_of_for_every_topic_and_for_ours_alone(case: str) -> None:
    ours = {one["id"].partition("/eventSubscriptions/")[0]: one["name"].rpartition("/")[2]
            for one in made(case, SUBSCRIPTIONS)}  # fmt: skip
    heard: dict[str, set[str]] = {topic: set() for topic in ours}
    for alert in made(case, "Microsoft.Insights/metricAlerts"):
        (topic,), (criterion,) = alert["properties"]["scopes"], alert["properties"]["criteria"]["allOf"]
        assert [one["values"] for one in criterion["dimensions"]] == [[ours[topic]]]
        assert alert["id"].split("/")[2] == topic.split("/")[2]
        assert alert["properties"]["actions"]
        heard[topic].add(criterion["metricName"])
    wanted = {"DeliveryAttemptFailCount", "DeadLetteredCount", "DroppedEventCount"}
    assert heard == dict.fromkeys(ours, wanted)


def query_rule(name: str) -> dict[str, Any]:
    """Return the one criterion of an alert rule over telemetry."""
    rules = made("main-default", "Microsoft.Insights/scheduledQueryRules")
    (alert,) = [one for one in rules if one["name"].endswith(f"-{name}")]
    (criterion,) = alert["properties"]["criteria"]["allOf"]
    return dict(criterion)


def test_alert_on_failing_functions_leaves_out_what_callers_did_wrong() -> None:
    # The exporters call an answer 4xx a failed request, too.
    assert 'success == false and resultCode !startswith "4"' in query_rule("function-failures")["query"]


def test_alert_on_silence_says_nothing_of_a_deployment_that_is_new() -> None:
    criterion = query_rule("silent")
    # Rows raise it, and a table without a line gives none until the deployment is a day old.
    assert (criterion["operator"], criterion["threshold"]) == ("GreaterThan", 0)
    assert re.search(r"last < ago\(1h\) or \(isnull\(last\) and now\(\) > datetime\(.*CreationDate.* \+ 1d\)",
                     criterion["query"].replace("__CREATED__", "CreationDate"))  # fmt: skip


def test_alerts_and_workbook_ask_for_metrics_that_the_app_sends() -> None:
    sent = set(re.findall(r'"(groundswell\.[\w.]+)"', (ROOT / "shared" / "telemetry.py").read_text()))
    shown = [
        *made("main-default", "Microsoft.Insights/scheduledQueryRules"),
        only("main-default", "Microsoft.Insights/workbooks"),
    ]
    asked = set(
        re.findall(r'(?<!\[)\\*"(groundswell\.[\w.]+)\\*"(?!\])', json.dumps([one["properties"] for one in shown]))
    )
    assert "groundswell.queue.messages" in asked
    assert {name for name in asked if f'["{name}"]' not in json.dumps(shown).replace("\\", "")} <= sent


def test_who_may_read_telemetry_needs_no_right_on_the_workspace() -> None:
    features = only("main-default", "Microsoft.OperationalInsights/workspaces")["properties"]["features"]
    assert features["enableLogAccessUsingOnlyResourcePermissions"] is True


@pytest.mark.parametrize(
    ("case", "waiting"), [("main-default", []), ("main-private-networking", ["base_image_pushed"])]
)
def test_instance_waits_for_pushes_only_where_it_was_asked_for(case: str, waiting: list[str]) -> None:
    scale = only(case, "Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    assert [one["name"] for one in scale["alwaysReady"]] == [f"function:{name}" for name in waiting]
    assert set(waiting) <= functions().keys()

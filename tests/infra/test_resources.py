"""What Azure would be asked to make is what it takes, what azd can work with, and what the code needs."""

from __future__ import annotations

import json
import re

import pytest

from dev.checks import snapshots
from shared.adapters import messages
from shared.settings import Settings
from tests.infra.predicted import ALL, INFRA, MAIN, functions, last_names, made, only, site_settings

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


def parameters(entry: str) -> dict[str, bool]:
    """Return the parameters of an entry file: whether each has a default."""
    found = re.findall(r"^param (\w+) \w+( =)?", (INFRA / f"{entry}.bicep").read_text(), re.MULTILINE)
    return {name: bool(default) for name, default in found}


def environment_variables() -> dict[str, str]:
    """Return what azd fills each parameter of main.bicep from."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    return {name: re.split(r"[{}=]", value["value"])[1] for name, value in given.items()}


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


# -- what the code needs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "waiting"), [("main-default", []), ("main-private-networking", ["base_image_pushed"])]
)
def test_instance_waits_for_pushes_only_where_it_was_asked_for(case: str, waiting: list[str]) -> None:
    scale = only(case, "Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    assert [one["name"] for one in scale["alwaysReady"]] == [f"function:{name}" for name in waiting]
    assert set(waiting) <= functions().keys()


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

"""Settings: what is taken, and that what is wrong is said so that it can be mended in one go."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from shared import settings
from shared.domain.errors import ConfigurationError
from tests.builders import SUBSCRIPTION

OTHER = "c2a94e70-1d3b-4f58-8e6a-07b5d9f1c364"
ENOUGH = {"GROUNDSWELL_SUBSCRIPTIONS": SUBSCRIPTION, "AzureWebJobsStorage__accountName": "groundswellstore"}


def test_two_settings_are_enough_for_the_public_cloud() -> None:
    loaded = settings.load(ENOUGH)

    assert loaded.subscriptions == (SUBSCRIPTION,)
    assert loaded.policy == Path("policy/rebuilds.yaml")
    assert loaded.arm_endpoint == "https://management.azure.com"
    assert loaded.registry_suffix == "azurecr.io"
    assert loaded.client_id == loaded.storage_client_id == ""
    assert loaded.storage_uri("queue") == "https://groundswellstore.queue.core.windows.net"
    assert loaded.storage_uri("table") == "https://groundswellstore.table.core.windows.net"


def test_sovereign_cloud_is_only_settings() -> None:
    loaded = settings.load(
        {
            **ENOUGH,
            "GROUNDSWELL_ARM_ENDPOINT": "https://management.chinacloudapi.cn",
            "GROUNDSWELL_REGISTRY_SUFFIX": "azurecr.cn",
            "GROUNDSWELL_REGISTRY_AUDIENCE": "https://containerregistry.azure.cn",
            "GROUNDSWELL_STORAGE_SUFFIX": "core.chinacloudapi.cn",
        }
    )

    assert loaded.arm_endpoint == "https://management.chinacloudapi.cn"
    assert loaded.registry_suffix == "azurecr.cn"
    assert loaded.registry_audience == "https://containerregistry.azure.cn"
    assert loaded.storage_uri("table") == "https://groundswellstore.table.core.chinacloudapi.cn"


@pytest.mark.parametrize("text", [f"{SUBSCRIPTION},{OTHER}", f" {SUBSCRIPTION} , {OTHER} ,, "])
def test_subscriptions_are_a_list_by_comma(text: str) -> None:
    assert settings.load({**ENOUGH, "GROUNDSWELL_SUBSCRIPTIONS": text}).subscriptions == (SUBSCRIPTION, OTHER)


@pytest.mark.parametrize(
    "name", ["GROUNDSWELL_POLICY", "GROUNDSWELL_RUN_CHECK_SECONDS", "AZURE_CLIENT_ID", "GROUNDSWELL_LEDGER_TABLE"]
)
@pytest.mark.parametrize("empty", ["", "  "])
def test_empty_setting_counts_as_unset(name: str, empty: str) -> None:
    assert settings.load({**ENOUGH, name: empty}) == settings.load(ENOUGH)


def test_variables_of_others_are_left_alone() -> None:
    assert settings.load({**ENOUGH, "PATH": "/usr/bin", "AzureWebJobsFeatureFlags": "x"}) == settings.load(ENOUGH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GROUNDSWELL_SUBSCRIPTIONS", "my-subscription"),
        ("GROUNDSWELL_SUBSCRIPTIONS", f"{SUBSCRIPTION};{OTHER}"),
        ("GROUNDSWELL_SUBSCRIPTIONS", f"{SUBSCRIPTION},x"),
        ("GROUNDSWELL_SUBSCRIPTIONS", ","),
        ("GROUNDSWELL_ARM_ENDPOINT", "http://management.azure.com"),
        ("GROUNDSWELL_ARM_ENDPOINT", "https://management.azure.com/"),
        ("GROUNDSWELL_ARM_ENDPOINT", "management.azure.com"),
        ("GROUNDSWELL_REGISTRY_SUFFIX", "https://azurecr.io"),
        ("GROUNDSWELL_REGISTRY_AUDIENCE", "containerregistry.azure.net"),
        ("GROUNDSWELL_STORAGE_SUFFIX", "core windows net"),
        ("GROUNDSWELL_LEDGER_TABLE", "my-ledger"),
        ("GROUNDSWELL_LEDGER_TABLE", "1st"),
        ("GROUNDSWELL_LEDGER_TABLE", "ab"),
        ("GROUNDSWELL_FLEET_CACHE_SECONDS", "-1"),
        ("GROUNDSWELL_FLEET_CACHE_SECONDS", "301"),
        ("GROUNDSWELL_FLEET_CACHE_SECONDS", "soon"),
        ("GROUNDSWELL_RUN_CHECK_SECONDS", "0"),
        ("GROUNDSWELL_RUN_CHECK_SECONDS", "3601"),
        ("GROUNDSWELL_RUN_CHECK_SECONDS", "nan"),
        ("GROUNDSWELL_GRANT_PATIENCE_SECONDS", "-1"),
        ("GROUNDSWELL_GRANT_PATIENCE_SECONDS", "inf"),
    ],
)
def test_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        settings.load({**ENOUGH, name: value})


def test_missing_subscriptions_are_named() -> None:
    with pytest.raises(ConfigurationError, match="GROUNDSWELL_SUBSCRIPTIONS: is required"):
        settings.load({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings.load({"GROUNDSWELL_LEDGER_TABLE": "my-ledger", "GROUNDSWELL_RUN_CHECK_SECONDS": "0"})

    for name in (
        "GROUNDSWELL_SUBSCRIPTIONS",
        "GROUNDSWELL_LEDGER_TABLE",
        "GROUNDSWELL_RUN_CHECK_SECONDS",
        "AzureWebJobsStorage__accountName",
    ):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    "storage",
    [{}, {"AzureWebJobsStorage": " "}, {"AzureWebJobsStorage__queueServiceUri": "https://s.queue.core.windows.net"}],
)
def test_missing_storage_is_said_with_what_to_set(storage: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"AzureWebJobsStorage__accountName.*UseDevelopmentStorage=true"):
        settings.load({"GROUNDSWELL_SUBSCRIPTIONS": SUBSCRIPTION, **storage})


def test_nothing_secret_is_quoted_when_settings_are_wrong() -> None:
    key = "c2VjcmV0"

    with pytest.raises(ConfigurationError) as refused:
        settings.load({"AzureWebJobsStorage": f"AccountKey={key}"})

    assert key not in "".join(traceback.format_exception(refused.value))


def test_connection_string_needs_no_endpoint() -> None:
    loaded = settings.load({**ENOUGH, "AzureWebJobsStorage": "UseDevelopmentStorage=true"})

    assert loaded.storage == "UseDevelopmentStorage=true"
    assert loaded.storage_uri("queue") == ""


def test_named_endpoints_go_before_the_account_name() -> None:
    loaded = settings.load(
        {
            **ENOUGH,
            "AzureWebJobsStorage__queueServiceUri": "https://queue.example",
            "AzureWebJobsStorage__tableServiceUri": "https://table.example",
        }
    )

    assert (loaded.storage_uri("queue"), loaded.storage_uri("table")) == (
        "https://queue.example",
        "https://table.example",
    )


@pytest.mark.parametrize(
    ("identities", "storage_identity"),
    [
        ({"AZURE_CLIENT_ID": SUBSCRIPTION}, SUBSCRIPTION),
        ({"AZURE_CLIENT_ID": SUBSCRIPTION, "AzureWebJobsStorage__clientId": OTHER}, OTHER),
    ],
)
def test_storage_uses_the_apps_identity_unless_it_names_its_own(
    identities: dict[str, str], storage_identity: str
) -> None:
    loaded = settings.load({**ENOUGH, **identities})

    assert loaded.client_id == SUBSCRIPTION
    assert loaded.storage_client_id == storage_identity


def test_environment_is_read_when_nothing_else_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)

    assert settings.load().subscriptions == (SUBSCRIPTION,)

"""Settings from the environment: what they mean, their defaults, and clear words when one is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.domain.errors import ConfigurationError

_NO_STORAGE = (
    "No storage is set: give AzureWebJobsStorage__accountName (with the app's identity) or, on a developer's machine, "
    "AzureWebJobsStorage=UseDevelopmentStorage=true."
)
_STORAGE = {"AzureWebJobsStorage"} | {
    f"AzureWebJobsStorage__{name}" for name in ("accountName", "queueServiceUri", "tableServiceUri")
}
_GUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Guid = Annotated[str, Field(pattern=_GUID)]


class Settings(BaseModel):
    """The app's settings; each field's alias is the name of the environment variable."""

    # An error would quote its input otherwise, and that holds the storage key.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    subscriptions: Annotated[tuple[Guid, ...], BeforeValidator(_split), Field(min_length=1)] = Field(
        alias="GROUNDSWELL_SUBSCRIPTIONS", description="Subscription ids of the base and team registries, by comma."
    )
    policy: Path = Field(
        default=Path("policy/rebuilds.yaml"),
        alias="GROUNDSWELL_POLICY",
        description="The policy file; relative paths start at the app's folder.",
    )
    client_id: str = Field(
        default="",
        alias="AZURE_CLIENT_ID",
        description="Client id of the app's user-assigned identity; empty for its system-assigned one.",
    )
    arm_endpoint: str = Field(
        default="https://management.azure.com",
        alias="GROUNDSWELL_ARM_ENDPOINT",
        pattern=r"^https://[^/]+$",
        description="Resource Manager of the cloud, e.g. https://management.chinacloudapi.cn.",
    )
    registry_suffix: str = Field(
        default="azurecr.io",
        alias="GROUNDSWELL_REGISTRY_SUFFIX",
        pattern=r"^[a-z0-9.-]+$",
        description="What login servers of the cloud end in, e.g. azurecr.cn.",
    )
    registry_audience: str = Field(
        default="https://containerregistry.azure.net",
        alias="GROUNDSWELL_REGISTRY_AUDIENCE",
        pattern=r"^https://[^/]+/?$",
        description="Audience of tokens for the registries' data plane.",
    )
    ledger_table: str = Field(
        default="ledger",
        alias="GROUNDSWELL_LEDGER_TABLE",
        pattern=r"^[A-Za-z][A-Za-z0-9]{2,62}$",
        description="Name of the ledger's table.",
    )
    fleet_cache_seconds: float = Field(
        default=30,
        alias="GROUNDSWELL_FLEET_CACHE_SECONDS",
        ge=0,
        le=300,
        description="How long the list of registries may be reused, in seconds.",
    )
    claim_seconds: float = Field(
        default=600,
        alias="GROUNDSWELL_CLAIM_SECONDS",
        ge=1,
        le=3600,
        description="How long a worker has to start the run that it claimed, in seconds: at least functionTimeout.",
    )
    follow_runs: Literal["all", "changed"] = Field(
        default="all",
        alias="GROUNDSWELL_FOLLOW_RUNS",
        description="Which runs are followed to their end: all (one or two reads each), or only those after a change.",
    )
    run_check_seconds: float = Field(
        default=30,
        alias="GROUNDSWELL_RUN_CHECK_SECONDS",
        ge=1,
        le=3600,
        description="How long to wait between two looks at a run, in seconds.",
    )
    grant_patience_seconds: float = Field(
        default=900,
        alias="GROUNDSWELL_GRANT_PATIENCE_SECONDS",
        ge=0,
        le=7200,
        description="How long a refused login, or a refusal for want of a right, still counts as 'not effective yet', "
        "in seconds.",
    )
    sweep: Literal["repair", "report"] = Field(
        default="repair",
        alias="GROUNDSWELL_SWEEP",
        description="What the sweep does about what it finds: repair it, or only report it in the log.",
    )
    storage: str = Field(default="", alias="AzureWebJobsStorage", description="Connection string (local only).")
    storage_account: str = Field(default="", alias="AzureWebJobsStorage__accountName")
    storage_queue_uri: str = Field(default="", alias="AzureWebJobsStorage__queueServiceUri")
    storage_table_uri: str = Field(default="", alias="AzureWebJobsStorage__tableServiceUri")
    storage_client_id: str = Field(
        default="", validation_alias=AliasChoices("AzureWebJobsStorage__clientId", "AZURE_CLIENT_ID")
    )
    storage_suffix: str = Field(
        default="core.windows.net",
        alias="GROUNDSWELL_STORAGE_SUFFIX",
        pattern=r"^[a-z0-9.-]+$",
        description="What storage host names of the cloud end in.",
    )

    @property
    def settling(self) -> timedelta:
        """How long a grant, the app's own roles included, may take to work."""
        return timedelta(seconds=self.grant_patience_seconds)

    def storage_uri(self, service: str) -> str:
        """Return the endpoint of the storage account's `queue` or `table` service ("" with a connection string).

        Raises:
            ConfigurationError: No storage account is set.
        """
        if self.storage:
            return ""
        explicit = {"queue": self.storage_queue_uri, "table": self.storage_table_uri}[service]
        if explicit:
            return explicit
        if not self.storage_account:
            raise ConfigurationError(_NO_STORAGE)
        return f"https://{self.storage_account}.{service}.{self.storage_suffix}"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; empty variables count as unset.

    Raises:
        ConfigurationError: A setting is missing or wrong; the text names every one of them.
    """
    source = os.environ if environ is None else environ
    given = {name: value for name, value in source.items() if value.strip()}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems = [f"{e['loc'][0]}: {_explain(e['type'], e['msg'])}" for e in error.errors()]
        if not _STORAGE & given.keys():
            problems.append(_NO_STORAGE)
        raise ConfigurationError(f"Settings are wrong. {'; '.join(problems)}") from error
    settings.storage_uri("queue")
    settings.storage_uri("table")
    return settings


def _explain(kind: str, message: str) -> str:
    return "is required" if kind == "missing" else message

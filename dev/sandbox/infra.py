"""What infra/*.json says, as the calls and settings of a deployment; Bicep makes the same of it in Azure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dev.sandbox.processes import ROOT

_PROVIDERS = "/providers"
_AUTHORIZATION = f"{_PROVIDERS}/Microsoft.Authorization"
_MADE_BY_US = uuid.UUID("9c3f3d9e-52f3-4b0e-8d75-0c0f4bd5a1f2")


def read(name: str) -> dict[str, Any]:
    """Return the content of infra/{name}.json."""
    document: dict[str, Any] = json.loads((ROOT / "infra" / f"{name}.json").read_text(encoding="utf-8"))
    return document


@dataclass(frozen=True)
class Put:
    """A call that creates something.

    Attributes:
        path: The resource's id.
        body: The request's body.
    """

    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a deployment lives: the ids behind the kinds that infra/*.json speaks of.

    Attributes:
        group: Resource group of the app, and here of everything else.
        base_registry: The base registry.
        location: Where both are.
    """

    group: str
    base_registry: str
    location: str = "eastus"

    @property
    def subscription(self) -> str:
        """The one team subscription."""
        return "/".join(self.group.split("/")[:3])

    @property
    def site(self) -> str:
        """The function app."""
        return f"{self.group}{_PROVIDERS}/Microsoft.Web/sites/groundswell"

    @property
    def identity(self) -> str:
        """The app's user-assigned identity."""
        return f"{self.group}{_PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/groundswell"

    @property
    def storage_account(self) -> str:
        """The app's storage account."""
        return f"{self.group}{_PROVIDERS}/Microsoft.Storage/storageAccounts/groundswell"

    @property
    def scopes(self) -> dict[str, str]:
        """What each kind of scope in app-roles.json stands for."""
        container = read("event-subscriptions")["deadLetter"]["container"]
        return {
            "applicationInsights": f"{self.group}{_PROVIDERS}/Microsoft.Insights/components/groundswell",
            "baseRegistry": self.base_registry,
            "deadLetterContainer": f"{self.storage_account}/blobServices/default/containers/{container}",
            "identityResourceGroup": self.group,
            "storageAccount": self.storage_account,
            "teamSubscriptions": self.subscription,
        }

    @property
    def sources(self) -> dict[str, str]:
        """What each kind of source in event-subscriptions.json stands for."""
        return {"baseRegistry": self.base_registry, "teamSubscriptions": self.subscription}

    def topic(self, source: str) -> str:
        """Return the system topic of a kind of source."""
        name = {"baseRegistry": "base-registry", "teamSubscriptions": "subscription"}[source]
        return f"{self.group}{_PROVIDERS}/Microsoft.EventGrid/systemTopics/{name}"


def role_assignments(place: Place, principal: str, of: str = "assignments") -> dict[str, Put]:
    """Return, by their names in app-roles.json, the assignments that a principal gets.

    Args:
        place: Where everything is.
        principal: Object id.
        of: `assignments` for the app's identity, `topicAssignments` for that of a system topic.
    """
    return {role["name"]: _assignment(place.scopes[role["scope"]], principal, role) for role in read("app-roles")[of]}


def _assignment(scope: str, principal: str, role: Mapping[str, Any]) -> Put:
    definition = f"/{'/'.join(scope.split('/')[1:3])}{_AUTHORIZATION}/roleDefinitions/{role['roleDefinitionId']}"
    name = uuid.uuid5(_MADE_BY_US, f"{scope} {principal} {role['name']}")
    properties = {
        "principalId": principal, "principalType": "ServicePrincipal", "roleDefinitionId": definition,
        **{key: role[key] for key in ("condition", "conditionVersion") if key in role},
    }  # fmt: skip
    return Put(f"{scope}{_AUTHORIZATION}/roleAssignments/{name}", {"properties": properties})


def topics(place: Place) -> Iterator[Put]:
    """Yield the system topics, each with an identity of its own for dead letters."""
    found = {subscription["source"]: subscription["topicType"] for subscription in _events()}
    for source, topic_type in found.items():
        yield Put(place.topic(source), {
            # https://learn.microsoft.com/azure/event-grid/system-topics: a subscription's events have no region.
            "location": "global" if source == "teamSubscriptions" else place.location,
            "identity": {"type": "SystemAssigned"},
            "properties": {"source": place.sources[source], "topicType": topic_type},
        })  # fmt: skip


def event_subscriptions(place: Place) -> Iterator[Put]:
    """Yield the event subscriptions, with their dead-letter destination."""
    wanted = read("event-subscriptions")
    letters = {"resourceId": place.storage_account, "blobContainerName": wanted["deadLetter"]["container"]}
    for subscription in wanted["subscriptions"]:
        properties = {
            "destination": {
                "endpointType": "AzureFunction",
                "properties": {"resourceId": f"{place.site}/functions/{subscription['function']}"},
            },
            "filter": subscription["filter"],
            "eventDeliverySchema": wanted["eventDeliverySchema"],
            "retryPolicy": wanted["retryPolicy"],
            "deadLetterWithResourceIdentity": {
                "identity": {"type": "SystemAssigned"},
                "deadLetterDestination": {"endpointType": "StorageBlob", "properties": letters},
            },
        }
        path = f"{place.topic(subscription['source'])}/eventSubscriptions/{subscription['name']}"
        yield Put(path, {"properties": properties})


def functions() -> list[str]:
    """Return the names of the functions that events go to."""
    return sorted({subscription["function"] for subscription in _events()})


def site(place: Place, ready: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a Functions host known to the local Azure as the function app.

    Args:
        place: Where everything is.
        ready: What the host told when it was ready.
    """
    targets = functions()
    listed = [{"name": name, "type": "eventGridTrigger" if name in targets else "other"} for name in ready["functions"]]
    keys = {name: ready[name] for name in ("eventGridKey", "functionKey", "masterKey")}
    return {"resourceId": place.site, "url": ready["url"], "functions": listed, **keys}


def app_settings(computed: Mapping[str, str], **others: str) -> dict[str, str]:
    """Return the app settings of a local deployment.

    Args:
        computed: What app-settings.json takes `from` the deployment.
        others: Values for settings that would be left to their defaults.

    Raises:
        KeyError: A setting wants something that the deployment does not compute, or app-settings.json does not have
            one of `others` for local deployments: what runs here has to be what is documented.
    """
    local = {setting["name"]: setting for setting in read("app-settings")["settings"] if "local" in setting["where"]}
    if unknown := others.keys() - local.keys():
        raise KeyError(f"infra/app-settings.json has no local setting {', '.join(sorted(unknown))}")
    fixed = {name: setting["value"] for name, setting in local.items() if "value" in setting}
    given = {name: computed[setting["from"]] for name, setting in local.items() if "from" in setting}
    return {**fixed, **given, **others}


def _events() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read("event-subscriptions")["subscriptions"]
    return found

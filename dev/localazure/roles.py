"""Azure's built-in role definitions, as far as this local Azure has services for them.

Ids, names, actions and data actions are those that Azure publishes
(https://learn.microsoft.com/azure/role-based-access-control/built-in-roles); the descriptions are shortened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
RBAC_ADMINISTRATOR = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
USER_ACCESS_ADMINISTRATOR = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ACR_PUSH = "8311e382-0749-4cb8-b61a-304f252e45ec"
ACR_DELETE = "c2f4ef07-c644-48eb-af81-4b1b4947fb11"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
REPOSITORY_WRITER = "2a1e307c-b015-4ebd-883e-5b7698a07328"
REPOSITORY_CONTRIBUTOR = "2efddaa5-3f1f-4df3-97df-af3f13818f4c"
CATALOG_LISTER = "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7"
TASKS_CONTRIBUTOR = "fb382eab-e894-4461-af04-94435c366c3f"
IDENTITY_CONTRIBUTOR = "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59"
IDENTITY_OPERATOR = "f1a07417-d97a-45cb-824c-7a7467783830"

_REGISTRY = "Microsoft.ContainerRegistry/registries"
_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices"
_QUEUES = "Microsoft.Storage/storageAccounts/queueServices/queues"
_TABLES = "Microsoft.Storage/storageAccounts/tableServices/tables"
_GROUPS_READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
_COMMON = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Insights/alertRules/*",
    _GROUPS_READ,
    "Microsoft.Resources/deployments/*",
    "Microsoft.Support/*",
)


@dataclass(frozen=True)
class RoleDefinition:
    """A built-in role; `id` is the GUID that is the same in every tenant."""

    id: str
    name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def grants(self, action: str, *, data: bool) -> bool:
        """Tell whether the role contains an action (or data action), in any casing."""
        allowed, denied = (self.data_actions, self.not_data_actions) if data else (self.actions, self.not_actions)
        return any(matches(p, action) for p in allowed) and not any(matches(p, action) for p in denied)


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    # "userAssignedIdentities/*/read" of Managed Identity Operator covers "userAssignedIdentities/read" too.
    expression = re.escape(text).replace(r"/\*/", "(?:/.*)?/").replace(r"\*", ".*")
    return re.compile(expression, re.IGNORECASE)


def matches(pattern: str, action: str) -> bool:
    """Tell whether an action matches a pattern of a role: `*` stands for anything, slashes included."""
    return _pattern(pattern).fullmatch(action) is not None


def _below(prefix: str, *actions: str) -> tuple[str, ...]:
    return tuple(f"{prefix}/{action}" for action in actions)


def _alert_rules() -> tuple[str, ...]:
    verbs = ("Write", "Delete", "Read", "Activated/Action", "Resolved/Action", "Throttled/Action", "Incidents/Read")
    return _below("Microsoft.Insights/AlertRules", *verbs)


_PRIVILEGED = (
    RoleDefinition(OWNER, "Owner", "Full access to all resources, and to who has access.", ("*",)),
    RoleDefinition(
        CONTRIBUTOR, "Contributor", "Full access to all resources, but not to who has access.", ("*",),
        (
            "Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action", "Microsoft.Blueprint/blueprintAssignments/write",
            "Microsoft.Blueprint/blueprintAssignments/delete", "Microsoft.Compute/galleries/share/action",
            "Microsoft.Purview/consents/write", "Microsoft.Purview/consents/delete",
            "Microsoft.Resources/deploymentStacks/manageDenySetting/action", "Microsoft.Subscription/cancel/action",
            "Microsoft.Subscription/enable/action",
        ),
    ),
    RoleDefinition(READER, "Reader", "View all resources.", ("*/read",)),
    RoleDefinition(
        RBAC_ADMINISTRATOR, "Role Based Access Control Administrator", "Manage access by assigning roles.",
        (*_below("Microsoft.Authorization/roleAssignments", "write", "delete"), "*/read", "Microsoft.Support/*"),
    ),
    RoleDefinition(
        USER_ACCESS_ADMINISTRATOR, "User Access Administrator", "Manage user access to resources.",
        ("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"),
    ),
)  # fmt: skip

_CONTAINERS = (
    RoleDefinition(ACR_PULL, "AcrPull", "acr pull", _below(_REGISTRY, "pull/read")),
    RoleDefinition(ACR_PUSH, "AcrPush", "acr push", _below(_REGISTRY, "pull/read", "push/write")),
    RoleDefinition(ACR_DELETE, "AcrDelete", "acr delete", _below(_REGISTRY, "artifacts/delete")),
    RoleDefinition(
        REPOSITORY_READER, "Container Registry Repository Reader", "Read repositories, without the catalog.",
        data_actions=_below(f"{_REGISTRY}/repositories", "metadata/read", "content/read"),
    ),
    RoleDefinition(
        REPOSITORY_WRITER, "Container Registry Repository Writer", "Read and write repositories, without the catalog.",
        data_actions=_below(
            f"{_REGISTRY}/repositories", "metadata/read", "content/read", "metadata/write", "content/write"
        ),
    ),
    RoleDefinition(
        REPOSITORY_CONTRIBUTOR, "Container Registry Repository Contributor",
        "Read, write and delete repositories, without the catalog.",
        data_actions=_below(
            f"{_REGISTRY}/repositories", "metadata/read", "content/read", "metadata/write", "content/write",
            "metadata/delete", "content/delete",
        ),
    ),
    RoleDefinition(
        CATALOG_LISTER, "Container Registry Repository Catalog Lister", "List all repositories.",
        data_actions=_below(_REGISTRY, "catalog/read"),
    ),
    RoleDefinition(
        TASKS_CONTRIBUTOR, "Container Registry Tasks Contributor",
        "Configure, read, list, trigger or cancel tasks, task runs, logs, quick runs, quick builds and agent pools.",
        (
            *_below(
                _REGISTRY, "agentpools/read", "agentpools/write", "agentpools/delete",
                "agentpools/listQueueStatus/action", "agentpools/operationResults/status/read",
                "agentpools/operationStatuses/read", "tasks/read", "tasks/write", "tasks/delete",
                "tasks/listDetails/action", "scheduleRun/action", "listBuildSourceUploadUrl/action", "runs/read",
                "runs/write", "runs/listLogSasUrl/action", "runs/cancel/action", "taskruns/read", "taskruns/write",
                "taskruns/delete", "taskruns/listDetails/action", "taskruns/operationStatuses/read",
            ),
            "Microsoft.Resources/deployments/*", _GROUPS_READ, f"{_REGISTRY}/read",
        ),
    ),
    RoleDefinition(
        "577a9874-89fd-4f24-9dbd-b5034d0ad23a", "Container Registry Data Importer and Data Reader",
        "Import images into a registry; list and pull its repositories.",
        _below(_REGISTRY, "importImage/action", "read", "pull/read"),
        data_actions=_below(_REGISTRY, "repositories/content/read", "repositories/metadata/read", "catalog/read"),
    ),
    RoleDefinition(
        "69b07be0-09bf-439a-b9a6-e73de851bd59",
        "Container Registry Configuration Reader and Data Access Configuration Reader",
        "List registries and their configuration, admin credentials, scope maps and tokens included.",
        (
            *_below(
                _REGISTRY, "operationStatuses/read", "read", "privateEndpointConnections/read",
                "privateEndpointConnections/operationStatuses/read", "listCredentials/action", "tokens/read",
                "tokens/operationStatuses/read", "scopeMaps/read", "scopeMaps/operationStatuses/read",
                "webhooks/read", "webhooks/getCallbackConfig/action", "webhooks/listEvents/action",
                "webhooks/operationStatuses/read", "replications/read", "replications/operationStatuses/read",
                "connectedRegistries/read", "providers/Microsoft.Insights/diagnosticSettings/read",
                "providers/Microsoft.Insights/diagnosticSettings/write",
                "providers/Microsoft.Insights/logDefinitions/read",
                "providers/Microsoft.Insights/metricDefinitions/read",
            ),
            *_alert_rules(),
        ),
    ),
    RoleDefinition(
        "3bc748fc-213d-45c1-8d91-9da5725539b9",
        "Container Registry Contributor and Data Access Configuration Administrator",
        "Create, list and update registries and their configuration, admin credentials and tokens included.",
        (
            _GROUPS_READ,
            *_below(
                _REGISTRY, "operationStatuses/read", "read", "write", "delete", "listCredentials/action",
                "regenerateCredential/action", "generateCredentials/action", "replications/read",
                "replications/write", "replications/delete", "replications/operationStatuses/read",
                "privateEndpointConnectionsApproval/action", "privateEndpointConnections/read",
                "privateEndpointConnections/write", "privateEndpointConnections/delete",
                "privateEndpointConnections/operationStatuses/read", "tokens/read", "tokens/write", "tokens/delete",
                "tokens/operationStatuses/read", "scopeMaps/read", "scopeMaps/write", "scopeMaps/delete",
                "scopeMaps/operationStatuses/read", "providers/Microsoft.Insights/diagnosticSettings/read",
                "providers/Microsoft.Insights/diagnosticSettings/write",
                "providers/Microsoft.Insights/logDefinitions/read",
                "providers/Microsoft.Insights/metricDefinitions/read",
            ),
            "Microsoft.Resources/deployments/*", "Microsoft.Authorization/*/read",
            *_below(
                _REGISTRY, "connectedRegistries/read", "connectedRegistries/write", "connectedRegistries/delete",
                "connectedRegistries/deactivate/action", "webhooks/read", "webhooks/write", "webhooks/delete",
                "webhooks/getCallbackConfig/action", "webhooks/ping/action", "webhooks/listEvents/action",
                "webhooks/operationStatuses/read",
            ),
            *_alert_rules(),
            "Microsoft.ContainerRegistry/locations/operationResults/read",
            "Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action",
            "Microsoft.Network/virtualNetworks/subnets/read", "Microsoft.Network/virtualNetworks/subnets/write",
            "Microsoft.Network/virtualNetworks/read",
            "Microsoft.Network/privateEndpoints/privateLinkServiceProxies/write",
        ),
    ),
)  # fmt: skip

_IDENTITIES = (
    RoleDefinition(
        IDENTITY_CONTRIBUTOR, "Managed Identity Contributor",
        "Create, read, update and delete user-assigned identities.",
        (
            *_below(
                _IDENTITY, "read", "write", "delete", "federatedIdentityCredentials/read",
                "federatedIdentityCredentials/write", "federatedIdentityCredentials/delete", "revokeTokens/action",
            ),
            *_COMMON,
        ),
    ),
    RoleDefinition(
        IDENTITY_OPERATOR, "Managed Identity Operator", "Read and assign user-assigned identities.",
        (*_below(_IDENTITY, "*/read", "*/assign/action"), *_COMMON),
    ),
)  # fmt: skip

_STORAGE = (
    RoleDefinition(
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "Storage Blob Data Owner", "Full access to blobs, and to their owners.",
        _below(_BLOBS, "containers/*", "generateUserDelegationKey/action"),
        data_actions=_below(_BLOBS, "containers/blobs/*"),
    ),
    RoleDefinition(
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "Storage Blob Data Contributor",
        "Read, write and delete containers and blobs.",
        _below(_BLOBS, "containers/delete", "containers/read", "containers/write", "generateUserDelegationKey/action"),
        data_actions=_below(f"{_BLOBS}/containers/blobs", "delete", "read", "write", "move/action", "add/action"),
    ),
    RoleDefinition(
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "Storage Blob Data Reader", "Read containers and blobs.",
        _below(_BLOBS, "containers/read", "generateUserDelegationKey/action"),
        data_actions=_below(_BLOBS, "containers/blobs/read"),
    ),
    RoleDefinition(
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88", "Storage Queue Data Contributor",
        "Read, write and delete queues and messages.", _below(_QUEUES, "delete", "read", "write"),
        data_actions=_below(f"{_QUEUES}/messages", "delete", "read", "write", "process/action"),
    ),
    RoleDefinition(
        "19e7f393-937e-4f77-808e-94535e297925", "Storage Queue Data Reader", "Read queues and messages.",
        _below(_QUEUES, "read"), data_actions=_below(_QUEUES, "messages/read"),
    ),
    RoleDefinition(
        "8a0f0c08-91a1-4084-bc3d-661d67233fed", "Storage Queue Data Message Processor",
        "Peek, receive and delete messages.",
        data_actions=_below(f"{_QUEUES}/messages", "read", "process/action"),
    ),
    RoleDefinition(
        "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a", "Storage Queue Data Message Sender", "Send messages.",
        data_actions=_below(_QUEUES, "messages/add/action"),
    ),
    RoleDefinition(
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "Storage Table Data Contributor",
        "Read, write and delete tables and entities.", _below(_TABLES, "read", "write", "delete"),
        data_actions=_below(f"{_TABLES}/entities", "read", "write", "delete", "add/action", "update/action"),
    ),
    RoleDefinition(
        "76199698-9eea-4c19-bc75-cec21354c6b6", "Storage Table Data Reader", "Read tables and entities.",
        _below(_TABLES, "read"), data_actions=_below(_TABLES, "entities/read"),
    ),
)  # fmt: skip

_OTHERS = (
    RoleDefinition(
        "1e241071-0855-49ea-94dc-649edcd759de", "EventGrid Contributor", "Manage Event Grid.",
        (
            "Microsoft.Authorization/*/read", "Microsoft.EventGrid/*", "Microsoft.Insights/alertRules/*",
            "Microsoft.Resources/deployments/*", _GROUPS_READ, "Microsoft.Support/*",
        ),
    ),
    RoleDefinition(
        "3913510d-42f4-4e42-8a64-420c390055eb", "Monitoring Metrics Publisher", "Publish metrics and telemetry.",
        ("Microsoft.Insights/Register/Action", "Microsoft.Support/*", _GROUPS_READ),
        data_actions=("Microsoft.Insights/Metrics/Write", "Microsoft.Insights/Telemetry/Write"),
    ),
)  # fmt: skip

ROLES: dict[str, RoleDefinition] = {
    role.id: role for role in (*_PRIVILEGED, *_CONTAINERS, *_IDENTITIES, *_STORAGE, *_OTHERS)
}

"""SDK clients, made on first use: one for each kind and subscription, all with the app's identity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import AsyncRetryPolicy

from shared import telemetry
from shared.adapters.azure_errors import seconds
from shared.adapters.meter import READS, WRITES, Meter
from shared.domain.pacing import Pacer
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.containerregistry.aio import ContainerRegistryClient
    from azure.data.tables.aio import TableServiceClient
    from azure.identity.aio import DefaultAzureCredential
    from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient
    from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
    from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient
    from azure.mgmt.msi.v2024_11_30.aio import ManagedServiceIdentityClient
    from azure.storage.queue.aio import QueueServiceClient

_Client = TypeVar("_Client")


# In seconds. The SDK's own waits begin with fifteen, which would hold a worker's slot and its claim for nothing: what
# does not work after a few seconds goes back into the queue.
_STORAGE_RETRIES: dict[str, Any] = {
    "retry_total": 3,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}


class HandOffThrottling(AsyncRetryPolicy[Any, Any]):
    """Retries what breaks in passing, but hands throttling (429) to the caller at once.

    Resource Manager may ask to wait for minutes: a delayed message can do that, a sleeping worker should not.
    """

    def is_retry(self, settings: Any, response: Any) -> bool:
        """Tell whether to try again here."""
        return response.http_response.status_code != 429 and super().is_retry(settings, response)


class Clients:
    """Makes and keeps SDK clients. `close` closes what was made or given.

    Args:
        pacer: Is told what Resource Manager's answers say of its limits.
        queues: The client for the app's storage queues, in place of the one that the settings lead to.
    """

    def __init__(self, settings: Settings, pacer: Pacer, *, queues: QueueServiceClient | None = None) -> None:
        self._settings, self._pacer, self.meter = settings, pacer, Meter()
        self._made: dict[tuple[str, str], Any] = {("queues", ""): queues} if queues else {}

    def _once(self, kind: str, key: str, make: Callable[[], _Client]) -> _Client:
        if (kind, key) not in self._made:
            self._made[kind, key] = make()
        client: _Client = self._made[kind, key]
        return client

    def _of_arm(self, kind: str, subscription: str, make: Callable[..., _Client]) -> _Client:
        """Return a client for a part of Resource Manager."""
        endpoint = self._settings.arm_endpoint
        return self._once(
            kind,
            subscription,
            lambda: make(
                self.credential(),
                subscription,
                base_url=endpoint,
                credential_scopes=[f"{endpoint}/.default"],
                retry_policy=HandOffThrottling(retry_total=3, retry_backoff_factor=0.4),
                raw_response_hook=self._note_answer,
            ),
        )

    def _note_answer(self, response: PipelineResponse[Any, Any]) -> None:
        """Count an answer of Resource Manager and tell the pacer what it says is left of a subscription's writes."""
        request, headers = response.http_request, response.http_response.headers
        subscription = re.search(r"/subscriptions/([^/?]+)", request.url)
        if not subscription:
            return
        status = response.http_response.status_code
        telemetry.arm_call(subscription[1].lower(), request.method, status)
        kind = WRITES if request.method in ("PUT", "PATCH", "POST") else READS
        left = headers.get(f"x-ms-ratelimit-remaining-subscription-{kind}") or ""
        self.meter.answered(
            subscription[1], kind, left=int(left) if left.isdigit() else None,
            wait=(seconds(headers.get("Retry-After")) or 1.0) if status == 429 else None,
        )  # fmt: skip
        if kind is READS:
            return
        remaining = headers.get("x-ms-ratelimit-remaining-subscription-writes")
        if status == 429:
            self._pacer.throttled(subscription[1], seconds(headers.get("Retry-After")) or 1.0)
        elif remaining and remaining.isdigit():
            self._pacer.answered(subscription[1], int(remaining))

    def credential(self, client_id: str | None = None) -> DefaultAzureCredential:
        """Return the app's credential: its managed identity in Azure, the developer's sign-in elsewhere."""
        from azure.identity.aio import DefaultAzureCredential

        identity = self._settings.client_id if client_id is None else client_id
        return self._once(
            "credential", identity, lambda: DefaultAzureCredential(managed_identity_client_id=identity or None)
        )

    def registries(self, subscription: str) -> ContainerRegistryManagementClient:
        """Return the client for registries of a subscription."""
        from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient

        return self._of_arm("registries", subscription, ContainerRegistryManagementClient)

    def tasks(self, subscription: str) -> ContainerRegistryTasksMgmtClient:
        """Return the client for tasks and runs of a subscription."""
        from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient

        return self._of_arm("tasks", subscription, ContainerRegistryTasksMgmtClient)

    def identities(self, subscription: str) -> ManagedServiceIdentityClient:
        """Return the client for user-assigned identities of a subscription."""
        from azure.mgmt.msi.v2024_11_30.aio import ManagedServiceIdentityClient

        return self._of_arm("identities", subscription, ManagedServiceIdentityClient)

    def authorization(self, subscription: str) -> AuthorizationManagementClient:
        """Return the client for role assignments of a subscription."""
        from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient

        return self._of_arm("authorization", subscription, AuthorizationManagementClient)

    def images(self, login_server: str) -> ContainerRegistryClient:
        """Return a new client for a registry's images; use it as a context manager: `close` leaves a part open."""
        from azure.containerregistry.aio import ContainerRegistryClient

        audience = self._settings.registry_audience
        return ContainerRegistryClient(f"https://{login_server}", self.credential(), audience=audience, retry_total=1)

    def queues(self) -> QueueServiceClient:
        """Return the client for the app's storage queues."""
        from azure.storage.queue.aio import QueueServiceClient

        settings = self._settings
        if settings.storage:
            connection = _expand(settings.storage)
            return self._once(
                "queues", "", lambda: QueueServiceClient.from_connection_string(connection, **_STORAGE_RETRIES)
            )
        uri, credential = settings.storage_uri("queue"), self.credential(settings.storage_client_id)
        return self._once("queues", "", lambda: QueueServiceClient(uri, credential, **_STORAGE_RETRIES))

    def tables(self) -> TableServiceClient:
        """Return the client for the app's storage tables."""
        from azure.data.tables.aio import TableServiceClient

        settings = self._settings
        if settings.storage:
            return self._once(
                "tables", "", lambda: TableServiceClient.from_connection_string(_expand(settings.storage))
            )
        credential = self.credential(settings.storage_client_id)
        return self._once(
            "tables", "", lambda: TableServiceClient(settings.storage_uri("table"), credential=credential)
        )

    async def close(self) -> None:
        """Close everything that was made, credentials last."""
        for _, client in sorted(self._made.items(), key=lambda made: made[0][0] == "credential"):
            await client.close()
        self._made.clear()


# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
_DEVELOPMENT_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


def _expand(connection: str) -> str:
    """Return the well-known connection string of the storage emulator for its short form."""
    return (
        _DEVELOPMENT_STORAGE if connection.strip().rstrip(";").lower() == "usedevelopmentstorage=true" else connection
    )

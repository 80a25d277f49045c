"""Calls to Resource Manager; its errors are raised as permanent or temporary ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError

from shared.adapters.azure_errors import NONSENSE, code_of, doing, from_azure, or_none
from shared.adapters.clients import Clients
from shared.domain import registries, runs
from shared.domain.desired import UserIdentity
from shared.domain.grants import Assignments, Grant
from shared.domain.registries import Registry, RegistryId
from shared.domain.runs import Run
from shared.logs import Log

log = Log("arm")


class Arm:
    """Operations on Resource Manager."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def list_registries(self, subscription: str) -> list[Registry]:
        """Return all registries of a subscription that the app may read."""
        with doing(f"list the registries of subscription {subscription}"):
            found = []
            async for item in self._clients.registries(subscription).registries.list():
                try:
                    found.append(registries.from_arm(_json(item)))
                except NONSENSE as error:
                    log.warning("registry of a list not read", subscription=subscription, reason=repr(error),
                                registry=getattr(item, "name", None))  # fmt: skip
            return found

    async def subscription_states(self) -> Mapping[str, str]:
        """Return the state of each subscription in which the app has a role, by id in lower case."""
        states: dict[str, str] = {}
        with doing("list the subscriptions"):
            async for item in self._pages("/subscriptions", {"api-version": "2022-12-01"}, ""):
                states[str(item["subscriptionId"]).lower()] = str(item.get("state") or "")
        return states

    async def get_registry(self, registry: RegistryId) -> Registry | None:
        """Return a registry, or None if it does not exist."""
        with doing(f"read registry {registry.name}"):
            client = self._clients.registries(registry.subscription)
            found = await or_none(client.registries.get(registry.group, registry.name))
            return registries.from_arm(_json(found)) if found is not None else None

    async def list_tasks(self, subscription: str) -> list[Mapping[str, Any]]:
        """Return the tasks of all registries of a subscription as Resource Manager lists resources: without content."""
        query = {
            "api-version": "2024-11-01",
            "$filter": "resourceType eq 'Microsoft.ContainerRegistry/registries/tasks'",
        }
        with doing(f"list the tasks of subscription {subscription}"):
            return [item async for item in self._pages(f"/subscriptions/{subscription}/resources", query, subscription)]

    async def _pages(self, url: str, query: dict[str, str], subscription: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what a list of Resource Manager's own holds, page by page."""
        from azure.core.rest import HttpRequest

        following: str | None = url
        while following:
            response = await self._clients.tasks(subscription).send_request(HttpRequest("GET", following, params=query))
            response.raise_for_status()
            page = response.json()
            for item in page["value"]:
                yield item
            following, query = page.get("nextLink"), {}

    async def get_task(self, registry: RegistryId, name: str) -> Mapping[str, Any] | None:
        """Return a task with its credentials hidden, or None if it does not exist."""
        with doing(f"read task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            found = await or_none(client.tasks.get(registry.group, registry.name, name))
            return _json(found) if found is not None else None

    async def task_details(self, registry: RegistryId, name: str) -> Mapping[str, Any]:
        """Return a task with its credentials shown. Resource Manager counts this read as a write."""
        with doing(f"read the credentials of task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            return _json(await client.tasks.get_details(registry.group, registry.name, name))

    async def put_task(self, registry: RegistryId, name: str, body: dict[str, Any]) -> Mapping[str, Any]:
        """Create or replace a task."""
        with doing(f"write task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            return _json(await client.tasks.create(registry.group, registry.name, name, body))

    async def delete_task(self, registry: RegistryId, name: str) -> None:
        """Delete a task, if it exists."""
        with doing(f"delete task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            await or_none(client.tasks.delete(registry.group, registry.name, name))

    async def get_identity(self, subscription: str, group: str, name: str) -> UserIdentity | None:
        """Return a user-assigned identity, or None if it does not exist."""
        with doing(f"read identity {name}"):
            found = await or_none(self._clients.identities(subscription).user_assigned_identities.get(group, name))
            return UserIdentity(str(found.id), str(found.client_id), str(found.principal_id)) if found else None

    async def create_identity(
        self, subscription: str, group: str, name: str, location: str, tags: Mapping[str, str]
    ) -> UserIdentity:
        """Create a user-assigned identity.

        Raises:
            NotFound: The resource group does not exist.
        """
        from azure.mgmt.msi.v2024_11_30.models import Identity

        with doing(f"create identity {name} in resource group {group}"):
            made = await self._clients.identities(subscription).user_assigned_identities.create_or_update(
                group, name, Identity(location=location, tags=dict(tags))
            )
        return UserIdentity(str(made.id), str(made.client_id), str(made.principal_id))

    async def assignments(self, scope: str, principal_id: str = "") -> Assignments:
        """Return the role assignments at, above and below a scope: all, or those of one principal."""
        entries: dict[tuple[str, str, str], datetime | None] = {}
        subscription = scope.split("/")[2]
        with doing(f"read the role assignments on {scope.rpartition('/')[2]}"):
            client = self._clients.authorization(subscription)
            wanted = f"principalId eq '{principal_id}'" if principal_id else None
            async for item in client.role_assignments.list_for_scope(scope.lstrip("/"), filter=wanted):
                # A condition may take back what the role gives.
                if not item.condition:
                    role = str(item.role_definition_id).rpartition("/")[2]
                    key = (str(item.principal_id).lower(), str(item.scope).rstrip("/").lower(), role.lower())
                    entries[key] = item.created_on
        return Assignments(entries)

    async def grant(self, grant: Grant, subscription: str, principal_id: str) -> bool:
        """Assign a role; return False if it was assigned already (409 RoleAssignmentExists)."""
        from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters

        what = f"assign {grant.role_name} on {grant.scope.rpartition('/')[2]}"
        body = RoleAssignmentCreateParameters(
            role_definition_id=f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{grant.role}",
            principal_id=principal_id,
            # Named always: without it a new identity is refused until the directory has replicated it.
            principal_type="ServicePrincipal",
        )
        try:
            await self._clients.authorization(subscription).role_assignments.create(
                grant.scope.lstrip("/"), grant.assignment_name(principal_id), body
            )
        except HttpResponseError as error:
            if code_of(error) == "RoleAssignmentExists":
                return False
            raise from_azure(error, what) from error
        except AzureError as error:
            raise from_azure(error, what) from error
        return True

    async def revoke(self, grant: Grant, principal_id: str) -> None:
        """Take back a role, if it was assigned under the name that Groundswell gives; others' assignments stay."""
        with doing(f"take back {grant.role_name} on {grant.scope.rpartition('/')[2]}"):
            client = self._clients.authorization(grant.scope.split("/")[2])
            await or_none(client.role_assignments.delete(grant.scope.lstrip("/"), grant.assignment_name(principal_id)))

    async def schedule_run(self, registry: RegistryId, body: dict[str, Any]) -> Run:
        """Start a run. Never retried here: after an unclear answer the run may exist."""
        with doing(f"start a run in {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            made = await client.registries.schedule_run(registry.group, registry.name, body, retry_total=0)
        return runs.from_arm(_json(made))

    async def get_run(self, registry: RegistryId, run_id: str) -> Run | None:
        """Return a run, or None if it does not exist."""
        with doing(f"read run {run_id} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            found = await or_none(client.runs.get(registry.group, registry.name, run_id))
            return runs.from_arm(_json(found)) if found is not None else None

    async def runs_since(self, registry: RegistryId, task: str, since: datetime) -> list[Run]:
        """Return the runs of a task that were created since a moment.

        No filter by time: its format is not documented. The latest runs come first
        (https://learn.microsoft.com/cli/azure/acr/task#az-acr-task-list-runs), so reading ends with the first page
        that has an older one.
        """
        found: list[Run] = []
        with doing(f"list the runs of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            pages = client.runs.list(registry.group, registry.name, filter=f"TaskName eq '{task}'").by_page()
            async for page in pages:
                some = [runs.from_arm(_json(item)) async for item in page]
                recent = [run for run in some if run.created is None or run.created >= since]
                found += recent
                if len(recent) < len(some):
                    break
        return found

    async def last_run(self, registry: RegistryId, task: str) -> Run | None:
        """Return the run of a task that was created last, or None if there is none."""
        with doing(f"list the runs of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            async for item in client.runs.list(registry.group, registry.name, filter=f"TaskName eq '{task}'", top=1):
                return runs.from_arm(_json(item))
        return None

    async def log_link(self, registry: RegistryId, run_id: str) -> str:
        """Return the signed link to a run's log, a secret; "" if it has none yet."""
        with doing(f"find the log of run {run_id} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            found = await client.runs.get_log_sas_url(registry.group, registry.name, run_id)
            return str(found.log_link or "")


def _json(model: Any) -> dict[str, Any]:
    """Return an SDK model as ARM's JSON."""
    value: dict[str, Any] = model.as_dict()
    return value

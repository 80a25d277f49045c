"""Each operation that Groundswell does in Azure, its errors turned into permanent and temporary ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import aiohttp
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from shared.adapters.azure_errors import code_of, from_azure, from_link, is_missing
from shared.adapters.clients import Clients
from shared.domain.desired import Grant, UserIdentity
from shared.domain.echo import shown
from shared.domain.errors import NotFound, PermanentError, TemporaryError
from shared.domain.images import BaseImage
from shared.domain.moments import moment
from shared.domain.refusals import LEFT_OUT
from shared.domain.registries import Registry, RegistryId, from_arm
from shared.logs import Log

TERMINAL = frozenset({"Succeeded", "Failed", "Canceled", "Error", "Timeout"})
"""Run statuses that stay (https://learn.microsoft.com/rest/api/containerregistry/runs/get)."""

_LOG_LIMIT = 4 * 1024 * 1024

NONSENSE = (AttributeError, KeyError, TypeError, ValueError)
"""What reading an answer raises that is not Azure's: a proxy's on the way, or half of one."""

_Answer = TypeVar("_Answer")
log = Log("arm")


@dataclass(frozen=True)
class Run:
    """A run of a task.

    Attributes:
        status: ACR's word: Queued, Started, Running, Succeeded, Failed, Canceled, Error or Timeout.
        created, finished: When, or None.
        images: What it pushed, as `registry/repository:tag@digest`.
        error: ACR's `runErrorMessage`, or "".
    """

    id: str
    status: str
    task: str = ""
    created: datetime | None = None
    finished: datetime | None = None
    images: tuple[str, ...] = ()
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether the status will not change any more."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class Assignments:
    """Role assignments.

    Attributes:
        entries: (principal id, scope, role id), all in lower case, those with a condition left out → when it was made.
    """

    entries: Mapping[tuple[str, str, str], datetime | None]

    def holds(self, principal_id: str, grant: Grant) -> bool:
        """Tell whether a principal holds a role on a registry, inherited assignments included."""
        return bool(self._that_give(principal_id, grant))

    def since(self, principal_id: str, grant: Grant) -> datetime | None:
        """Return since when a principal holds a role on a registry, or None if that is not known."""
        made = [self.entries[entry] for entry in self._that_give(principal_id, grant)]
        return min((moment for moment in made if moment), default=None)

    def _that_give(self, principal_id: str, grant: Grant) -> list[tuple[str, str, str]]:
        parts = grant.scope.lower().strip("/").split("/")
        scopes = ["", *("/" + "/".join(parts[: length + 1]) for length in range(len(parts)))]
        wanted = [(principal_id.lower(), scope, grant.role) for scope in scopes]
        return [entry for entry in wanted if entry in self.entries]


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        raise from_azure(error, what) from error
    except NONSENSE as error:
        raise TemporaryError(f"Could not {what}: no usable answer ({type(error).__name__}).") from error


async def _or_none(answer: Awaitable[_Answer]) -> _Answer | None:
    """Return an answer, or None if Azure says of what was asked for, in so many words, that it does not exist.

    A 404 without such a code may be that of a proxy on the way.
    """
    try:
        return await answer
    except ResourceNotFoundError as error:
        if is_missing(error) and code_of(error).upper().endswith(("NOTFOUND", "_UNKNOWN")):
            return None
        raise


class Arm:
    """Operations on Resource Manager and on registries' data planes."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def list_registries(self, subscription: str) -> list[Registry]:
        """Return all registries of a subscription that the app may read."""
        with _doing(f"list the registries of subscription {subscription}"):
            found = []
            async for item in self._clients.registries(subscription).registries.list():
                try:
                    found.append(from_arm(_json(item)))
                except NONSENSE as error:
                    log.warning("registry of a list not read", subscription=subscription, reason=repr(error),
                                registry=getattr(item, "name", None))  # fmt: skip
            return found

    async def subscription_states(self) -> Mapping[str, str]:
        """Return the state of each subscription in which the app has a role, by id in lower case."""
        states: dict[str, str] = {}
        with _doing("list the subscriptions"):
            async for item in self._pages("/subscriptions", {"api-version": "2022-12-01"}, ""):
                states[str(item["subscriptionId"]).lower()] = str(item.get("state") or "")
        return states

    async def get_registry(self, registry: RegistryId) -> Registry | None:
        """Return a registry, or None if it does not exist."""
        with _doing(f"read registry {registry.name}"):
            client = self._clients.registries(registry.subscription)
            found = await _or_none(client.registries.get(registry.group, registry.name))
            return from_arm(_json(found)) if found is not None else None

    async def list_tasks(self, subscription: str) -> list[Mapping[str, Any]]:
        """Return the tasks of all registries of a subscription as Resource Manager lists resources: without content."""
        query = {
            "api-version": "2024-11-01",
            "$filter": "resourceType eq 'Microsoft.ContainerRegistry/registries/tasks'",
        }
        with _doing(f"list the tasks of subscription {subscription}"):
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
        with _doing(f"read task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            found = await _or_none(client.tasks.get(registry.group, registry.name, name))
            return _json(found) if found is not None else None

    async def task_details(self, registry: RegistryId, name: str) -> Mapping[str, Any]:
        """Return a task with its credentials shown. Resource Manager counts this read as a write."""
        with _doing(f"read the credentials of task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            return _json(await client.tasks.get_details(registry.group, registry.name, name))

    async def put_task(self, registry: RegistryId, name: str, body: dict[str, Any]) -> Mapping[str, Any]:
        """Create or replace a task."""
        with _doing(f"write task {name} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            return _json(await client.tasks.create(registry.group, registry.name, name, body))

    async def get_identity(self, subscription: str, group: str, name: str) -> UserIdentity | None:
        """Return a user-assigned identity, or None if it does not exist."""
        with _doing(f"read identity {name}"):
            found = await _or_none(self._clients.identities(subscription).user_assigned_identities.get(group, name))
            return UserIdentity(str(found.id), str(found.client_id), str(found.principal_id)) if found else None

    async def create_identity(
        self, subscription: str, group: str, name: str, location: str, tags: Mapping[str, str]
    ) -> UserIdentity:
        """Create a user-assigned identity.

        Raises:
            NotFound: The resource group does not exist.
        """
        from azure.mgmt.msi.v2024_11_30.models import Identity

        with _doing(f"create identity {name} in resource group {group}"):
            made = await self._clients.identities(subscription).user_assigned_identities.create_or_update(
                group, name, Identity(location=location, tags=dict(tags))
            )
        return UserIdentity(str(made.id), str(made.client_id), str(made.principal_id))

    async def assignments(self, scope: str, principal_id: str = "") -> Assignments:
        """Return the role assignments at, above and below a scope: all, or those of one principal."""
        entries: dict[tuple[str, str, str], datetime | None] = {}
        subscription = scope.split("/")[2]
        with _doing(f"read the role assignments on {scope.rpartition('/')[2]}"):
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

        doing = f"assign {grant.role_name} on {grant.scope.rpartition('/')[2]}"
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
            raise from_azure(error, doing) from error
        except AzureError as error:
            raise from_azure(error, doing) from error
        return True

    async def schedule_run(self, registry: RegistryId, body: dict[str, Any]) -> Run:
        """Start a run. Never retried here: after an unclear answer the run may exist."""
        with _doing(f"start a run in {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            made = await client.registries.schedule_run(registry.group, registry.name, body, retry_total=0)
        return _run(_json(made))

    async def get_run(self, registry: RegistryId, run_id: str) -> Run | None:
        """Return a run, or None if it does not exist."""
        with _doing(f"read run {run_id} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            found = await _or_none(client.runs.get(registry.group, registry.name, run_id))
            return _run(_json(found)) if found is not None else None

    async def runs_since(self, registry: RegistryId, task: str, since: datetime) -> list[Run]:
        """Return the runs of a task that were created since a moment.

        No filter by time: nothing tells how Azure wants it written. The latest runs come first
        (https://learn.microsoft.com/cli/azure/acr/task#az-acr-task-list-runs), so reading ends with the first page
        that has an older one.
        """
        found: list[Run] = []
        with _doing(f"list the runs of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            pages = client.runs.list(registry.group, registry.name, filter=f"TaskName eq '{task}'").by_page()
            async for page in pages:
                runs = [_run(_json(item)) async for item in page]
                recent = [run for run in runs if run.created is None or run.created >= since]
                found += recent
                if len(recent) < len(runs):
                    break
        return found

    async def log(self, registry: RegistryId, run_id: str) -> str:
        """Return the log of a run so far; of a long one the last 4 MiB, below a line that says so.

        Raises:
            NotFound: The run does not exist or has no log yet.
        """
        with _doing(f"find the log of run {run_id} of {registry.name}"):
            client = self._clients.tasks(registry.subscription)
            link = (await client.runs.get_log_sas_url(registry.group, registry.name, run_id)).log_link
        if not link:
            raise NotFound(f"Run {run_id} of {registry.name} has no log yet.")
        try:
            async with aiohttp.ClientSession(trust_env=True) as session, session.get(link) as response:
                if response.status == 404:
                    raise NotFound(f"Run {run_id} of {registry.name} has no log yet.")
                if response.status != 200:
                    code = response.headers.get("x-ms-error-code", "")
                    raise from_link(response.status, code, f"read the log of run {run_id}")
                text, missing = await _end_of(response.content, _LOG_LIMIT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The link is a secret: neither it nor an error text that quotes it may reach a log.
            raise TemporaryError(f"Could not read the log of run {run_id}: {type(error).__name__}.") from None
        if missing:
            whole = f"az acr task logs --registry {registry.name} --run-id {run_id}"
            return f"{LEFT_OUT}{missing} bytes are left out; for the whole log: {whole}]\n{text}"
        return text

    async def digest_of(self, registry: Registry, image: BaseImage) -> str | None:
        """Return what a tag points to now, or None if the tag does not exist."""
        with _doing(f"look up {image.name} in {registry.name}"):
            async with self._clients.images(registry.login_server) as client:
                found = await _or_none(client.get_tag_properties(image.repository, image.tag))
        if found is None:
            return None
        if not found.digest:
            raise PermanentError(f"{registry.name} does not say what {image.name} points to.")
        return str(found.digest)


async def _end_of(body: aiohttp.StreamReader, limit: int) -> tuple[str, int]:
    """Read a body through; return its text, of a longer one whole lines at its end, and how many bytes are left out.

    `body.read(limit)` returns no more than what has arrived (https://docs.aiohttp.org/en/stable/streams.html).
    """
    end, missing = bytearray(), 0
    async for piece in body.iter_any():
        end += piece
        missing += max(0, len(end) - limit)
        del end[:-limit]
    if missing and (broken := end.find(b"\n") + 1) < len(end):
        missing += broken
        del end[:broken]
    return end.decode(errors="replace").replace("\r\n", "\n"), missing


def _json(model: Any) -> dict[str, Any]:
    """Return an SDK model as ARM's JSON."""
    value: dict[str, Any] = model.as_dict()
    return value


def _run(resource: Mapping[str, Any]) -> Run:
    properties: Mapping[str, Any] = resource.get("properties") or {}
    return Run(
        id=str(properties.get("runId") or resource["name"]),
        status=str(properties.get("status") or "Queued"),
        task=str(properties.get("task") or ""),
        created=moment(properties.get("createTime")),
        finished=moment(properties.get("finishTime")),
        images=tuple(
            f"{i.get('registry')}/{i.get('repository')}:{i.get('tag')}@{i.get('digest')}"
            for i in properties.get("outputImages") or []
            if isinstance(i, Mapping)
        ),
        error=shown(properties.get("runErrorMessage") or "", 1000),
    )

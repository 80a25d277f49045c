"""A company in the local Azure: base and team registries, and the app with exactly the roles that infra/ gives it."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline import PipelineRequest
from azure.storage.queue.aio import QueueServiceClient

from dev.localazure.azure import Azure
from dev.localazure.journal import Fault
from dev.localazure.registry.images import build_image
from dev.localazure.state import App
from dev.sandbox import infra
from dev.testing.azure import SUBSCRIPTION, Client, Reply
from dev.testing.functions_host import eventually
from shared import settings
from shared.adapters.clients import Clients
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from shared.adapters.walk_messages import WALKS
from shared.app import App as Groundswell
from shared.app import build, utc_now
from shared.domain.moments import Clock
from shared.domain.targets import Target

ROOT = Path(__file__).resolve().parents[2]
GROUP = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
BASE = "mybaseregistry"
TEAM = "myregistry"
IMAGE = "baseimages/node:15-alpine"
OPTED_IN = {"base-image-rebuilds": "enabled"}
TASKS = "2025-03-01-preview"
ROLES = "2022-04-01"
AUTHORIZATION = "/providers/Microsoft.Authorization"

POLICY = """\
baseRegistry: mybaseregistry
identity: {identity}
tasks:
  - name: helloworldtask
    file: tasks/helloworldtask.yaml
    rebuildOn: [baseimages/node:15-alpine, "baseimages/python:3.*"]
    registries: {{tags: {{base-image-rebuilds: enabled}}}}
    values:
      contextUrl: https://github.com/Azure-Samples/acr-build-helloworld-node.git#main
      image: hello-world
"""
Spoil = Callable[[PipelineRequest[Any]], None]
USER_ASSIGNED = "{type: UserAssigned, name: myACRTasksId, resourceGroup: myResourceGroup}"
SYSTEM_ASSIGNED = "{type: SystemAssigned}"


def registry_id(name: str, group: str = GROUP) -> str:
    """Return a registry's ARM id."""
    return f"{group}/providers/Microsoft.ContainerRegistry/registries/{name}"


def task_id(registry: str = TEAM, task: str = "helloworldtask") -> str:
    """Return a task's ARM id."""
    return f"{registry_id(registry)}/tasks/{task}"


@dataclass
class World:
    """The company, with what tests do to it and ask of it."""

    azure: Azure
    owner: Client
    app: App
    folder: Path
    storage: str
    roles: dict[str, str]
    table: str = field(default_factory=lambda: f"ledger{secrets.token_hex(8)}")
    groundswell: Groundswell = field(init=False)
    delays: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Connect the app."""
        self.write_policy()
        self.groundswell = self.build({})

    def build(self, changes: Mapping[str, str], *, clock: Clock = utc_now, spoil: Spoil | None = None) -> Groundswell:
        """Build the app of a worker.

        Args:
            changes: Settings that differ.
            spoil: Sees what is asked of the queues before it is sent, and may change it; then nothing is asked twice.
        """

        def hook(request: PipelineRequest[Any]) -> None:
            self._hurry(request)
            if spoil:
                spoil(request)

        retries: dict[str, Any] = {"retry_total": 0} if spoil else {}
        queues = QueueServiceClient.from_connection_string(self.storage, raw_request_hook=hook, **retries)
        values = settings.load({**self.settings, **changes})
        return build(values, clock=clock, clients=partial(Clients, queues=queues))

    def _hurry(self, request: PipelineRequest[Any]) -> None:
        """Make a delayed message visible at once and note its delay: Azurite knows only real time."""
        http, url = request.http_request, urlsplit(request.http_request.url)
        query = dict(parse_qsl(url.query))
        if http.method == "POST" and url.path.endswith("/messages") and query.get("visibilitytimeout", "0") != "0":
            self.delays.append((url.path.split("/")[-2], int(query["visibilitytimeout"])))
            http.url = urlunsplit(url._replace(query=urlencode({**query, "visibilitytimeout": "0"})))

    @property
    def settings(self) -> dict[str, str]:
        """The app's settings: those of infra/app-settings.json for a local deployment."""
        computed = {
            "teamSubscriptionIds": SUBSCRIPTION.rpartition("/")[2],
            "clientId": "",  # the app signs in with its system-assigned identity; the demo's has a user-assigned one
            "storageConnectionString": self.storage,
        }
        return infra.app_settings(
            computed,
            GROUNDSWELL_POLICY=str(self.folder / "rebuilds.yaml"),
            GROUNDSWELL_RUN_CHECK_SECONDS="1",
            GROUNDSWELL_FLEET_CACHE_SECONDS="0",
            GROUNDSWELL_LEDGER_TABLE=self.table,
        )

    async def reconnect(self, **changes: str) -> None:
        """Start the app afresh, with other settings."""
        await self.groundswell.close()
        self.groundswell = self.build(changes)

    async def spoil_queues(self, spoil: Spoil) -> None:
        """Start the app afresh, with `spoil` on its way to the queues; see `build`."""
        await self.groundswell.close()
        self.groundswell = self.build({}, spoil=spoil)

    @property
    def policy_text(self) -> str:
        """The policy's text, with {identity} to fill in."""
        return POLICY

    def write_policy(self, identity: str = USER_ASSIGNED, text: str = POLICY) -> None:
        """Write the policy and its task file."""
        (self.folder / "tasks").mkdir(exist_ok=True)
        shipped = ROOT / "policy" / "tasks" / "helloworldtask.yaml"
        (self.folder / "tasks" / "helloworldtask.yaml").write_text(shipped.read_text())
        (self.folder / "rebuilds.yaml").write_text(text.format(identity=identity))

    async def arm(self, method: str, path: str, body: Any = None, *, api_version: str = "2025-11-01") -> Reply:
        """Call Resource Manager as Owner and demand success."""
        reply = await self.owner.arm(method, path, body, api_version=api_version)
        assert reply.status < 300, f"{method} {path}: {reply.status} {reply.text}"
        return reply

    async def create_registry(self, name: str, *, group: str = GROUP, **options: Any) -> str:
        """Create a registry; options go into its body (`tags`, `properties`, …). Return its id."""
        body = {"location": "eastus", "sku": {"name": "Standard"}, **options}
        await self.arm("PUT", registry_id(name, group), body, api_version="2026-09-01-preview")
        return registry_id(name, group)

    async def push(self, text: str = "one", *, image: str = IMAGE, registry: str = BASE) -> str:
        """Push an image whose content depends on `text`, as a pipeline with all rights would; return its digest."""
        repository, _, tag = image.rpartition(":")
        found = self.azure.registries.find(await self.login_server(registry))
        assert found
        built = build_image(files={"etc/base": text.encode()})
        for blob in built.blobs.values():
            self.azure.registries.put_blob(found, blob)
        manifest = self.azure.registries.put_manifest(found, repository, tag, built.media_type, built.manifest)
        return manifest.digest

    async def login_server(self, registry: str) -> str:
        """Return a registry's login server, as ARM tells it."""
        return str((await self.arm("GET", registry_id(registry))).body["properties"]["loginServer"])

    async def target(self, team: str = TEAM) -> Target:
        """Return the policy's first task of a registry, as the app has to bring it about."""
        policy, registry = self.groundswell.policy(), await self.groundswell.fleet.find(team)
        assert registry
        return Target(policy, policy.tasks[0], registry, await self.groundswell.fleet.base(policy))

    async def task(self, registry: str = TEAM, *, details: bool = False) -> dict[str, Any]:
        """Return the task of a registry."""
        path, method = (f"{task_id(registry)}/listDetails", "POST") if details else (task_id(registry), "GET")
        body: dict[str, Any] = (await self.arm(method, path, api_version=TASKS)).body
        return body

    async def assignments(self, scope: str, principal: str) -> list[dict[str, Any]]:
        """Return the role assignments of a principal on a scope."""
        path = f"{scope}{AUTHORIZATION}/roleAssignments"
        reply = await self.owner.arm("GET", path, api_version=ROLES, **{"$filter": f"principalId eq '{principal}'"})
        return [item["properties"] for item in reply.body["value"]]

    async def clear_queues(self) -> None:
        """Empty the app's queues, which all tests share."""
        queues = (FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, WALKS)
        for queue in (*queues, *(f"{name}-poison" for name in queues)):
            with contextlib.suppress(ResourceNotFoundError):
                await self.groundswell.clients.queues().get_queue_client(queue).clear_messages()

    async def age_claims(self, age: timedelta) -> None:
        """Let all claims of the team registry look older than they are, as if that much time had passed."""
        table = self.groundswell.clients.tables().get_table_client(self.table)
        async for row in table.query_entities("RowKey ge 'turn|' and RowKey lt 'turn}'"):
            for name in ("since", "until"):
                row[name] -= age
            await table.update_entity(row)

    async def take(self, queue: str) -> list[dict[str, Any]]:
        """Take all messages out of a queue."""
        client, taken = self.groundswell.clients.queues().get_queue_client(queue), []
        with contextlib.suppress(ResourceNotFoundError):
            async for message in client.receive_messages(max_messages=32):
                taken.append(json.loads(base64.b64decode(message.content)))
                await client.delete_message(message)
        return taken

    async def send(self, queue: str, body: bytes) -> None:
        """Put a message into a queue."""
        client = self.groundswell.clients.queues().get_queue_client(queue)
        with contextlib.suppress(ResourceExistsError):
            await client.create_queue()
        await client.send_message(base64.b64encode(body).decode())

    async def runs_anywhere(self) -> list[str]:
        """Return the ids of all runs of all registries."""
        kind = "Microsoft.ContainerRegistry/registries/runs"
        return [resource.id for resource in self.azure.state.of_type(kind)]

    @staticmethod
    def encode(message: dict[str, Any]) -> bytes:
        """Return a message's body."""
        return json.dumps(message).encode()

    async def is_gone(self, resource_id: str) -> bool:
        """Tell whether a resource does not exist any more."""
        return (await self.owner.arm("GET", resource_id)).status == 404

    async def waiting(self, queue: str) -> int:
        """Return how many messages a queue holds, the delayed ones included."""
        with contextlib.suppress(ResourceNotFoundError):
            found = await self.groundswell.clients.queues().get_queue_client(queue).get_queue_properties()
            return int(found.approximate_message_count or 0)
        return 0

    async def run(self, run_id: str, registry: str = TEAM) -> dict[str, Any]:
        """Wait until a run has ended and return its properties."""

        async def ended() -> dict[str, Any]:
            path = f"{registry_id(registry)}/runs/{run_id}"
            properties: dict[str, Any] = (await self.arm("GET", path, api_version=TASKS)).body["properties"]
            return properties if "finishTime" in properties else {}

        return await eventually(ended)

    async def runs(self, registry: str = TEAM) -> list[dict[str, Any]]:
        """Return the runs of a registry, newest first."""
        reply = await self.arm("GET", f"{registry_id(registry)}/runs", api_version=TASKS)
        return [run["properties"] for run in reply.body["value"]]

    async def ledger(self, prefix: str, registry: str = TEAM) -> list[dict[str, Any]]:
        """Return the ledger's rows of a registry whose key starts so."""
        table = self.groundswell.clients.tables().get_table_client(self.table)
        rows: list[dict[str, Any]] = []
        with contextlib.suppress(ResourceNotFoundError):
            rows.extend([dict(row) async for row in table.query_entities(f"PartitionKey eq '{registry.lower()}'")])
        return [row for row in rows if row["RowKey"].startswith(prefix)]

    def fault(self, **fault: Any) -> None:
        """Disturb the app's next matching request."""
        self.azure.front.faults.append(Fault(caller=self.app.name, **fault))

    def app_calls(self, since: int = 0, **match: str) -> list[str]:
        """Return what the app asked of Azure since a journal number, e.g. `PUT Microsoft.…/tasks/write`."""
        entries = self.azure.journal.since(since, caller=self.app.name, host="management.azure.com", **match)
        return [f"{entry['method']} {entry['operation']}" for entry in entries]

    def app_writes(self, since: int = 0) -> list[str]:
        """Return the app's calls that change something (a run is no change, and listDetails only reads)."""
        return [
            call
            for call in self.app_calls(since)
            if not call.startswith("GET") and not call.lower().endswith(("listdetails/action", "schedulerun/action"))
        ]


async def deploy(owner: Client, app: App, base: str = registry_id(BASE)) -> dict[str, str]:
    """Give the app the roles of infra/app-roles.json; return the assignments' ids by the roles' names there."""
    puts = infra.role_assignments(infra.Place(GROUP, base), app.system_assigned or "")
    for put in puts.values():
        reply = await owner.arm("PUT", put.path, put.body, api_version=ROLES)
        assert reply.status == 201 or reply.body["error"]["code"] == "RoleAssignmentExists", reply.text
    return {name: put.path for name, put in puts.items()}

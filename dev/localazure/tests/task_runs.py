"""Sets up the scenario for the tests of task runs: a base registry, a team registry and a task between them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from dev.localazure.azure import Azure
from dev.localazure.registry.images import Image, build_image
from dev.localazure.state import Resource
from dev.testing.azure import SUBSCRIPTION, Client, Reply

GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
TASKS_API = "2025-03-01-preview"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ACR_PUSH = "8311e382-0749-4cb8-b61a-304f252e45ec"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
REPOSITORY_WRITER = "2a1e307c-b015-4ebd-883e-5b7698a07328"

BASE, TEAM = "mybaseregistry.azurecr.io", "myregistry.azurecr.io"
CONTEXT = "https://github.com/Azure-Samples/acr-build-helloworld-node.git#main"
HELLO_WORLD = f"""\
version: v1.1.0
# Replace mybaseregistry with the registry that holds the base image
steps:
  - build: -t $Registry/hello-world:$ID {CONTEXT} -f Dockerfile-app --build-arg REGISTRY_NAME={BASE}
  - push: ["$Registry/hello-world:$ID"]
"""


def encoded(text: str, **values: str) -> dict[str, Any]:
    """Return the task step of a task file."""
    pairs = [{"name": name, "value": value} for name, value in values.items()]
    return {
        "type": "EncodedTask", "encodedTaskContent": base64.b64encode(text.encode()).decode(), "values": pairs,
    }  # fmt: skip


@dataclass
class Ended:
    """A run that has ended."""

    run: dict[str, Any]
    log: str
    blob: Reply

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run["runId"])

    @property
    def status(self) -> str:
        """The run's status."""
        return str(self.run["status"])

    @property
    def lines(self) -> list[str]:
        """The log's lines, without time stamps."""
        return [line[20:] if line[:2] == "20" and line[4] == "/" else line for line in self.log.split("\r\n")]


class Scenario:
    """A base registry with `baseimages/node:15-alpine`, a team registry, and what one does with them over ARM."""

    def __init__(self, azure: Azure, owner: Client) -> None:
        """Act as the owner."""
        self.azure, self.owner = azure, owner
        azure.agent.pace = 0.0

    async def set_up(self, *, base_mode: str | None = None, team_mode: str | None = None) -> None:
        """Create the two registries and push the base image."""
        await self.owner.arm("PUT", GROUP, {"location": "eastus"})
        await self.create_registry("mybaseregistry", base_mode)
        await self.create_registry("myregistry", team_mode)
        self.push_base(base_image())

    async def create_registry(self, name: str, mode: str | None = None) -> None:
        """Create a registry."""
        properties = {"roleAssignmentMode": mode} if mode else {}
        body = {"location": "eastus", "sku": {"name": "Premium"}, "properties": properties}
        reply = await self.owner.arm("PUT", registry_id(name), body)
        assert reply.status in (200, 201), reply.text

    def registry(self, name: str) -> Resource:
        """Return a registry's resource."""
        found = self.azure.state.get(registry_id(name))
        assert found
        return found

    def push_base(self, image: Image, reference: str = "15-alpine") -> None:
        """Push the base image past the wire."""
        self.azure.registries.push(self.registry("mybaseregistry"), "baseimages/node", reference, image)

    def tags(self, repository: str = "hello-world", registry: str = "myregistry") -> dict[str, str]:
        """Return the tags of a repository with their digests."""
        found = self.azure.registries.content(self.registry(registry)).repositories.get(repository)
        return {tag.name: tag.digest for tag in found.tags.values()} if found else {}

    def image(self, tag: str, repository: str = "hello-world") -> Image:
        """Return an image of the team registry."""
        return self.azure.registries.load(self.registry("myregistry"), repository, tag)

    async def create_task(
        self, step: dict[str, Any] | None = None, *, credentials: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Create `helloworldtask`, by default with a system identity that is its credential; return its principal.

        Args:
            step: The task's step (default: the scenario's).
            credentials: In place of the credential for the base registry.
            more: Properties (`timeout=…`), or `identity`.
        """
        identity = more.pop("identity", {"type": "SystemAssigned"})
        default = {"customRegistries": {BASE: {"identity": "[system]"}}}
        body = {
            "location": "eastus", "identity": identity,
            "properties": {
                "platform": {"os": "Linux", "architecture": "amd64"}, "step": step or encoded(HELLO_WORLD),
                "credentials": default if credentials is None else credentials, **more,
            },
        }  # fmt: skip
        reply = await self.owner.arm("PUT", TASK, body, api_version=TASKS_API)
        assert reply.status == 200, reply.text
        return str((reply.body.get("identity") or {}).get("principalId"))

    async def create_granted_task(self, step: dict[str, Any] | None = None, **more: Any) -> str:
        """Create the task, and let its identity pull from the base registry."""
        principal = await self.create_task(step, **more)
        self.azure.grant(principal, ACR_PULL, registry_id("mybaseregistry"))
        return principal

    async def schedule(self, request: dict[str, Any] | None = None, **override: Any) -> Reply:
        """Schedule a run of the task, or any other run request."""
        task = {"type": "TaskRunRequest", "taskId": TASK, "overrideTaskStepProperties": override}
        path = f"{registry_id('myregistry')}/scheduleRun"
        return await self.owner.arm("POST", path, request or task, api_version=TASKS_API)

    async def get(self, run_id: str) -> dict[str, Any]:
        """Return a run's properties."""
        reply = await self.owner.arm("GET", run_path(run_id), api_version=TASKS_API)
        assert reply.status == 200, reply.text
        return dict(reply.body["properties"])

    async def ended(self, run_id: str) -> Ended:
        """Wait until nothing is under way and return a run with its log."""
        assert (await self.owner.control("GET", "/idle?timeout=20")).body["idle"]
        link = await self.owner.arm("POST", run_path(run_id) + "/listLogSasUrl", api_version=TASKS_API)
        log = await self.owner.request("GET", link.body["logLink"])
        return Ended(await self.get(run_id), log.text, log)

    async def run(self, request: dict[str, Any] | None = None, **override: Any) -> Ended:
        """Schedule a run and wait for its end."""
        reply = await self.schedule(request, **override)
        assert reply.status == 200, reply.text
        return await self.ended(reply.body["name"])


TASK = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/myregistry/tasks/helloworldtask"


def registry_id(name: str) -> str:
    """Return a registry's id."""
    return f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/{name}"


def run_path(run_id: str) -> str:
    """Return a run's id in the team registry."""
    return f"{registry_id('myregistry')}/runs/{run_id}"


def base_image(version: str = "15.14.0") -> Image:
    """Return a base image."""
    return build_image(
        {"usr/local/bin/node": b"node " + version.encode()}, config={"Env": [f"NODE_VERSION={version}"]}, docker=True
    )

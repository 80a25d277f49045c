"""What the demo does in Azure as its owner: Resource Manager, the registries' data plane, localazure's controls."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import aiohttp

from dev.localazure.registry.client import RegistryClient
from dev.localazure.registry.images import Image, build_image
from dev.localazure.state import DEFAULT_SUBSCRIPTION

SUBSCRIPTION = f"/subscriptions/{DEFAULT_SUBSCRIPTION}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/myResourceGroup"
BASE = "mybaseregistry"
TEAM = "myregistry"
OTHER = "otherregistry"
TASK = "helloworldtask"
REPOSITORY = "baseimages/node"
TAG = "15-alpine"
BASE_IMAGE = f"{REPOSITORY}:{TAG}"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"

# Which api-version each provider is asked with.
_VERSIONS = {
    "microsoft.authorization": "2022-04-01", "microsoft.eventgrid": "2022-06-15",
    "microsoft.containerregistry": "2026-09-01-preview", "microsoft.managedidentity": "2024-11-30",
    "microsoft.resources": "2024-11-01", "": "2024-11-01",
}  # fmt: skip
_TASKS_VERSION = "2025-03-01-preview"


class Refused(Exception):
    """Azure answered with an error.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def registry_id(name: str, group: str = GROUP) -> str:
    """Return a registry's ARM id."""
    return f"{group}/providers/Microsoft.ContainerRegistry/registries/{name}"


def _id_of(registry: str) -> str:
    return registry if registry.startswith("/") else registry_id(registry)


def base_image(text: str) -> Image:
    """Make a base image whose content, and so its digest, follows from a text."""
    release = f"NAME=alpine\nPATCH={text}\n".encode()
    return build_image({"etc/os-release": release}, config={"Env": ["NODE_VERSION=15"], "Cmd": ["node"]})


class Cloud:
    """The owner's access to a running localazure, over HTTP; use as an async context manager.

    Attributes:
        environment: What localazure printed for its clients.
        grant_delay: Seconds that a role assignment takes to work there.
    """

    def __init__(self, environment: Mapping[str, str], grant_delay: float) -> None:
        self.environment, self.grant_delay = dict(environment), grant_delay
        trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        self._direct = aiohttp.ClientSession()
        self.session = aiohttp.ClientSession(
            proxy=environment["HTTPS_PROXY"], connector=aiohttp.TCPConnector(ssl=trust)
        )

    async def __aenter__(self) -> Cloud:
        """Return itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        """Close the connections."""
        await self.session.close()
        await self._direct.close()

    async def local(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], Any]:
        """Call something on this machine; return status, headers, and JSON or text."""
        # Without a body, its type would say that one was lost on the way.
        skipped = ("Content-Type",) if body is None else ()
        async with self._direct.request(method, url, json=body, headers=headers, skip_auto_headers=skipped) as response:
            is_json = "json" in response.headers.get("Content-Type", "")
            return response.status, response.headers, await (response.json() if is_json else response.text())

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call localazure's controls, e.g. `("GET", "/clock")`.

        Raises:
            Refused: It did not like that.
        """
        status, _, answer = await self.local(method, f"{self.environment['LOCALAZURE_CONTROL']}/control{path}", body)
        if status >= 400:
            raise Refused(status, f"localazure answered {status} to {method} {path}: {str(answer).strip()}")
        return answer

    async def token(self, resource: str = "https://management.azure.com") -> str:
        """Get a token for a service from the managed-identity endpoint."""
        query = urlencode({"api-version": "2019-08-01", "resource": resource})
        headers = {"X-IDENTITY-HEADER": self.environment["IDENTITY_HEADER"]}
        _, _, answer = await self.local("GET", f"{self.environment['IDENTITY_ENDPOINT']}?{query}", None, headers)
        return str(answer["access_token"])

    async def arm(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Call Resource Manager; `path` is a resource id.

        Raises:
            Refused: It answered with an error, whose code and message are the text.
        """
        headers = {"Authorization": f"Bearer {await self.token()}"}
        parameters = {"api-version": _version(path), **query}
        url = f"https://management.azure.com{path}"
        async with self.session.request(method, url, params=parameters, json=body, headers=headers) as response:
            answer = await response.json() if response.content_type == "application/json" else {}
            if response.status >= 400:
                error = answer.get("error", {})
                raise Refused(response.status, f"{response.status} {error.get('code')}: {error.get('message')}")
        return answer if isinstance(answer, dict) else {}

    async def effective(self, written: str) -> bool:
        """Tell whether role assignments that were written, or removed, at a moment (ISO 8601) have taken effect."""
        moment = datetime.fromisoformat(written.replace("Z", "+00:00"))
        return datetime.fromisoformat(await self.now()) > moment + timedelta(seconds=self.grant_delay)

    async def set_grant_delay(self, seconds: float) -> None:
        """Change how long role assignments take to work from now on."""
        await self.control("PATCH", "/settings", {"rbac": {"delay": seconds}})
        self.grant_delay = seconds

    async def now(self) -> str:
        """Return Azure's present time (ISO 8601)."""
        return str((await self.control("GET", "/clock"))["now"])

    async def registries(self) -> list[str]:
        """Return the ARM ids of all registries."""
        found = await self.arm("GET", f"{SUBSCRIPTION}/providers/Microsoft.ContainerRegistry/registries")
        return [str(registry["id"]) for registry in found["value"]]

    async def runs(self, registry: str = TEAM) -> list[dict[str, Any]]:
        """Return the properties of the runs of a registry, by its name or ARM id, oldest first."""
        found = await self.arm("GET", f"{_id_of(registry)}/runs")
        return [run["properties"] for run in reversed(found["value"])]

    async def run_log(self, run_id: str, registry: str = TEAM) -> str:
        """Return the log of a run, as ACR keeps it."""
        answer = await self.arm("POST", f"{_id_of(registry)}/runs/{run_id}/listLogSasUrl")
        async with self.session.get(answer["logLink"]) as response:
            return (await response.text()).replace("\r\n", "\n")

    async def grants(self) -> list[dict[str, Any]]:
        """Return the role assignments on the base registry that let a task's identity pull."""
        scope = registry_id(BASE)
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
        found = (await self.arm("GET", path, **{"$filter": "atScope()"}))["value"]
        app = {item["principalId"] for item in await self.control("GET", "/apps")}
        return [
            item for item in found
            if item["properties"]["roleDefinitionId"].endswith(ACR_PULL)
            and item["properties"]["scope"].lower() == scope.lower()
            and item["properties"]["principalId"] not in app
        ]  # fmt: skip

    async def docker(self, registry: str) -> RegistryClient:
        """Return a client of a registry's data plane that signs in as the owner does."""
        login_server = (await self.arm("GET", registry_id(registry)))["properties"]["loginServer"]
        return RegistryClient(self.session, login_server, lambda: self.token("https://containerregistry.azure.net"))

    async def push_base_image(self, text: str) -> str:
        """Push a base image as its owner's pipeline would, and return its digest."""
        return await (await self.docker(BASE)).push(REPOSITORY, TAG, base_image(text))

    async def tags(self, repository: str = "hello-world", registry: str = TEAM) -> list[str]:
        """Return the tags of a repository, in order; none if there is no such repository."""
        answer = await (await self.docker(registry)).request("GET", f"/v2/{repository}/tags/list")
        if answer.status == 404:
            return []
        return sorted(json.loads(answer.body)["tags"] or [], key=lambda tag: (len(tag), tag))

    async def layers(self, repository: str, reference: str, registry: str) -> list[str]:
        """Return the digests of an image's layers."""
        answer = await (await self.docker(registry)).request("GET", f"/v2/{repository}/manifests/{reference}")
        return [layer["digest"] for layer in json.loads(answer.body).get("layers", [])]


def _version(path: str) -> str:
    lower = path.lower()
    if "/tasks/" in lower or "/runs" in lower or "/schedulerun" in lower or "/listdetails" in lower:
        return _TASKS_VERSION
    provider = lower.rpartition("/providers/")[2].partition("/")[0] if "/providers/" in lower else ""
    return _VERSIONS[provider]

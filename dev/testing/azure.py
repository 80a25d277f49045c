"""What every test shares.

HTTP libraries read the CA bundle once, when they are imported, so the throw-away CA must exist before any of them:
that is why it is made here, at the top of the first file that pytest imports.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dev.localazure.tls import Authority

_FOLDER = tempfile.TemporaryDirectory(prefix="groundswell-tests-")
CA_BUNDLE = Path(_FOLDER.name) / "ca.pem"
AUTHORITY = Authority()
AUTHORITY.write_bundle(CA_BUNDLE)
for _name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ[_name] = str(CA_BUNDLE)
for _name in ("SSL_CERT_DIR", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
    os.environ.pop(_name, None)

import json  # noqa: E402
from collections.abc import AsyncIterator, Mapping  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from typing import Any  # noqa: E402

import aiohttp  # noqa: E402
import pytest  # noqa: E402

from dev.localazure.azure import Azure  # noqa: E402
from dev.localazure.state import DEFAULT_SUBSCRIPTION, App  # noqa: E402

SUBSCRIPTION = f"/subscriptions/{DEFAULT_SUBSCRIPTION}"


@dataclass
class Reply:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Parse JSON where the answer says it is JSON."""
        if self.text and "json" in self.headers.get("Content-Type", ""):
            self.body = json.loads(self.text)


class Client:
    """A plain HTTP client that signs in as one app of the local Azure, as its managed identity."""

    def __init__(self, azure: Azure, app: App, session: aiohttp.ClientSession) -> None:
        """Use `azure` as `app`."""
        self.azure, self.app, self._session = azure, app, session

    async def token(self, resource: str = "https://management.azure.com") -> str:
        """Get a token from the managed-identity endpoint."""
        url = f"http://127.0.0.1:{self.azure.control.port}/msi/token"
        query = {"api-version": "2019-08-01", "resource": resource}
        async with self._session.get(url, params=query, headers={"X-IDENTITY-HEADER": self.app.header}) as response:
            response.raise_for_status()
            return str((await response.json())["access_token"])

    async def request(self, method: str, url: str, **options: Any) -> Reply:
        """Send any request through the proxy."""
        async with self._session.request(method, url, **options) as response:
            return Reply(response.status, response.headers, await response.text())

    async def arm(
        self, method: str, path: str, body: Any = None, *, api_version: str = "2025-11-01", **query: str
    ) -> Reply:
        """Call Resource Manager; `path` is a resource id or starts with `/`."""
        return await self.request(
            method,
            f"https://management.azure.com{path}",
            params={"api-version": api_version, **query},
            json=body,
            headers={"Authorization": f"Bearer {await self.token()}"},
        )

    async def control(self, method: str, path: str, body: Any = None) -> Reply:
        """Call the local control endpoint, e.g. `("POST", "/clock", {"advance": 60})`."""
        return await self.request(method, f"http://127.0.0.1:{self.azure.control.port}/control{path}", json=body)


@pytest.fixture
async def azure(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Azure]:
    """A running local Azure of the test's own; the environment makes SDKs talk to it as its owner."""
    azure = Azure(authority=AUTHORITY)
    await azure.start()
    for name, value in azure.environment().items():
        if name not in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, value)
    yield azure
    await azure.stop()


@pytest.fixture
async def session(azure: Azure) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that goes through the local Azure's proxy."""
    async with aiohttp.ClientSession(trust_env=True) as session:
        yield session


@pytest.fixture
async def owner(azure: Azure, session: aiohttp.ClientSession) -> Client:
    """The Owner of everything."""
    return Client(azure, azure.owner, session)

"""A small client that pushes and pulls as docker does, for demos and tests: challenge, token, blobs, manifest."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import aiohttp

from dev.localazure.registry.images import Image
from dev.localazure.registry.manifests import DOCKER_LIST, DOCKER_MANIFEST, INDEXES, OCI_INDEX, OCI_MANIFEST, parse

ACCEPT = ", ".join((DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX))


@dataclass
class RegistryAnswer:
    """An answer of the registry, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RegistryClient:
    """Speaks to one registry as one Entra principal (or as nobody, without `entra_token`)."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        login_server: str,
        entra_token: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Use a session that goes through localazure's proxy (`trust_env=True`)."""
        self._session, self.login_server, self._entra_token = session, login_server, entra_token
        self._tokens: dict[str, str] = {}

    async def request(self, method: str, path: str, **options: Any) -> RegistryAnswer:
        """Send a request; on a challenge get the token that it asks for and try once more."""
        headers = {"Accept": ACCEPT, **options.pop("headers", {})}
        url = urljoin(f"https://{self.login_server}", path)
        key = f"{method} {path.partition('?')[0]}"
        answer = await self._send(method, url, {**headers, **self._bearer(key)}, options)
        if answer.status == 401 and "WWW-Authenticate" in answer.headers:
            scope = re.search(r'scope="([^"]*)"', answer.headers["WWW-Authenticate"])
            token = await self.access_token(*(scope[1].split() if scope else ()))
            if token is not None:
                self._tokens[key] = token
                answer = await self._send(method, url, {**headers, **self._bearer(key)}, options)
        return answer

    def _bearer(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[key]}"} if key in self._tokens else {}

    async def _send(self, method: str, url: str, headers: Mapping[str, str], options: dict[str, Any]) -> RegistryAnswer:
        async with self._session.request(method, url, headers=headers, **options) as response:
            return RegistryAnswer(response.status, response.headers, await response.read())

    async def refresh_token(self) -> str:
        """Exchange the Entra token for a refresh token of the registry.

        Raises:
            aiohttp.ClientResponseError: The registry refuses.
        """
        if self._entra_token is None:
            raise RuntimeError("nobody has no refresh token")
        form = {
            "grant_type": "access_token", "service": self.login_server, "access_token": await self._entra_token(),
        }  # fmt: skip
        return str((await self._post("/oauth2/exchange", form))["refresh_token"])

    async def access_token(self, *scopes: str) -> str | None:
        """Return an access token for scopes such as `repository:hello-world:pull`, or None if refused."""
        fields = [("service", self.login_server), *(("scope", scope) for scope in scopes)]
        try:
            if self._entra_token is None:
                fields.append(("grant_type", "password"))
            else:
                fields += [("grant_type", "refresh_token"), ("refresh_token", await self.refresh_token())]
            return str((await self._post("/oauth2/token", fields))["access_token"])
        except aiohttp.ClientResponseError as error:
            if error.status == 401:
                return None
            raise

    async def _post(self, path: str, form: Any) -> dict[str, Any]:
        async with self._session.post(f"https://{self.login_server}{path}", data=form) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer

    async def push(self, repository: str, reference: str, image: Image) -> str:
        """Push an image or an index with its children, and return its digest.

        Raises:
            RuntimeError: The registry refuses, with its answer.
        """
        for child in image.children:
            await self.push(repository, child.digest, child)
        for digest, blob in image.blobs.items():
            if (await self.request("HEAD", f"/v2/{repository}/blobs/{digest}")).status == 200:
                continue
            started = _expect(await self.request("POST", f"/v2/{repository}/blobs/uploads/"), 202)
            location = started.headers["Location"]
            _expect(await self.request("PUT", f"{location}?digest={digest}", data=blob), 201)
        headers = {"Content-Type": image.media_type}
        path = f"/v2/{repository}/manifests/{reference}"
        return _expect(await self.request("PUT", path, data=image.manifest, headers=headers), 201).headers[
            "Docker-Content-Digest"
        ]

    async def pull(self, repository: str, reference: str) -> Image:
        """Pull an image or an index with everything that belongs to it.

        Raises:
            RuntimeError: The registry refuses, with its answer.
        """
        answer = _expect(await self.request("GET", f"/v2/{repository}/manifests/{reference}"), 200)
        media_type = answer.headers["Content-Type"]
        references = parse(answer.body, media_type)
        children = [await self.pull(repository, digest) for digest in references.manifests]
        blobs = {}
        for digest in references.blobs if media_type not in INDEXES else ():
            blobs[digest] = _expect(await self.request("GET", f"/v2/{repository}/blobs/{digest}"), 200).body
        return Image(answer.body, media_type, blobs, tuple(children))


def _expect(answer: RegistryAnswer, status: int) -> RegistryAnswer:
    if answer.status != status:
        raise RuntimeError(f"the registry answered {answer.status}: {answer.body.decode(errors='replace').strip()}")
    return answer

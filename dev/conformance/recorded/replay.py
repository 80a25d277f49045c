"""Sends recorded requests to localazure and compares its answers with Azure's.

A file of this folder is one story: exchanges in the order in which a client makes them. Every exchange says where
Azure's answer was recorded. A difference that is meant stands beside it under `differs`, with its reason; one that
is gone is a difference too, so that the list stays true.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from dev.conformance.recorded.shape import compare, fill, pattern
from dev.localazure.registry.images import make_layer
from dev.localazure.state import DEFAULT_SUBSCRIPTION, DEFAULT_TENANT

FOLDER = Path(__file__).parent
TOKENS = {
    "arm": "https://management.azure.com",
    "graph": "https://graph.microsoft.com",
    "registry": "https://containerregistry.azure.net",
}
_ARM = "https://management.azure.com"
PATIENCE = 30.0
"""Seconds that something asynchronous may take."""


@dataclass(frozen=True)
class Exchange:
    """A request, and what Azure answered to it.

    Attributes:
        name: What the client does, for people.
        source: The public recording of the answer (or issue or documentation, where nothing is recorded); "" for
            what only sets the scene.
        request: `method`, `path` (of Resource Manager) or `url`, `api-version`, `query`, `headers`, `token` ("" for
            none; default `arm`), and `body` (JSON), `form` or `archive` (files in a compressed tar).
        answer: `status`, `headers` (null: absent), `body` (JSON), `lines` (of a log) or `text` (default: none);
            `ordered: false` where the order of members was seen to change, or is not known;
            `jwt`: what tokens in the body say.
        until: `status` or members of the `body` that are awaited: the request is repeated until they are there.
        differs: Place in the answer → why localazure differs there.
    """

    name: str
    request: dict[str, Any]
    answer: dict[str, Any]
    source: str = ""
    until: dict[str, Any] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """One file.

    Attributes:
        about: What it is about.
        values: Values for `{name}`, beside those that every story has.
        headers: Headers that every answer of Resource Manager has; null for those that none has.
        differs: Differences that many of its exchanges have.
        common: Differences that all stories have.
    """

    name: str
    about: str
    exchanges: tuple[Exchange, ...]
    values: dict[str, str]
    headers: dict[str, str | None]
    differs: dict[str, str]
    common: dict[str, str]


@dataclass(frozen=True)
class Result:
    """How one exchange went; no differences means as recorded."""

    story: Story
    exchange: Exchange
    differences: list[str]


def _common() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "common.yaml").read_text())
    return document


def left_out() -> dict[str, str]:
    """Return what is recorded and not replayed, with the reason."""
    return dict(_common()["left_out"])


def read() -> list[Story]:
    """Return all stories, in the order of their files' names."""
    common = _common()
    stories = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name == "common.yaml":
            continue
        document = yaml.safe_load(path.read_text())
        exchanges = tuple(Exchange(**exchange) for exchange in document["exchanges"])
        headers = {**common["headers"], **document.get("headers", {})}
        stories.append(Story(path.stem, document["about"], exchanges, document.get("values", {}), headers,
                             document.get("differs", {}), common["differs"]))  # fmt: skip
    return stories


class Client:
    """Sends requests through localazure's proxy as its owner."""

    def __init__(
        self, session: aiohttp.ClientSession, direct: aiohttp.ClientSession, environment: Mapping[str, str]
    ) -> None:
        """Use a session with localazure's proxy and certificate, and one for what this machine serves itself."""
        self._session, self._direct, self._environment = session, direct, environment
        self._tokens: dict[str, str] = {}

    async def token(self, resource: str) -> str:
        """Get a token from the managed-identity endpoint."""
        if resource not in self._tokens:
            query = {"api-version": "2019-08-01", "resource": TOKENS[resource]}
            headers = {"X-IDENTITY-HEADER": self._environment["IDENTITY_HEADER"]}
            url = self._environment["IDENTITY_ENDPOINT"]
            async with self._direct.get(url, params=query, headers=headers) as response:
                self._tokens[resource] = str((await response.json())["access_token"])
        return self._tokens[resource]

    async def send(self, request: Mapping[str, Any]) -> tuple[int, Mapping[str, str], str]:
        """Send a request; return status, headers (names in lower case) and text."""
        headers, url = dict(request.get("headers", {})), request.get("url") or _ARM + request["path"]
        if not url.startswith("https://"):
            return await self._send(self._direct, request, url, headers)
        if token := request.get("token", "arm"):
            headers["Authorization"] = f"Bearer {await self.token(token)}"
        return await self._send(self._session, request, url, headers)

    @staticmethod
    async def _send(
        session: aiohttp.ClientSession, request: Mapping[str, Any], url: str, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], str]:
        query = dict(request.get("query", {}))
        if "api-version" in request:
            query["api-version"] = request["api-version"]
        async with session.request(
            request["method"], url, params=query or None, json=request.get("body"),
            data=make_layer(_bytes(request["archive"]))[0] if "archive" in request else request.get("form"),
            headers=headers,
        ) as response:  # fmt: skip
            received: dict[str, str] = {}
            for name, text in response.headers.items():
                received[name.lower()] = f"{received[name.lower()]} | {text}" if name.lower() in received else text
            return response.status, received, await response.text()


async def replay(story: Story, client: Client, known: dict[str, str]) -> AsyncIterator[Result]:
    """Play a story; it goes on after a difference, as later exchanges may not depend on it."""
    known |= fill({"group": f"recorded-{story.name}", **story.values}, known)
    known |= {"rg": f"/subscriptions/{known['sub']}/resourceGroups/{known['group']}"}
    for exchange in story.exchanges:
        try:
            differences = await _exchange(story, exchange, client, known)
        except KeyError as error:
            differences = [f"not sent: an earlier answer did not show {error}"]
        except (aiohttp.ClientError, TimeoutError) as error:
            differences = [f"no answer: {type(error).__name__} {error}"]
        if exchange.source or differences:
            yield Result(story, exchange, differences)


async def _exchange(story: Story, exchange: Exchange, client: Client, known: dict[str, str]) -> list[str]:
    request = fill(exchange.request, known)
    status, headers, text = await client.send(request)
    if exchange.until:
        async with asyncio.timeout(PATIENCE):
            while not _reached(exchange.until, status, text):
                await asyncio.sleep(0.1)
                status, headers, text = await client.send(request)
    expected = exchange.answer
    lines = [] if status == expected["status"] else [f"status: Azure answers {expected['status']}, localazure {status}"]
    arm = "url" not in request or request["url"].startswith(_ARM)
    lines += _compare_headers({**(story.headers if arm else {}), **expected.get("headers", {})}, headers, known)
    if status != expected["status"]:
        return [*lines, f"body: localazure answers {text[:300]}"]
    if "body" in expected:
        seen = json.loads(text) if text else None
        lines += compare(expected["body"], seen, known, ordered=expected.get("ordered", True))
    elif "lines" in expected:
        lines += _compare_lines(expected["lines"], text, known)
    else:
        lines += compare(expected.get("text", ""), text, known, "text")
    for name, form in expected.get("jwt", {}).items():
        lines += compare(form, _decoded(json.loads(text)[name]), known, name, ordered=False)
    return _unmeant(lines, exchange.differs, {**story.common, **story.differs} if arm else {})


def _reached(until: Mapping[str, Any], status: int, text: str) -> bool:
    if "status" in until and status != until["status"]:
        return False
    return "body" not in until or (bool(text) and _holds(until["body"], json.loads(text)))


def _decoded(token: str) -> dict[str, Any]:
    """Return what a JSON web token says, and for how many seconds."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return {"header": header, "claims": claims, "lifetime": claims["exp"] - claims["iat"]}


def _bytes(files: Mapping[str, str]) -> dict[str, bytes]:
    return {path: text.encode() for path, text in files.items()}


def _holds(part: Any, whole: Any) -> bool:
    """Tell whether an answer has these members with these values, whatever else it has."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(_holds(value, whole.get(name)) for name, value in part.items())
    return bool(part == whole)


def _compare_headers(expected: Mapping[str, str | None], seen: Mapping[str, str], known: dict[str, str]) -> list[str]:
    lines = []
    for name, text in expected.items():
        value = seen.get(name)
        if text is None or value is None:
            if text is not value:
                lines.append(f"header {name}: Azure answers {text or 'nothing'}, localazure {value or 'nothing'}")
        elif match := pattern(text, known).fullmatch(value):
            known.update(match.groupdict())
        else:
            lines.append(f"header {name}: Azure answers {text}, localazure {value}")
    return lines


def _compare_lines(expected: list[str], text: str, known: dict[str, str]) -> list[str]:
    """Compare a log; `...` stands for any number of lines."""
    if not text.endswith("\r\n") or "\n" in text.replace("\r\n", ""):
        return ["text: Azure ends every line with CR LF"]
    seen, at = text.removesuffix("\r\n").split("\r\n"), 0
    skipping = False
    for wanted in expected:
        if wanted == "...":
            skipping = True
            continue
        form, start = pattern(wanted, known), at
        while skipping and at < len(seen) and not form.fullmatch(seen[at]):
            at += 1
        if at == len(seen) or not (match := form.fullmatch(seen[at])):
            return [f"line {start + 1}: Azure writes {wanted!r}, localazure {seen[start : start + 1]}"]
        known.update(match.groupdict())
        at, skipping = at + 1, False
    return [] if at == len(seen) or skipping else [f"line {at + 1}: Azure writes nothing more, localazure {seen[at]!r}"]


def _unmeant(lines: list[str], own: Mapping[str, str], common: Mapping[str, str]) -> list[str]:
    """Return the differences that nobody explains, and the explanations that explain nothing."""
    places = {line.partition(": ")[0] for line in lines}
    left = [line for line in lines if line.partition(": ")[0] not in {*own, *common}]
    stale = [place for place in own if place not in places]
    return left + [f"{place}: is as recorded by now; take it out of the list of differences" for place in stale]


@asynccontextmanager
async def _webhook() -> AsyncIterator[str]:
    """Listen on loopback for Event Grid, and take part in its handshake; the URL has a key in its query."""

    async def receive(request: web.Request) -> web.Response:
        (event,) = await request.json()
        return web.json_response({"validationResponse": event["data"].get("validationCode")})

    app = web.Application()
    app.router.add_post("/api/updates", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/updates"
    finally:
        await runner.cleanup()


async def replay_all(
    environment: Mapping[str, str], *names: str, stories: Sequence[Story] | None = None
) -> AsyncIterator[Result]:
    """Play stories against the localazure that printed this environment: all, those named, or those given."""
    trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    connector = aiohttp.TCPConnector(ssl=trust)
    async with (
        aiohttp.ClientSession(connector=connector, proxy=environment["HTTPS_PROXY"]) as session,
        aiohttp.ClientSession() as direct,
        _webhook() as webhook,
    ):
        client = Client(session, direct, environment)
        for story in stories or read():
            if names and story.name not in names:
                continue
            known = {"sub": DEFAULT_SUBSCRIPTION, "tenant": DEFAULT_TENANT, "webhook": webhook,
                     "control": f"{environment['LOCALAZURE_CONTROL']}/control"}  # fmt: skip
            for resource in TOKENS:
                known[f"{resource}_token"] = await client.token(resource)
            async for result in replay(story, client, known):
                yield result

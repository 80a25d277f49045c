"""The same inputs lead to the same results: in the official worker alone, and in the local host with either worker."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueServiceClient

from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually
from tests.integration.world import BASE, OPTED_IN, TEAM, World, registry_id
from tests.worker.payloads import fan_out, image_pushed, rebuild_request, registry_written, run_check
from tests.worker.worker import APP, Worker, needs_worker

pytestmark = needs_worker

QUEUES = tuple(f"{name}{end}" for name in ("fan-outs", "rebuild-requests", "run-checks") for end in ("", "-poison"))


@dataclass(frozen=True)
class Outcome:
    """What the outside sees of an invocation.

    Attributes:
        error: `Type: text`, or "" for a success.
        answer: Status, content type, Location, Retry-After and body of an HTTP response.
        messages: What is in the queues afterwards.
        log: What the app logged.
    """

    error: str = ""
    answer: tuple[Any, ...] = ()
    messages: tuple[bytes, ...] = ()
    log: tuple[str, ...] = ()


class Side(Protocol):
    """Something that runs the app's functions."""

    @property
    def storage(self) -> Storage:
        """Its queues."""

    async def event(self, function: str, event: dict[str, Any]) -> Outcome:
        """Deliver an event."""

    async def message(self, function: str, queue: str, body: bytes) -> Outcome:
        """Deliver a message of a queue."""

    async def request(self, function: str, path: str, body: bytes, **route: str) -> Outcome:
        """Send a request."""


def app_lines(log: str) -> tuple[str, ...]:
    return tuple(re.findall(r"groundswell\.\w+: .*", log))


class Storage:
    """What lies in the queues of one side."""

    def __init__(self, connection_string: str) -> None:
        self.service = QueueServiceClient.from_connection_string(connection_string)

    def take(self) -> tuple[bytes, ...]:
        """Take what is visible out of all queues, decoded."""
        taken = []
        for name in QUEUES:
            queue = self.service.get_queue_client(name)
            try:
                for message in queue.receive_messages():
                    queue.delete_message(message)
                    taken.append(base64.b64decode(message.content))
            except ResourceNotFoundError:
                continue
        return tuple(taken)

    def add(self, name: str, body: bytes) -> None:
        queue = self.service.get_queue_client(name)
        text = base64.b64encode(body).decode()
        try:
            queue.send_message(text)
        except ResourceNotFoundError:
            queue.create_queue()
            queue.send_message(text)


class Official:
    """The official worker package, sent what the host sends over gRPC."""

    def __init__(self, worker: Worker, storage: Storage) -> None:
        self._worker, self.storage = worker, storage

    async def event(self, function: str, event: dict[str, Any]) -> Outcome:
        reply = await self._worker.event_grid(function, event)
        messages = tuple(message.encode() for message in reply.messages)
        return Outcome(reply.error, messages=messages, log=app_lines(reply.log))

    async def message(self, function: str, queue: str, body: bytes) -> Outcome:
        try:
            reply = await self._worker.queue(function, body.decode())
        except UnicodeDecodeError:
            reply = await self._worker.queue(function, body)
        return Outcome(reply.error, messages=self.storage.take(), log=app_lines(reply.log))

    async def request(self, function: str, path: str, body: bytes, **route: str) -> Outcome:
        reply = await self._worker.http(function, path, route, body=body)
        headers = {name.lower(): value for name, value in reply.http.headers.items()}
        answer = (int(reply.http.status_code), *(headers.get(n) for n in HEADERS), reply.text)
        messages = (*(message.encode() for message in reply.messages), *self.storage.take())
        return Outcome(answer=answer, messages=messages, log=app_lines(reply.log))


HEADERS = ("content-type", "location", "retry-after")


class Host:
    """The local Functions host."""

    def __init__(self, host: FunctionsHost, storage: Storage) -> None:
        self._host, self.storage = host, storage

    async def _outcome(self, function: str, act: Callable[[], Awaitable[tuple[Any, ...]]]) -> Outcome:
        start, end = len(self._host.log), re.compile(rf" {function} \w+  (?:Succeeded|Failed after [^:]*: (?P<why>.*))")
        answer = await act()

        async def ended() -> re.Match[str] | None:
            return end.search(self._host.log, start)

        done = await eventually(ended)
        assert done
        # A response tells of the error by itself.
        error = "" if answer else done["why"] or ""
        return Outcome(error, answer, self.storage.take(), app_lines(self._host.log[start:]))

    async def event(self, function: str, event: dict[str, Any]) -> Outcome:
        async def deliver() -> tuple[Any, ...]:
            query = {"functionName": function, "code": self._host.ready["eventGridKey"]}
            url, kind = f"{self._host.url}/runtime/webhooks/eventgrid", {"aeg-event-type": "Notification"}
            async with (
                aiohttp.ClientSession() as http,
                http.post(url, params=query, json=[event], headers=kind) as response,
            ):
                assert response.status in (202, 500)
            return ()

        return await self._outcome(function, deliver)

    async def message(self, function: str, queue: str, body: bytes) -> Outcome:
        async def send() -> tuple[Any, ...]:
            self.storage.add(queue, body)
            return ()

        return await self._outcome(function, send)

    async def request(self, function: str, path: str, body: bytes, **route: str) -> Outcome:
        async def call() -> tuple[Any, ...]:
            method = "GET" if function.startswith("show") else "POST"
            key, url = {"x-functions-key": self._host.ready["functionKey"]}, self._host.url + path
            # Without a body, its type would say that one was lost on the way.
            skipped = () if body else ("Content-Type",)
            async with (
                aiohttp.ClientSession() as http,
                http.request(method, url, data=body or None, headers=key, skip_auto_headers=skipped) as response,
            ):
                return (response.status, *(response.headers.get(n) for n in HEADERS), await response.text())

        return await self._outcome(function, call)


@contextmanager
def sides(environment: dict[str, str], settings_file: Path) -> Iterator[dict[str, Side]]:
    """Run the app in three ways, each with a storage of its own because they listen to the same queues."""
    settings_file.write_text('{"IsEncrypted": false, "Values": {"FUNCTIONS_WORKER_RUNTIME": "python"}}')
    with ExitStack() as stack:
        stores = {name: stack.enter_context(Azurite()).connection_string for name in ("official", "library", "runtime")}
        storage = {name: Storage(text) for name, text in stores.items()}
        variables = {name: environment | {"AzureWebJobsStorage": text} for name, text in stores.items()}
        running: dict[str, Side] = {
            "official": Official(stack.enter_context(Worker(variables["official"])), storage["official"])
        }
        for name in ("library", "runtime"):
            arguments = ("--worker", name, "--settings", str(settings_file))
            host = stack.enter_context(FunctionsHost(APP, variables[name], arguments))
            running[name] = Host(host, storage[name])
        yield running
        for store in storage.values():
            store.service.close()


HAPPENS_ONCE = {
    r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)": "time",
    r"fleet-[0-9a-f-]{36}": "fleet-uuid",
    r"request_id=[0-9a-f-]{36}": "request_id=uuid",
    r'("runId": "|/runs/|run_id=)c\w+': r"\1run",
}


def compact(message: bytes) -> bytes:
    """Undo what the host does to JSON in an output: it writes it anew."""
    try:
        return json.dumps(json.loads(message), separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError:
        return message


def normalized(outcome: Outcome) -> str:
    text = repr(replace(outcome, messages=tuple(map(compact, outcome.messages))))
    for pattern, replacement in HAPPENS_ONCE.items():
        text = re.sub(pattern, replacement, text)
    return text


Case = Callable[[Side], Awaitable[Outcome]]


async def play(running: dict[str, Side], case: Case, expected: str) -> Outcome:
    """Do the same on all sides, demand the same outcome with an expected text in it, and return it."""
    outcomes = {name: await case(side) for name, side in running.items()}
    official = outcomes["official"]
    assert expected in repr(official)
    for name in ("library", "runtime"):
        assert normalized(outcomes[name]) == normalized(official), name
    return official


PUSHED, WRITTEN = {**image_pushed(), "topic": registry_id(BASE)}, registry_written()
WRITTEN["subject"] = WRITTEN["data"]["resourceUri"] = registry_id(TEAM)
ELSEWHERE = {**PUSHED, "topic": registry_id("otherregistry")}
CLOUD_EVENT = {
    "specversion": "1.0", "id": "1", "source": registry_id("otherregistry"), "subject": "node:1",
    "type": "Microsoft.ContainerRegistry.ImagePushed", "time": "2026-11-22T09:30:00Z", "data": {},
}  # fmt: skip
EVENTS: list[tuple[Case, str]] = [
    (lambda s: s.event("base_image_pushed", PUSHED), '"cause":"base-image-pushed"'),
    (lambda s: s.event("base_image_pushed", ELSEWHERE), "reason=other-registry"),
    (lambda s: s.event("base_image_pushed", CLOUD_EVENT), "reason=other-registry"),
    (lambda s: s.event("base_image_pushed", {**PUSHED, "data": "?"}), "reason=malformed"),
    (lambda s: s.event("base_image_pushed", {**PUSHED, "eventTime": "now"}), "ValueError: time data"),
    (lambda s: s.event("team_registry_changed", WRITTEN), '"cause":"registry-changed"'),
]
ONE, HERE = f"/api/registries/{TEAM}", {"registry": TEAM}
REQUESTS: list[tuple[Case, str]] = [
    (lambda s: s.request("start_fleet", "/api/runs", b'{"all": true}'), '{\\n  "queued": 1\\n}'),
    (lambda s: s.request("start_fleet", "/api/runs", b'{"x": 1}'), '"field": "x"'),
    (lambda s: s.request("start_fleet", "/api/runs", b"\xff\x00"), "answer=(400, 'application/problem+json'"),
    (lambda s: s.request("start_run", f"{ONE}/runs", b"", **HERE), "answer=(202, 'application/json'"),
    (lambda s: s.request("start_run", f"{ONE}/runs", b'{"task": "t\xc3\xbc"}', **HERE), "has no task 'tü'"),
    (lambda s: s.request("start_run", "/api/registries/no/runs", b"", registry="no"), "answer=(404"),
    (lambda s: s.request("show_registry", ONE, b"", **HERE), '"ready": true'),
    (lambda s: s.request("show_run", f"{ONE}/runs/c-1", b"", **HERE, runId="c-1"), "answer=(404"),
]
OLDER = fan_out("late") | {
    "pushedAt": "2026-11-21T09:30:00Z",
    "image": fan_out()["image"] | {"digest": f"sha256:{'b' * 64}"},
}
WHOLE_FLEET = {"version": 1, "id": "fleet", "cause": "manual", "requestedAt": "2026-11-22T09:30:00Z"}


def fanned_out(message: dict[str, Any] | bytes, expected: str) -> tuple[Case, str]:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return lambda s: s.message("fan_out_requested", "fan-outs", body), expected


FAN_OUTS = [
    fanned_out(fan_out(), '"cause":"base-image-pushed"'),
    fanned_out(fan_out(), '"cause":"base-image-pushed"'),
    fanned_out(fan_out("replica"), "reason=already-asked-for"),
    fanned_out(OLDER, "reason=older-than-what-was-pushed-since"),
    fanned_out(WHOLE_FLEET, '"cause":"manual"'),
    fanned_out('{"ü": 1}'.encode(), "message set aside"),
]
MISSING = json.dumps(rebuild_request("goneregistry")).encode()
MESSAGES: list[tuple[Case, str]] = [
    (lambda s: s.message("rebuild_requested", "rebuild-requests", MISSING), "decision=skipped"),
    (lambda s: s.message("rebuild_requested", "rebuild-requests", '{"ü": 1}'.encode()), "message set aside"),
    (lambda s: s.message("rebuild_requested", "rebuild-requests", b""), "messages=(b'',)"),
    (lambda s: s.message("run_followed", "run-checks", json.dumps(run_check()).encode()), "run went with its registry"),
]


@pytest.fixture
async def environment(world: World) -> dict[str, str]:
    """A company whose registry is in its desired state already, so that what comes first makes no difference."""
    await world.create_registry(TEAM, tags=OPTED_IN)
    await world.push()
    await world.groundswell.onboarding.ensure(await world.target())
    # Runs are looked at when no test looks any more.
    return {**world.azure.environment(world.app), **world.settings, "GROUNDSWELL_RUN_CHECK_SECONDS": "3600"}


def disable(environment: dict[str, str], *functions: str) -> None:
    """Stop functions in the host, so that what is queued for them stays there for a look."""
    environment.update({f"AzureWebJobs.{name}.Disabled": "true" for name in functions})


async def replay(side: Side) -> Outcome:
    """Ask to replay one message that was set aside of each kind, and one that is none."""
    poisoned = {"fan-outs": fan_out(), "rebuild-requests": rebuild_request(), "run-checks": run_check()}
    for queue, message in poisoned.items():
        side.storage.add(f"{queue}-poison", json.dumps(message).encode())
    side.storage.add("fan-outs-poison", b"nonsense")
    return await side.request("replay", "/api/rebuilds/replay", b"")


async def test_events_and_requests_have_the_same_results_in_the_host_as_in_the_official_worker(
    world: World, environment: dict[str, str], tmp_path: Path
) -> None:
    disable(environment, "fan_out_requested", "rebuild_requested", "run_followed")
    with sides(environment, tmp_path / "settings.json") as running:
        for case, expected in [*EVENTS, *REQUESTS]:
            await play(running, case, expected)
        run = (await world.runs())[-1]["runId"]
        await world.run(run)
        here = {**HERE, "runId": run}
        await play(running, lambda s: s.request("show_run", f"{ONE}/runs/{run}", b"", **here), '"Succeeded"')
        log = await play(running, lambda s: s.request("show_log", f"{ONE}/runs/{run}/logs", b"", **here), "text/plain")
        assert f"Run ID: {run} was successful" in log.answer[-1]
        # Last, because the message that stays is out of sight for a minute only.
        await play(running, replay, '{\\n  "replayed": 3,\\n  "kept": 1\\n}')


async def test_fan_outs_have_the_same_results_in_the_host_as_in_the_official_worker(
    world: World, environment: dict[str, str], tmp_path: Path
) -> None:
    disable(environment, "rebuild_requested")
    with sides(environment, tmp_path / "settings.json") as running:
        for case, expected in FAN_OUTS:
            await play(running, case, expected)
        world.fault(method="GET", path=".*/registries", status=409, times=len(running))
        failing, expected = fanned_out(fan_out(), "fan-out put back")
        await play(running, failing, expected)


async def test_messages_have_the_same_results_in_the_host_as_in_the_official_worker(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with sides(environment, tmp_path / "settings.json") as running:
        for case, expected in MESSAGES:
            await play(running, case, expected)

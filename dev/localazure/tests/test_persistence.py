"""`--data`: what a restart keeps, and what an interrupted write can do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from dev.localazure import persistence
from dev.localazure.azure import Azure
from dev.localazure.persistence import StoreError
from dev.localazure.state import Blob, Manifest, RegistryContent, Repository, Resource, State, Tag
from dev.localazure.tests.eventgrid_fixtures import GROUP, REGISTRY, Grid, push, ready
from dev.localazure.tests.webhook import Webhook, good, until
from dev.testing.azure import AUTHORITY, Client

Start = Callable[[], AbstractAsyncContextManager[tuple[Azure, Client]]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start an Azure on the same directory, once or again."""

    @asynccontextmanager
    async def running() -> AsyncIterator[tuple[Azure, Client]]:
        azure = Azure(authority=AUTHORITY)
        try:
            await azure.start(data=data)
            for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
                monkeypatch.setenv(name, azure.environment()[name])
            async with aiohttp.ClientSession(trust_env=True) as session:
                yield azure, Client(azure, azure.owner, session)
        finally:
            await azure.stop()

    return running


def content() -> RegistryContent:
    manifest = Manifest("sha256:m", "application/vnd.oci.image.manifest.v1+json", b"\xff\x00manifest", "2026-11-22")
    tag = Tag("15-alpine", "sha256:m", "2026-11-22", "2026-11-22")
    return RegistryContent({"baseimages/node": Repository({"sha256:m": manifest}, {"15-alpine": tag})},
                           {"sha256:b": b"\x1f\x8blayer"}, next_run=7)  # fmt: skip


async def test_resources_identities_and_images_are_there_after_a_restart(start: Start, data: Path) -> None:
    async with start() as (azure, owner):
        await Grid(owner).prepare()
        app = good(await owner.control("POST", "/apps", {"name": "app"}), 201).body
        azure.state.content["mybaseregistry.azurecr.io"] = content()
        azure.state.blobs["logs/a.log"] = Blob(bytearray(b"line\r\n"), {"Complete": "successful"}, "2026-11-22")
        before, header = azure.state, azure.owner.header
    assert (data.stat().st_mode & 0o077) == 0, "the secrets of identities lie there"

    async with start() as (azure, owner):
        assert azure.state == before
        assert azure.owner.header == header
        shown = good(await owner.arm("GET", REGISTRY))
        assert shown.body["name"] == "mybaseregistry"
        again = good(await owner.control("POST", "/apps", {"name": "app"}), 200).body
        assert again["environment"]["IDENTITY_HEADER"] == app["environment"]["IDENTITY_HEADER"]
        azure.state.blobs["logs/a.log"].body += b"more"


async def test_changes_are_written_while_localazure_runs(
    start: Start, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "INTERVAL", 0.01)

    def saved() -> set[str]:
        file = data / "state.json"
        return set(json.loads(file.read_text())["state"]["resources"]) if file.exists() else set()

    async with start() as (azure, owner):
        good(await owner.arm("PUT", GROUP, {"location": "westus"}))
        await until(lambda: GROUP.lower() in saved())
        azure.state.content["x.azurecr.io"] = content()
        await until(lambda: len(list((data / "objects").glob("*"))) == 2)
        del azure.state.content["x.azurecr.io"]
        await until(lambda: not list((data / "objects").iterdir()))
        good(await owner.arm("DELETE", GROUP), 200, 202)
        await until(lambda: GROUP.lower() not in saved())


async def test_a_write_that_was_torn_leaves_the_last_good_state(start: Start, data: Path) -> None:
    async with start() as (_, owner):
        good(await owner.arm("PUT", GROUP, {"location": "westus"}))
    (data / "state.json.part").write_text('{"version": 1, "sta')
    (data / "objects" / "abc.part").write_bytes(b"half")
    async with start() as (_, owner):
        assert (await owner.arm("GET", GROUP)).status == 200


async def test_a_crash_in_the_middle_of_a_write_leaves_the_last_good_state(
    start: Start, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as (_, owner):
        good(await owner.arm("PUT", GROUP, {"location": "westus"}))
    good_state = (data / "state.json").read_bytes()
    azure = Azure(authority=AUTHORITY)
    store = persistence.Store(data)
    assert store.load(azure)
    azure.state.resources.clear()

    def fail(*_: object) -> None:
        raise OSError("no power")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="no power"):
            store.save(azure)
    await store.stop(azure)
    assert (data / "state.json").read_bytes() == good_state


async def test_a_disk_that_fails_for_a_while_costs_nothing(
    start: Start, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(persistence, "INTERVAL", 0.01)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with start() as (_, owner):
        await until((data / "state.json").exists)
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", fail)
            good(await owner.arm("PUT", GROUP, {"location": "westus"}))
            await until(lambda: "No space left" in caplog.text)
        await until(lambda: GROUP.lower() in (data / "state.json").read_text())


async def test_an_event_that_was_not_delivered_is_delivered_after_the_restart(start: Start) -> None:
    async with Webhook([500]) as hook:
        async with start() as (azure, owner):
            grid = await ready(owner, hook)
            azure.clock.set_scale(0.0001)
            await grid.publish(push())
            await until(lambda: len(azure.eventgrid.attempts) == 1)
        hook.statuses = [200]
        async with start() as (azure, owner):
            azure.clock.advance(15)
            await Grid(owner).idle()
    assert [headers["aeg-delivery-count"] for headers, _ in hook.received] == ["0", "1"]


async def test_the_clock_never_goes_back(start: Start) -> None:
    async with start() as (azure, _):
        azure.clock.advance(86_400)
        before = azure.clock.now()
    async with start() as (azure, _):
        assert azure.clock.now() >= before


async def test_a_run_that_was_under_way_ends_as_an_error(start: Start) -> None:
    kind = "Microsoft.ContainerRegistry/registries/runs"
    async with start() as (azure, _):
        for name, status in (("ca1", "Running"), ("ca2", "Succeeded")):
            azure.state.put(Resource(f"{REGISTRY}/runs/{name}", kind, name, properties={"status": status}))
    async with start() as (azure, _):
        runs = {run.name: run.properties for run in azure.state.of_type(kind)}
    assert runs["ca1"]["status"] == "Error"
    assert "restarted" in runs["ca1"]["runErrorMessage"]
    assert runs["ca2"] == {"status": "Succeeded"}


async def test_two_processes_cannot_share_a_directory(start: Start, data: Path) -> None:
    async with start():
        with pytest.raises(StoreError, match="another localazure"):
            persistence.Store(data)


@pytest.mark.parametrize(("text", "words"), [
    ("{", "cannot be read"), ('{"version": 99}', "another version"), ('{"version": 1, "state": []}', "cannot be read"),
    ('{"version": 1, "now": "2026-11-22T00:00:00+00:00", "state": {"blobs": {"a": {"body": "gone"}}}}', "cannot be"),
])  # fmt: skip
async def test_a_state_that_cannot_be_read_is_not_thrown_away(start: Start, data: Path, text: str, words: str) -> None:
    data.mkdir()
    (data / "state.json").write_text(text)
    with pytest.raises(StoreError, match=words):
        async with start():
            pass
    assert (data / "state.json").read_text() == text


def test_what_a_later_version_no_longer_knows_is_left_out(tmp_path: Path) -> None:
    saved = {"tenant": "t", "gone": 1, "apps": {"h": {"name": "a", "header": "h", "colour": "red"}}}
    state = persistence.decode(State, saved, tmp_path)
    assert (state.tenant, state.apps["h"].name) == ("t", "a")

"""Run logs as blobs: how `az` and the storage SDKs stream them, and who may not."""

from __future__ import annotations

import io
import re
import tarfile

import pytest

from dev.localazure.agent.agent import TERMINAL
from dev.localazure.tests.task_runs import TASKS_API, Scenario, registry_id, run_path
from dev.testing.azure import Client, Reply

pytestmark = pytest.mark.usefixtures("granted_task")


async def link_of(scenario: Scenario, run_id: str) -> str:
    reply = await scenario.owner.arm("POST", run_path(run_id) + "/listLogSasUrl", api_version=TASKS_API)
    assert list(reply.body) == ["logLink"]
    return str(reply.body["logLink"])


async def test_link_has_the_form_of_acrs(scenario: Scenario) -> None:
    ended = await scenario.run()
    assert re.fullmatch(
        r"https://[a-z0-9]+managed\d+\.blob\.core\.windows\.net/[0-9a-f]{32}-[0-9a-z]{10}/logs/"
        rf"{ended.id}/rawtext\.log\?sv=[\d-]+&se=[^&]+&sr=b&sp=r&sig=[^&]+",
        await link_of(scenario, ended.id),
    )


async def test_log_is_an_append_blob_that_can_be_read_in_ranges(scenario: Scenario) -> None:
    ended = await scenario.run()
    link, total = await link_of(scenario, ended.id), len(ended.log.encode())
    head = await scenario.owner.request("HEAD", link)
    assert (head.status, head.headers["Content-Length"]) == (200, str(total))
    assert (head.headers["x-ms-blob-type"], head.headers["x-ms-meta-Complete"]) == ("AppendBlob", "successful")
    part = await scenario.owner.request("GET", link, headers={"x-ms-range": "bytes=10-19"})
    assert (part.status, part.text) == (206, ended.log[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{total}"
    rest = await scenario.owner.request("GET", link, headers={"Range": f"bytes={total - 5}-{total + 4096}"})
    assert (rest.status, rest.text) == (206, ended.log[-5:])
    beyond = await scenario.owner.request("GET", link, headers={"Range": f"bytes={total}-"})
    assert (beyond.status, beyond.headers["x-ms-error-code"]) == (416, "InvalidRange")


async def test_log_grows_while_the_run_is_at_work(scenario: Scenario) -> None:
    scenario.azure.agent.pace = 3600.0
    run_id = (await scenario.schedule()).body["name"]
    link = await link_of(scenario, run_id)
    not_yet = await scenario.owner.request("GET", link)
    assert (not_yet.status, not_yet.headers["x-ms-error-code"]) == (404, "BlobNotFound")
    assert "<Code>BlobNotFound</Code>" in not_yet.text
    seen = await grown(scenario, link, 0)
    assert "x-ms-meta-Complete" not in seen.headers
    assert (await grown(scenario, link, len(seen.text))).text.startswith(seen.text)


async def grown(scenario: Scenario, link: str, length: int) -> Reply:
    """Move the clock on until a log is longer."""
    while True:
        reply = await scenario.owner.request("GET", link)
        if reply.status == 200 and len(reply.text) > length:
            return reply
        scenario.azure.clock.advance(600)
        if reply.status == 403:
            link = await link_of(scenario, link.split("/logs/")[1].split("/")[0])


@pytest.mark.parametrize("change", ["sig", "se", "sp", "path", "host", "none"])
async def test_link_that_was_tampered_with_is_refused(scenario: Scenario, change: str) -> None:
    first, second = await scenario.run(), await scenario.run()
    link = await link_of(scenario, first.id)
    other = await link_of(scenario, second.id)
    changed = {
        "sig": re.sub(r"sig=.*", re.search(r"sig=.*", other).group(), link),  # type: ignore[union-attr]
        "se": re.sub(r"se=\d+", "se=2999", link),
        "sp": link.replace("sp=r", "sp=rw"),
        "path": link.replace(f"/{first.id}/", f"/{second.id}/"),
        "host": link.replace("https://", "https://x"),
        "none": link.partition("?")[0],
    }[change]
    reply = await scenario.owner.request("GET", changed)
    assert (reply.status, reply.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
    assert "<Code>AuthenticationFailed</Code>" in reply.text


async def test_link_expires(scenario: Scenario) -> None:
    ended = await scenario.run()
    link = await link_of(scenario, ended.id)
    scenario.azure.clock.advance(3601)
    assert (await scenario.owner.request("GET", link)).status == 403


async def test_log_link_allows_reading_only(scenario: Scenario) -> None:
    ended = await scenario.run()
    link = await link_of(scenario, ended.id)
    written = await scenario.owner.request("PUT", link, data=b"forged")
    assert (written.status, written.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    assert (await scenario.owner.request("DELETE", link)).status == 405
    assert (await scenario.owner.request("GET", link)).text == ended.log


async def test_failed_run_says_so_in_its_logs_metadata(scenario: Scenario) -> None:
    await scenario.create_task(credentials={})
    assert (await scenario.run()).blob.headers["x-ms-meta-Complete"] == "failed"


async def test_broken_agent_ends_the_run_as_an_internal_error(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    scenario.azure.agent.pace = 3600.0
    run_id = (await scenario.schedule()).body["name"]
    run = scenario.azure.state.get(run_path(run_id))
    assert run
    del run.properties["_definition"]["step"]["type"]
    while (await scenario.get(run_id))["status"] not in TERMINAL:
        scenario.azure.clock.advance(3600)
    ended = await scenario.ended(run_id)
    assert (ended.status, ended.blob.headers["x-ms-meta-Complete"]) == ("Error", "internalerror")
    assert "broke the agent" in caplog.text


async def test_uploaded_source_can_be_built(scenario: Scenario, owner: Client) -> None:
    path = f"{registry_id('myregistry')}/listBuildSourceUploadUrl"
    upload = (await owner.arm("POST", path, api_version=TASKS_API)).body
    archive = tar({"./Dockerfile": b"FROM scratch\nCOPY . /\n", "src/app": b"app"})
    put = await owner.request("PUT", upload["uploadUrl"], data=archive, headers={"x-ms-blob-type": "BlockBlob"})
    assert put.status == 201
    ended = await scenario.run(docker_build(upload["relativePath"]))
    assert ended.status == "Succeeded", ended.log
    assert ended.run["runType"] == "QuickBuild"
    assert "task" not in ended.run
    assert list(scenario.tags("app")) == ["v1"]
    assert ended.lines[:2] == ["Downloading source code...", "Finished downloading source code"]
    assert "Executing step ID: build. Timeout(sec): 28800, Working directory: '', Network: ''" in ended.lines
    assert "  git: {}" in ended.lines


async def test_source_that_was_never_uploaded_fails(scenario: Scenario) -> None:
    ended = await scenario.run(docker_build("source/2026/none.tar.gz"))
    assert ended.lines[-4] == "failed to download source code: blob source/2026/none.tar.gz does not exist"


def docker_build(source: str) -> dict[str, object]:
    return {
        "type": "DockerBuildRequest", "imageNames": ["app:v1"], "isPushEnabled": True, "dockerFilePath": "Dockerfile",
        "platform": {"os": "linux", "architecture": "amd64"}, "sourceLocation": source, "arguments": [],
    }  # fmt: skip


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()

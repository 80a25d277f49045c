"""Queue triggers of the Functions host, against Azurite."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import signal
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from dev.functionshost.tests.fixtures import SAMPLE_APP, WORK_QUEUE, Queues, azurite, host, queues, sample_settings
from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually, write_app

__all__ = ["azurite", "host", "queues", "sample_settings"]

POISON_QUEUE = f"{WORK_QUEUE}-poison"


async def test_message_reaches_the_function_with_its_metadata_and_is_deleted(
    host: FunctionsHost, queues: Queues
) -> None:
    queues.add(WORK_QUEUE, "grüezi")
    (seen,) = await eventually(lambda: queues.take_json("seen"))
    assert (seen["body"], seen["dequeueCount"]) == ("grüezi", 1)
    assert seen["id"]
    assert seen["popReceipt"]
    inserted, expires = (datetime.fromisoformat(seen[name]) for name in ("insertionTime", "expirationTime"))
    assert expires - inserted == timedelta(days=7)
    await eventually(lambda: queues.count(WORK_QUEUE) == 0)


async def test_failed_message_is_tried_again_until_it_succeeds(host: FunctionsHost, queues: Queues) -> None:
    queues.add(WORK_QUEUE, json.dumps({"failures": 2}))
    (seen,) = await eventually(lambda: queues.take_json("seen"))
    assert seen["dequeueCount"] == 3
    assert queues.take(POISON_QUEUE) == []


async def test_message_that_fails_max_dequeue_count_times_goes_to_the_poison_queue(
    host: FunctionsHost, queues: Queues
) -> None:
    text = json.dumps({"failures": 99, "test": "poison"})
    queues.add(WORK_QUEUE, text)
    assert await eventually(lambda: queues.take(POISON_QUEUE)) == [text]
    attempts = [line for line in host.log.splitlines() if "RuntimeError: not yet" in line and "Failed" in line]
    assert len(attempts) >= 3
    assert "it failed 3 times" in host.log
    assert queues.take("seen") == []
    assert queues.count(WORK_QUEUE) == 0


async def test_message_that_is_no_base64_goes_to_the_poison_queue_without_an_invocation(
    host: FunctionsHost, queues: Queues
) -> None:
    queues.add(WORK_QUEUE, '{"plain": "text"}', raw=True)
    assert await eventually(lambda: queues.take(POISON_QUEUE, raw=True)) == ['{"plain": "text"}']
    assert queues.take("seen") == []


async def test_message_that_is_no_text_goes_to_the_poison_queue_after_its_attempts_without_an_invocation(
    host: FunctionsHost, queues: Queues
) -> None:
    content = base64.b64encode(b"\xff\x00\xfe").decode()
    queues.add(WORK_QUEUE, content, raw=True)
    assert await eventually(lambda: queues.take(POISON_QUEUE, raw=True)) == [content]
    assert len([line for line in host.log.splitlines() if "Exception while binding" in line]) == 3
    assert queues.take("seen") == []


async def test_message_whose_worker_crashed_is_tried_again_at_once(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    queues.add("crashed-work", json.dumps({"crashes": 1}))
    with FunctionsHost(SAMPLE_APP, sample_settings | {"SAMPLE_QUEUE": "crashed-work"}):  # the lease is ten minutes
        (seen,) = await eventually(lambda: queues.take_json("seen"))
    assert seen["dequeueCount"] == 2


async def test_missing_queue_is_told_at_every_poll(sample_settings: dict[str, str]) -> None:
    with FunctionsHost(SAMPLE_APP, sample_settings | {"SAMPLE_QUEUE": "never-made"}) as running:
        await eventually(lambda: running.log.count("Cannot poll queue 'never-made'") >= 3)


async def test_disabled_function_gets_no_messages_but_runs_by_hand(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    queues.add("disabled-work", "from the queue")
    settings = sample_settings | {"SAMPLE_QUEUE": "disabled-work", "AzureWebJobs.on_message.Disabled": "true"}
    with FunctionsHost(SAMPLE_APP, settings) as running:
        await call(running, "/admin/functions/on_message", {"input": "by hand"})
        (seen,) = await eventually(lambda: queues.take_json("seen"))
        assert seen["body"] == "by hand"
    assert queues.count("disabled-work") == 1


async def test_drained_host_takes_no_more_messages_but_ends_what_it_runs(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    queues.add("drained-work", json.dumps({"seconds": 1}))
    with FunctionsHost(SAMPLE_APP, sample_settings | {"SAMPLE_QUEUE": "drained-work"}) as running:
        await eventually(lambda: "Executing (queue 'drained-work'" in running.log)
        assert (await drain_status(running))["state"] == "Disabled"
        await call(running, "/admin/host/drain")
        assert (await drain_status(running))["state"] == "InProgress"
        queues.add("drained-work", "too late")
        await eventually(lambda: queues.take("seen"))

        async def completed() -> bool:
            return bool((await drain_status(running))["state"] == "Completed")

        await eventually(completed)
        async with aiohttp.ClientSession(running.url) as session, session.get("/api/text") as response:
            assert response.status == 200, "HTTP is still served"
    assert queues.take("drained-work") == ["too late"]


async def test_stopping_host_reads_queues_as_long_as_a_request_runs(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    with FunctionsHost(SAMPLE_APP, sample_settings | {"SAMPLE_QUEUE": "late-work"}) as running:
        async with aiohttp.ClientSession(running.url) as session:
            lingering = asyncio.create_task(session.get("/api/linger", params={"seconds": "3"}))
            await eventually(lambda: "lingering" in running.log)
            running.send_signal(signal.SIGTERM)
            await eventually(lambda: not accepts(running.url))
            queues.add("late-work", "after the signal")
            (seen,) = await eventually(lambda: queues.take_json("seen"))
            assert (await lingering).status == 200
        assert seen["body"] == "after the signal"
        assert running.wait() == 0


async def call(host: FunctionsHost, path: str, body: Any = None) -> None:
    """Call the host's own API, which accepts it."""
    headers = {"x-functions-key": host.ready["masterKey"]}
    async with aiohttp.ClientSession(host.url) as session, session.post(path, json=body, headers=headers) as response:
        assert response.status == 202


async def drain_status(host: FunctionsHost) -> Any:
    headers = {"x-functions-key": host.ready["masterKey"]}
    path = "/admin/host/drain/status"
    async with aiohttp.ClientSession(host.url) as session, session.get(path, headers=headers) as response:
        return await response.json()


def accepts(url: str) -> bool:
    """Tell whether anybody listens at a URL's port."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
        return True
    return False


async def test_message_dequeued_too_often_goes_to_the_poison_queue_without_an_invocation(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    queues.add("worn-work", "worn out")
    queues.wear_out("worn-work", 3)
    with FunctionsHost(SAMPLE_APP, sample_settings | {"SAMPLE_QUEUE": "worn-work"}) as running:
        assert await eventually(lambda: queues.take("worn-work-poison")) == ["worn out"]
        assert "dequeued more often" in running.log
    assert queues.take("seen") == []


async def test_failed_message_waits_for_the_visibility_timeout_and_stays_plain_text(
    azurite: Azurite, queues: Queues, tmp_path: Path
) -> None:
    source = """
        import time
        import azure.functions as func

        app = func.FunctionApp()

        @app.queue_trigger(arg_name="message", queue_name="plain-work", connection="Work")
        @app.queue_output(arg_name="$return", queue_name="plain-seen", connection="Work")
        def again(message: func.QueueMessage) -> str:
            if message.dequeue_count == 1:
                raise RuntimeError("later")
            return message.get_body().decode() + " again"
        """
    options = {"messageEncoding": "none", "visibilityTimeout": "00:00:02", "maxPollingInterval": "00:00:00.200"}
    app = write_app(tmp_path / "app", source, {"extensions": {"queues": options}})
    queues.add("plain-work", "grüezi", raw=True)
    with FunctionsHost(app, {"Work": azurite.connection_string}) as running:
        await eventually(lambda: "RuntimeError: later" in running.log)
        failed = time.monotonic()
        assert await eventually(lambda: queues.take("plain-seen", raw=True)) == ["grüezi again"]
        assert time.monotonic() - failed > 1, "Azurite counts whole seconds"


async def test_output_of_the_same_host_is_received_without_waiting_for_the_next_poll(
    azurite: Azurite, queues: Queues, tmp_path: Path
) -> None:
    source = """
        import azure.functions as func

        app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

        @app.route(route="send")
        @app.queue_output(arg_name="out", queue_name="woken-work", connection="Work")
        def send(req: func.HttpRequest, out: func.Out[str]) -> str:
            out.set("wake up")
            return "sent"

        @app.queue_trigger(arg_name="message", queue_name="woken-work", connection="Work")
        def receive(message: str) -> None: ...
        """
    slow_polling = {
        "extensions": {"queues": {"maxPollingInterval": "00:01:00"}},
        "logging": {"logLevel": {"Host": "Debug"}},
    }
    app = write_app(tmp_path / "app", source, slow_polling)
    with FunctionsHost(app, {"Work": azurite.connection_string}) as running:
        await eventually(lambda: re.search(r"next poll in ([6-9]|\d\d)", running.log))
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/api/send") as response:
            assert response.status == 200
        await eventually(lambda: "Executing (queue 'woken-work'" in running.log, seconds=5)


async def test_lease_is_renewed_while_the_function_runs(host: FunctionsHost, queues: Queues) -> None:
    queues.add(WORK_QUEUE, json.dumps({"seconds": 5, "test": "renewal"}))  # the lease is two seconds
    (seen,) = await eventually(lambda: queues.take_json("seen"))
    assert seen["dequeueCount"] == 1
    await eventually(lambda: queues.count(WORK_QUEUE) == 0)
    received = [line for line in host.log.splitlines() if f"message {seen['id']}" in line]
    assert len(received) == 1, "nobody got the message a second time"


async def test_at_most_a_batch_and_a_threshold_run_at_once(host: FunctionsHost, queues: Queues) -> None:
    for number in range(12):
        queues.add(WORK_QUEUE, json.dumps({"seconds": 0.3, "parallel": number}))
    finished: list[str] = []

    def all_seen() -> bool:
        finished.extend(item["invocation"] for item in queues.take_json("seen"))
        return len(finished) == 12

    await eventually(all_seen)
    shorts = {invocation[:8] for invocation in finished}
    running = most = 0
    for line in host.log.splitlines():
        if any(f"on_message {short} " in line for short in shorts):
            running += 1 if "Executing" in line else -1
            most = max(most, running)
    assert 4 <= most <= 6, "batchSize 4 and newBatchThreshold 2"


async def test_message_of_a_killed_host_comes_back_when_its_lease_ends(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    settings = sample_settings | {"SAMPLE_QUEUE": "killed-work"}
    lease = ("--queue-lease", "2")
    queues.add("killed-work", json.dumps({"kills": 1}))
    with FunctionsHost(SAMPLE_APP, settings, lease) as first:
        assert first.wait() == -signal.SIGKILL
    assert queues.count("killed-work") == 1
    with FunctionsHost(SAMPLE_APP, settings, lease):
        (seen,) = await eventually(lambda: queues.take_json("seen"))
    assert seen["dequeueCount"] == 2


async def test_stopping_waits_for_running_functions(sample_settings: dict[str, str], queues: Queues) -> None:
    settings = sample_settings | {"SAMPLE_QUEUE": "stopped-work"}
    queues.add("stopped-work", json.dumps({"seconds": 1}))
    with FunctionsHost(SAMPLE_APP, settings) as running:
        await eventually(lambda: "Executing (queue 'stopped-work'" in running.log)
        assert running.stop() == 0
        assert "Succeeded" in running.log
    assert len(queues.take("seen")) == 1
    assert queues.count("stopped-work") == 0


async def test_function_that_does_not_finish_in_time_leaves_its_message_leased(
    sample_settings: dict[str, str], queues: Queues
) -> None:
    settings = sample_settings | {"SAMPLE_QUEUE": "abandoned-work"}
    queues.add("abandoned-work", json.dumps({"seconds": 30}))
    with FunctionsHost(SAMPLE_APP, settings, ("--grace", "0.2")) as running:
        await eventually(lambda: "Executing (queue 'abandoned-work'" in running.log)
        assert running.stop() == 0
        assert "did not finish in time" in running.log
    assert queues.count("abandoned-work") == 1
    assert queues.take("abandoned-work") == [], "it is invisible for the rest of its lease"

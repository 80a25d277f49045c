"""The Functions host as a process: apps that are wrong, settings, logs, time limits."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dev.testing.functions_host import ROOT, FunctionsHost, eventually, write_app

HELLO = """
    import asyncio
    import logging
    import os
    import sys

    import azure.functions as func

    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    @app.route(route="hello")
    def hello(req: func.HttpRequest) -> func.HttpResponse:
        logging.info("greeting %s", "you", extra={"custom": {"registry": "r"}})
        logging.debug("fine detail")
        return func.HttpResponse(os.environ.get("GREETING", "none"))

    @app.route(route="slow")
    async def slow(req: func.HttpRequest) -> func.HttpResponse:
        try:
            if until := req.params.get("until"):
                while not os.path.exists(until):
                    await asyncio.sleep(0.05)
            else:
                await asyncio.sleep(float(req.params.get("seconds", 1.5)))
        finally:
            print("slow has ended")
        return func.HttpResponse("late")

    @app.route(route="exit")
    async def leave(req: func.HttpRequest) -> func.HttpResponse:
        sys.exit(3)
    """


async def get(host: FunctionsHost, path: str, key: str = "") -> tuple[int, str]:
    headers = {"x-functions-key": key} if key else {}
    async with aiohttp.ClientSession(host.url) as session, session.get(path, headers=headers) as response:
        return response.status, await response.text()


async def status_of(host: FunctionsHost, path: str = "/admin/host/status") -> Any:
    return json.loads((await get(host, path, host.ready["masterKey"]))[1])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dev.functionshost", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


async def test_app_that_cannot_be_imported_leaves_a_running_host_without_functions(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO + "\n    import module_that_nobody_has\n")
    with FunctionsHost(app) as host:
        assert host.ready["functions"] == []
        status = await status_of(host)
        assert status["state"] == "Running"
        assert "errors" not in status
        assert (await get(host, "/api/hello"))[0] == 404
        webhook = "/runtime/webhooks/eventgrid?functionName=on_event"
        assert (await get(host, webhook, host.ready["eventGridKey"]))[0] == 404
        assert "Worker failed to index functions" in host.log
        assert "Traceback" in host.log
        assert "module_that_nobody_has" in host.ready["errors"][0], "only here, for the developer"
        assert host.stop() == 0


def test_app_that_ends_its_process_at_import_ends_the_host(tmp_path: Path) -> None:
    result = run("--app", str(write_app(tmp_path / "app", "raise SystemExit(1)")), "--port", "0")
    assert result.returncode == 2
    assert "ends its process whenever it is imported" in result.stderr
    assert result.stderr.count("The worker process ended by itself") == 3


async def test_function_whose_binding_cannot_be_connected_leaves_the_others(tmp_path: Path) -> None:
    source = (
        HELLO
        + """
    @app.queue_trigger(arg_name="message", queue_name="%NO_SUCH_SETTING%", connection="AzureWebJobsStorage")
    def unresolved(message: func.QueueMessage): ...

    @app.queue_trigger(arg_name="message", queue_name="work", connection="NoSuchConnection")
    def unconnected(message: func.QueueMessage): ...

    @app.queue_trigger(arg_name="message", queue_name="not_a_name", connection="AzureWebJobsStorage")
    def misnamed(message: func.QueueMessage): ...

    @app.blob_trigger(arg_name="blob", path="c/{name}", connection="AzureWebJobsStorage")
    def unsupported(blob: func.InputStream): ...

    @app.timer_trigger(arg_name="timer", schedule="sometimes")
    def unscheduled(timer: func.TimerRequest): ...
    """
    )
    with FunctionsHost(
        write_app(tmp_path / "app", source), {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    ) as host:
        assert host.ready["functions"] == ["hello", "leave", "slow"]
        errors = "\n".join((await status_of(host))["errors"])
        for name in ("unresolved", "unconnected", "misnamed", "unsupported", "unscheduled"):
            assert f"The '{name}' function is in error" in errors
            assert "errors" in await status_of(host, f"/admin/functions/{name}/status")
        assert "%NO_SUCH_SETTING%" in errors
        assert "NoSuchConnection" in errors
        assert (await get(host, "/api/hello"))[0] == 200


async def test_settings_file_reaches_the_app_unless_the_environment_has_the_name(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO)
    (app / "local.settings.json").write_text(json.dumps({"Values": {"GREETING": "from file"}}))
    with FunctionsHost(app) as host:
        assert await get(host, "/api/hello") == (200, "from file")
    with FunctionsHost(app, {"GREETING": "from environment"}) as host:
        assert await get(host, "/api/hello") == (200, "from environment")
        assert "GREETING" in host.log


async def test_disabled_function_does_not_answer(tmp_path: Path) -> None:
    with FunctionsHost(write_app(tmp_path / "app", HELLO), {"AzureWebJobs.hello.Disabled": "true"}) as host:
        assert (await get(host, "/api/hello"))[0] == 404
        assert (await status_of(host, "/admin/functions/hello/status"))["isDisabled"] is True
        assert "hello" not in host.ready["functions"]


async def test_disabled_function_runs_for_the_master_key_alone(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO.replace("AuthLevel.ANONYMOUS", "AuthLevel.FUNCTION"))
    with FunctionsHost(app, {"AzureWebJobs.hello.Disabled": "true"}) as host:
        assert (await get(host, "/api/hello"))[0] == 401
        assert (await get(host, "/api/hello", host.ready["functionKey"]))[0] == 404
        assert (await get(host, "/api/hello", host.ready["masterKey"]))[0] == 200


async def test_function_that_exceeds_its_time_limit_takes_the_others_of_its_process_with_it(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO, {"functionTimeout": "00:00:05"})
    with FunctionsHost(app) as host:
        first = asyncio.create_task(get(host, "/api/slow?seconds=30"))
        await eventually(lambda: host.log.count("Executing (GET /api/slow)") == 1)
        await get(host, "/api/slow?seconds=4")  # so the second one's limit ends four seconds after the first one's
        second = asyncio.create_task(get(host, "/api/slow?seconds=4.5"))
        assert (await first)[0] == 500
        assert (await get(host, "/api/hello"))[0] == 200, "a new process serves what comes after"
        assert not second.done(), "nobody answers it, and nobody says so"
        assert (await second)[0] == 500
        assert host.log.count("Timeout value of 0:00:05 exceeded") == 2
        assert host.log.count("Restarting worker process") == 1
        assert host.log.count("slow has ended") == 1, "the process was killed, not asked"


async def test_function_that_ends_its_process_fails_what_the_process_runs_and_the_host_goes_on(tmp_path: Path) -> None:
    with FunctionsHost(write_app(tmp_path / "app", HELLO)) as host:
        other = asyncio.create_task(get(host, "/api/slow?seconds=60"))
        await eventually(lambda: "Executing (GET /api/slow)" in host.log)
        assert (await get(host, "/api/exit"))[0] == 500
        assert (await other)[0] == 500
        assert (await get(host, "/api/hello"))[0] == 200


async def test_third_end_of_the_worker_ends_the_host(tmp_path: Path) -> None:
    with FunctionsHost(write_app(tmp_path / "app", HELLO)) as host:
        for _ in range(3):
            assert (await get(host, "/api/exit"))[0] == 500
        assert host.wait() == 1
        assert "Exceeded language worker restart retry count" in host.log


async def test_json_logs_carry_the_extras_of_the_app(tmp_path: Path) -> None:
    with FunctionsHost(write_app(tmp_path / "app", HELLO), arguments=("--log-format", "json")) as host:
        await get(host, "/api/hello")
        await eventually(lambda: "Succeeded" in host.log)
        records = [json.loads(line) for line in host.log.splitlines() if line.startswith("{")]
    greeting = next(record for record in records if record["message"] == "greeting you")
    assert greeting["custom"] == {"registry": "r"}
    assert (greeting["function"], greeting["level"]) == ("hello", "INFO")
    finished = next(record for record in records if record["message"].startswith("Succeeded"))
    assert finished["invocationId"] == greeting["invocationId"]


async def test_log_levels_of_host_json_are_obeyed(tmp_path: Path) -> None:
    levels = {"default": "Information", "Function.hello": "Warning", "Function.slow.User": "Debug"}
    app = write_app(tmp_path / "app", HELLO, {"logging": {"logLevel": levels}})
    with FunctionsHost(app) as host:
        await get(host, "/api/hello")
        await get(host, "/api/slow")
        await eventually(lambda: "slow" in host.log and "Succeeded" in host.log)
        assert "greeting you" not in host.log
        assert "hello " not in host.log.partition("Event Grid key")[2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_app_ends_with_its_host_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    source = HELLO.replace('os.environ.get("GREETING", "none")', "str(os.getpid())")
    with FunctionsHost(write_app(tmp_path / "app", source)) as host:
        worker = (await get(host, "/api/hello"))[1]
        assert int(worker) != host.pid
        host.send_signal(number)
        host.wait()

        def gone() -> bool:
            listed = subprocess.run(["ps", "-o", "stat=", "-p", worker], capture_output=True, text=True, check=False)
            return listed.stdout.strip()[:1] in ("", "Z")

        await eventually(gone)


async def test_stopping_host_answers_its_requests_and_takes_no_more(tmp_path: Path) -> None:
    released = tmp_path / "released"
    with FunctionsHost(write_app(tmp_path / "app", HELLO)) as host:
        running = asyncio.create_task(get(host, f"/api/slow?until={released}"))
        await eventually(lambda: "Executing (GET /api/slow)" in host.log)
        host.send_signal(signal.SIGTERM)

        async def refused() -> bool:
            try:
                await get(host, "/api/hello")
            except aiohttp.ClientConnectionError:
                return True
            return False

        await eventually(refused)
        assert not running.done()
        released.touch()
        assert await running == (200, "late")
        assert host.wait() == 0


async def test_request_that_does_not_end_in_time_is_cut_off_without_a_word(tmp_path: Path) -> None:
    with FunctionsHost(
        write_app(tmp_path / "app", HELLO), arguments=("--request-grace", "0.5", "--grace", "0.5")
    ) as host:
        running = asyncio.create_task(get(host, "/api/slow?seconds=60"))
        await eventually(lambda: "Executing (GET /api/slow)" in host.log)
        assert host.stop() == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await running
        assert "1 invocations did not finish in time" in host.log
        assert "slow has ended" not in host.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_signal_ends_the_host_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    with FunctionsHost(write_app(tmp_path / "app", HELLO)) as host:
        host.send_signal(number)
        assert host.wait() == 0


async def test_key_of_a_function_opens_that_function_alone(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO.replace("AuthLevel.ANONYMOUS", "AuthLevel.FUNCTION"))
    with FunctionsHost(app) as host:
        key = (await status_of(host, "/admin/functions/hello/keys"))["keys"][0]["value"]
        assert (await get(host, "/api/hello", key))[0] == 200
        assert (await get(host, "/api/exit", key))[0] == 401


async def test_keys_can_be_given(tmp_path: Path) -> None:
    environment = {"LOCALAZURE_FUNCTIONS_FUNCTION_KEY": "from-environment"}
    with FunctionsHost(write_app(tmp_path / "app", HELLO), environment, ("--master-key", "from-flag")) as host:
        assert (host.ready["masterKey"], host.ready["functionKey"]) == ("from-flag", "from-environment")
        assert (await get(host, "/admin/host/status", "from-flag"))[0] == 200


def test_directory_without_host_json_is_refused(tmp_path: Path) -> None:
    result = run("--app", str(tmp_path))
    assert result.returncode == 2
    assert "no host.json" in result.stderr


async def test_port_in_use_is_reported(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO)
    with FunctionsHost(app) as host:
        port = host.url.rpartition(":")[2]
        result = run("--app", str(app), "--port", port)
    assert result.returncode == 2
    assert f"port {port} cannot be used" in result.stderr

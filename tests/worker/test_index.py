"""The official worker finds every function, with the bindings that host and infrastructure rely on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dev.testing.functions_host import write_app
from tests.worker.payloads import INVOCATIONS
from tests.worker.worker import APP, IndexingFailed, Worker, needs_worker

pytestmark = needs_worker


def queue_output(name: str, queue: str) -> dict[str, Any]:
    return {
        "type": "queue", "direction": "OUT", "name": name, "queueName": queue, "connection": "AzureWebJobsStorage",
    }  # fmt: skip


def event_trigger() -> dict[str, Any]:
    return {"type": "eventGridTrigger", "direction": "IN", "name": "event"}


def queue_trigger(queue: str) -> dict[str, Any]:
    return {
        "type": "queueTrigger", "direction": "IN", "name": "message", "queueName": queue,
        "connection": "AzureWebJobsStorage",
    }  # fmt: skip


def http(method: str, route: str) -> list[dict[str, Any]]:
    trigger = {
        "type": "httpTrigger", "direction": "IN", "name": "request", "methods": [method], "route": route,
        "authLevel": "FUNCTION",
    }  # fmt: skip
    return [trigger, {"type": "http", "direction": "OUT", "name": "$return"}]


EXPECTED: dict[str, list[dict[str, Any]]] = {
    "base_image_pushed": [event_trigger(), queue_output("request", "fan-outs")],
    "team_registry_changed": [event_trigger(), queue_output("requests", "rebuild-requests")],
    "fan_out_requested": [queue_trigger("fan-outs")],
    "rebuild_requested": [queue_trigger("rebuild-requests")],
    "run_followed": [queue_trigger("run-checks")],
    "start_run": http("POST", "registries/{registry}/runs"),
    "start_fleet": [*http("POST", "runs"), queue_output("rebuilds", "fan-outs")],
    "replay": http("POST", "rebuilds/replay"),
    "show_registry": http("GET", "registries/{registry}"),
    "show_run": http("GET", "registries/{registry}/runs/{runId}"),
    "show_log": http("GET", "registries/{registry}/runs/{runId}/logs"),
    "queues_watched": [{"type": "timerTrigger", "direction": "IN", "name": "timer", "schedule": "0 */5 * * * *"}],
}


def test_every_function_is_indexed_with_its_bindings(unconfigured: Worker) -> None:
    def by_name(bindings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {binding["name"]: binding for binding in bindings}

    found = {name: by_name(unconfigured.bindings(name)) for name in unconfigured.functions}
    assert found == {name: by_name(bindings) for name, bindings in EXPECTED.items()}


def test_every_function_is_invoked_by_these_tests() -> None:
    assert set(INVOCATIONS) == set(EXPECTED)


def test_retries_are_left_to_event_grid_and_the_queue(unconfigured: Worker) -> None:
    assert {name for name, found in unconfigured.functions.items() if found.retry_options is not None} == set()


def test_indexing_needs_no_environment_and_makes_no_connection() -> None:
    with Worker() as worker:
        assert set(worker.functions) == set(EXPECTED)
        assert worker.connections() == []


async def test_domain_that_cannot_be_imported_fails_invocations_and_keeps_all_functions(tmp_path: Path) -> None:
    shutil.copy(APP / "function_app.py", tmp_path)
    shutil.copytree(APP / "handlers", tmp_path / "handlers")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/__init__.py").write_text("import no_such_package\n", encoding="utf-8")
    with Worker(app=tmp_path) as worker:
        assert set(worker.functions) == set(EXPECTED)
        for function, invoke in INVOCATIONS.items():
            assert (await invoke(worker)).error == "ModuleNotFoundError: No module named 'no_such_package'", function


async def test_connections_of_an_invocation_are_noticed(cut_off: Worker) -> None:
    before = len(cut_off.connections())
    await cut_off.queue("rebuild_requested", "not JSON")
    assert len(cut_off.connections()) > before


GOOD = """
    from typing import List
    import azure.functions as func

    app = func.FunctionApp()

    @app.queue_trigger(arg_name="message", queue_name="work", connection="AzureWebJobsStorage")
    def good(message: func.QueueMessage) -> None:
        pass
"""
TRAPS = {
    "builtin list in Out": (
        """
    @app.event_grid_trigger(arg_name="event")
    @app.queue_output(arg_name="requests", queue_name="work", connection="AzureWebJobsStorage")
    def bad(event: func.EventGridEvent, requests: func.Out[list[str]]) -> None:
        pass
""",
        "invalid non-type annotation",
    ),
    "parameter without a binding": (
        """
    @app.event_grid_trigger(arg_name="event")
    def bad(event: func.EventGridEvent, services: object = None) -> None:
        pass
""",
        "declared in Python but not in the function definition",
    ),
    "setting read at import": (
        """
    import os
    os.environ["GROUNDSWELL_SUBSCRIPTIONS"]
""",
        "KeyError: 'GROUNDSWELL_SUBSCRIPTIONS'",
    ),
    "two functions of one name": (
        """
    @app.function_name("good")
    @app.queue_trigger(arg_name="message", queue_name="more", connection="AzureWebJobsStorage")
    def bad(message: func.QueueMessage) -> None:
        pass
""",
        "good",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_app_that_azure_would_not_index_fails_here(tmp_path: Path, trap: str) -> None:
    source, reason = TRAPS[trap]
    with pytest.raises(IndexingFailed, match=reason), Worker(app=write_app(tmp_path, GOOD + source)):
        pass


async def test_handler_that_returns_a_value_without_a_binding_for_it_fails_here(tmp_path: Path) -> None:
    source = GOOD.replace("-> None:\n        pass", ":\n        return [message.id]")
    with Worker(app=write_app(tmp_path, source)) as worker:
        assert "returned a non-None value" in (await worker.queue("good", "{}")).error

"""What is counted of runs, and the trace that leads from an event to the end of its run."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry
from tests.integration.company_life import push_event
from tests.integration.test_tracing import TRACE, invocation, traces
from tests.integration.walks.steps import HOUR, MINUTE, Company, ask, deliver, later, push, walk, work_off
from tests.integration.world import OPTED_IN, TASKS, TEAM, registry_id
from tests.unit.test_telemetry import spans, trace_of

__all__ = ["spans"]

FIRST = {"registry": TEAM, "task": "helloworldtask", "cause": "first-run"}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is counted of rebuilds."""
    found: list[dict[str, Any]] = []

    class Counter:
        def add(self, _: int, attributes: dict[str, Any]) -> None:
            found.append(attributes)

    monkeypatch.setattr(telemetry, "_rebuilds", Counter())
    return found


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, dict[str, Any]]]:
    """Seconds from a push to its run."""
    found: list[tuple[float, dict[str, Any]]] = []

    class Histogram:
        def record(self, value: float, attributes: dict[str, Any]) -> None:
            found.append((value, attributes))

    monkeypatch.setattr(telemetry, "_push_to_run", Histogram())
    return found


async def test_runs_are_counted_with_registry_task_and_cause(
    company: Company, counted: list[dict[str, Any]], measured: list[tuple[float, dict[str, Any]]]
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    await push(company, "one")
    await work_off(company)
    assert counted == [{"outcome": "scheduled", **FIRST}, {"outcome": "succeeded", **FIRST}]
    await push(company, "two")
    await work_off(company)
    assert counted[2:] == [
        {"outcome": outcome, **FIRST, "cause": "base-image-changed"} for outcome in ("scheduled", "succeeded")
    ]
    ((seconds, dimensions),) = measured
    assert 0 <= seconds < MINUTE
    assert dimensions == {"task": "helloworldtask"}
    await ask(company)
    await work_off(company)
    assert counted[4:] == [{"outcome": o, **FIRST, "cause": "asked-for"} for o in ("scheduled", "succeeded")]


async def test_run_that_was_too_early_is_counted_as_repeated_and_the_last_one_as_failed(
    company: Company, counted: list[dict[str, Any]]
) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    company.azure.rbac.delay = timedelta(days=1000)
    await push(company, "one")
    await work_off(company)
    for _ in range(6):
        await later(company, 5 * MINUTE)
        await walk(company)
    outcomes = [each["outcome"] for each in counted if each["outcome"] != "scheduled"]
    assert outcomes[:-1] == ["repeated"] * (len(outcomes) - 1)
    assert outcomes[-1] == "failed"


@pytest.mark.parametrize("way", ["canceled", "lost", "refused"])
async def test_run_that_comes_to_nothing_is_counted_as_failed(
    company: Company, counted: list[dict[str, Any]], way: str
) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    if way == "refused":
        body = {"error": {"code": "TasksOperationsNotAllowed", "message": "ACR Tasks requests are not permitted."}}
        company.fault(path=".*/scheduleRun", status=400, body=body, times=-1)
    await push(company, "one")
    await work_off(company)
    if way == "canceled":
        (run,) = await company.runs()
        await company.arm("POST", f"{registry_id(TEAM)}/runs/{run['runId']}/cancel", api_version=TASKS)
    if way == "lost":
        gone = {"error": {"code": "RunNotFound", "message": "The run could not be found."}}
        company.fault(method="GET", path=".*/runs/[^/]+", status=404, body=gone, times=-1)
    await later(company, MINUTE)
    await walk(company)
    assert [each["outcome"] for each in counted if each["outcome"] != "scheduled"] == ["failed"]


async def test_message_that_is_none_is_counted_as_set_aside(company: Company, counted: list[dict[str, Any]]) -> None:
    await company.groundswell.calls.called(b'{"hello": "world"}', "one")
    assert [each["outcome"] for each in counted] == ["set-aside"]


async def test_run_is_followed_in_the_trace_of_its_event_whoever_follows_it(
    company: Company, spans: InMemorySpanExporter
) -> None:
    company.azure.agent.pace = HOUR
    await company.create_registry(TEAM, tags=OPTED_IN)
    digest = await company.push()
    with invocation():
        await deliver(company, push_event(digest))
    await work_off(company)
    company.azure.agent.pace = 0
    await later(company, 6 * HOUR)
    spans.clear()
    await walk(company)
    (run,) = [span for span in spans.get_finished_spans() if span.name == "run"]
    assert trace_of(run) == TRACE
    assert run.attributes
    assert (run.attributes["groundswell.registry"], run.attributes["groundswell.status"]) == (TEAM, "Succeeded")


async def test_message_that_comes_back_stays_in_its_trace(company: Company) -> None:
    await company.create_registry(TEAM, tags=OPTED_IN)
    with invocation():
        message = company.groundswell.hearing.team_registry_changed(
            {
                "id": "created",
                "eventType": "Microsoft.Resources.ResourceWriteSuccess",
                "data": {
                    "operationName": "Microsoft.ContainerRegistry/registries/write",
                    "resourceUri": registry_id("later"),
                },
            }
        )
    assert message
    await company.groundswell.calls.called(message.encode(), "one")
    assert traces(await company.take("walks")) == [TRACE]


async def test_log_names_the_event_that_a_run_comes_from(company: Company, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")
    await company.create_registry(TEAM, tags=OPTED_IN)
    event = push_event(await company.push())
    await deliver(company, event)
    await work_off(company)
    for sentence in ("base image pushed", "base images moved", "run started", "run ended"):
        (line,) = [record for record in caplog.records if record.getMessage().startswith(sentence)]
        assert vars(line)["groundswell.event_id"] == event["id"], sentence

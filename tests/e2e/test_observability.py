"""What Application Insights gets to see of a running Groundswell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pytest

from dev.testing.functions_host import eventually
from tests.e2e.company import Company
from tests.insights import Insights
from tests.integration.world import IMAGE, OPTED_IN, TEAM, task_id


@pytest.fixture
def insights(monkeypatch: pytest.MonkeyPatch) -> Iterator[Insights]:
    """Application Insights; a host that is started afterwards sends its telemetry there."""
    with Insights() as insights:
        for name, value in insights.environment.items():
            monkeypatch.setenv(name, value)
        yield insights


async def run_now(company: Company, function: str) -> None:
    """Run a function out of turn, as its schedule would."""
    url = f"{company.host.url}/admin/functions/{function}"
    headers = {"x-functions-key": company.host.ready["masterKey"]}
    assert (await company.world.owner.request("POST", url, headers=headers, json={"input": ""})).status == 202


async def test_push_can_be_followed_in_one_trace_from_its_event_to_the_end_of_its_run(
    insights: Insights, company: Company
) -> None:
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()
    await company.world.push("one")
    (run,) = await company.runs_ended(1)
    ((trace, ended),) = await eventually(lambda: insights.spans("run"))
    assert ended["groundswell.run_id"] == run["runId"]
    assert (ended["groundswell.registry"], ended["groundswell.task"]) == (TEAM, "helloworldtask")
    for function in ("base_image_pushed", "fan_out_requested", "rebuild_requested", "run_followed"):
        found = await eventually(partial(insights.spans, function))
        assert trace in [operation for operation, _ in found], function
    journal = company.world.azure.journal.since(caller=company.world.app.name, operation=".*/scheduleRun/action")
    assert [entry["traceparent"].split("-")[1] for entry in journal] == [trace]
    for sentence in ("base image pushed", "rebuilds asked for", "rebuild handled", "run ended"):
        found = await eventually(partial(insights.traces, sentence))
        assert trace in [operation for operation, _ in found], sentence
    ((_, fields),) = insights.traces("run ended")
    assert fields["groundswell.run_id"] == run["runId"]


async def test_outcomes_are_counted_and_no_secret_is_told(insights: Insights, company: Company) -> None:
    world = company.world
    await world.create_registry(TEAM, tags=OPTED_IN)
    await company.ready()

    async def counted(name: str, **dimensions: str) -> None:
        await eventually(lambda: insights.metric(f"groundswell.{name}", **dimensions))

    rebuild = {"registry": TEAM, "task": "helloworldtask", "cause": "base-image-pushed"}
    await world.push("other", image="other/image:1")
    await counted("events", function="base_image_pushed", decision="not-in-policy")
    world.fault(path=".*/scheduleRun", status=429, headers={"Retry-After": "1"})
    await world.push("one")
    await company.runs_ended(1)
    await counted("events", function="base_image_pushed", decision="accepted")
    for outcome in ("requested", "scheduled", "succeeded"):
        await counted("rebuilds", outcome=outcome, **rebuild)
    subscription = task_id().split("/")[2]
    await counted("arm.calls", subscription=subscription, method="GET", status="200")
    await counted("arm.throttled", subscription=subscription)
    await counted("push_to_run", task="helloworldtask")
    await counted("run_duration", task="helloworldtask", status="Succeeded")

    # A run that fails, whose log is read by a link that is a secret.
    repository = "https://github.com/contoso/nowhere.git"
    tags = {**OPTED_IN, "base-image-rebuilds.contextUrl": repository}
    await world.create_registry(TEAM, tags=tags)
    await world.push("two")
    await company.runs_ended(2)
    # Asked for by the push, or by the new tags if their event is handled after it.
    await counted("rebuilds", outcome="failed", registry=TEAM, task="helloworldtask")
    # A message that can never be done.
    world.fault(path=".*/scheduleRun", times=-1, status=400, body={"error": {"code": "TasksOperationsNotAllowed"}})
    await world.push("three")
    await counted("rebuilds", outcome="set-aside", **rebuild)
    world.azure.front.faults.clear()
    await run_now(company, "queues_watched")
    await counted("queue.messages", queue="rebuild-requests-poison")
    await counted("push.age")
    # The host begins no trace for a timer: what its run asks of storage is in one all the same.
    ((watched, _), *_) = await eventually(lambda: insights.spans("queues_watched"))
    looks = await eventually(lambda: insights.spans("QueueClient.get_queue_properties"))
    assert watched in [trace for trace, _ in looks]

    started = await company.api("POST", f"/registries/{TEAM}/runs", {"baseImage": IMAGE})
    assert started.status == 202, started.text
    await eventually(lambda: insights.spans("start_run"))
    told = insights.text + company.host.log
    secrets = {
        "token": r"\beyJ[\w-]{20,}",
        "signature of a link": r"[?&]sig=(?!REDACTED)",
        "storage key": re.escape(re.findall(r"AccountKey=([^;]+)", world.storage)[0]),
        "identity header": re.escape(world.app.header),
        "claims": r"(?i)\bclaims\b",
        "authorization header": r"(?i)bearer ",
    }
    assert {name for name, pattern in secrets.items() if re.search(pattern, told)} == set()
    # The local host prints its keys for its user.
    assert company.host.ready["functionKey"] not in insights.text

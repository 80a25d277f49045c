"""The HTTP API as people use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dev.testing.azure import SUBSCRIPTION
from tests.e2e.company import SITE, Company
from tests.integration.world import BASE, GROUP, IMAGE, OPTED_IN, TASKS, TEAM, registry_id, task_id


async def onboarded(company: Company, *names: str) -> None:
    for name in names:
        await company.world.create_registry(name, tags=OPTED_IN)
    for name in names:
        await company.ready(name)


async def test_run_asked_for_now_is_accepted_with_its_id_status_and_log(company: Company) -> None:
    await company.world.push()
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.runs_ended(1)
    reply = await company.api("POST", f"/registries/{TEAM}/runs")
    assert reply.status == 202
    run_id = reply.body["runId"]
    assert reply.headers["Location"] == f"/api/registries/{TEAM}/runs/{run_id}"
    await company.runs_ended(2)
    run = (await company.api("GET", f"/registries/{TEAM}/runs/{run_id}")).body
    assert (run["status"], run["task"]) == ("Succeeded", "helloworldtask")
    assert run["images"][0].startswith(f"{TEAM}.azurecr.io/hello-world:{run_id}@sha256:")
    log = await company.api("GET", f"/registries/{TEAM}/runs/{run_id}/logs")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert f"Run ID: {run_id} was successful after" in log.text


async def test_run_asked_for_twice_runs_twice_but_once_with_an_idempotency_key(company: Company) -> None:
    await company.world.push()
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    await company.runs_ended(1)
    ids = [(await company.api("POST", f"/registries/{TEAM}/runs")).body["runId"] for _ in range(2)]
    assert len(set(ids)) == 2
    key = {"Idempotency-Key": "deploy-4711"}
    again = [(await company.api("POST", f"/registries/{TEAM}/runs", **key)).body["runId"] for _ in range(2)]
    assert len(set(again)) == 1
    assert len(await company.runs_ended(4)) == 4


async def test_run_of_a_registry_that_was_never_onboarded_onboards_it_first(company: Company) -> None:
    await company.unsubscribe()
    await company.world.push()
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    reply = await company.api("POST", f"/registries/{TEAM}/runs", {"task": "helloworldtask", "baseImage": IMAGE})
    assert reply.body["writes"] == [
        "create identity myACRTasksId",
        "grant AcrPull on mybaseregistry",
        "write task helloworldtask",
    ]
    (run,) = await company.runs_ended(1)
    assert run["status"] == "Succeeded"


async def test_whole_fleet_is_rebuilt_on_request(company: Company) -> None:
    await onboarded(company, "shopteam", "mailteam")
    await company.world.create_registry("otherteam")
    await company.world.push()
    for name in ("shopteam", "mailteam"):
        await company.runs_ended(1, name)
    reply = await company.api("POST", "/runs", {"baseImage": f"{BASE}.azurecr.io/{IMAGE}"})
    assert (reply.status, reply.body) == (202, {"queued": 2})
    for name in ("shopteam", "mailteam"):
        runs = await company.runs_ended(2, name)
        assert {run["status"] for run in runs} == {"Succeeded"}


async def test_registry_shows_its_conditions_with_reasons(company: Company) -> None:
    await onboarded(company, TEAM)
    (task,) = (await company.api("GET", f"/registries/{TEAM}")).body["tasks"]
    assert [c["type"] for c in task["conditions"]] == ["identity", "task", "grant", "credential", "network", "values"]
    assert {c["status"] for c in task["conditions"]} == {"True"}
    credentials = {"credentials": {"customRegistries": {f"{BASE}.azurecr.io": None}}}
    await company.world.arm(
        "PATCH",
        f"{registry_id(TEAM)}/tasks/helloworldtask",
        {"properties": credentials},
        api_version="2025-03-01-preview",
    )
    (task,) = (await company.api("GET", f"/registries/{TEAM}")).body["tasks"]
    assert task["ready"] is False
    wrong = next(c for c in task["conditions"] if c["type"] == "credential")
    assert (wrong["status"], wrong["message"]) == (
        "False",
        "The task cannot log in: no credential for mybaseregistry.azurecr.io.",
    )


async def test_team_sees_that_its_override_was_refused(company: Company) -> None:
    await company.world.push()
    await company.world.create_registry(TEAM, tags={**OPTED_IN, "base-image-rebuilds.image": "a b; rm -rf"})
    (task,) = (await company.api("GET", f"/registries/{TEAM}")).body["tasks"]
    values = next(c for c in task["conditions"] if c["type"] == "values")
    assert (task["ready"], values["status"], values["reason"]) == (False, "False", "Refused")
    assert "base-image-rebuilds.image" in values["message"]
    reply = await company.api("POST", f"/registries/{TEAM}/runs")
    assert (reply.status, "until its tags are fixed" in reply.body["detail"]) == (409, True)
    assert await company.world.runs() == []
    await company.world.create_registry(TEAM, tags=OPTED_IN)
    assert [run["status"] for run in await company.runs_ended(1)] == ["Succeeded"]
    assert (await company.ready())["tasks"][0]["problems"] == []


async def test_body_sent_in_chunks_rebuilds_nothing_and_gets_411(company: Company) -> None:
    await onboarded(company, TEAM)

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"baseImage": "other/image:1"}'

    for path in ("/runs", f"/registries/{TEAM}/runs", "/rebuilds/replay"):
        reply = await company.api("POST", path, chunks(), **{"Content-Type": "application/json"})
        assert (reply.status, reply.headers["Content-Type"]) == (411, "application/problem+json")
        assert "Content-Length" in reply.body["detail"]
    assert await company.world.runs() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("POST", "/registries/nowhere/runs", None, 404, "no registry 'nowhere'"),
        ("GET", "/registries/nowhere", None, 404, "no registry 'nowhere'"),
        ("GET", f"/registries/{TEAM}/runs/cf999", None, 404, "no run 'cf999'"),
        ("GET", f"/registries/{TEAM}/runs/cf999/logs", None, 404, "no run 'cf999'"),
        ("GET", f"/registries/{TEAM}/runs/a%20b", None, 404, "no run id"),
        ("POST", f"/registries/{TEAM}/runs", '{"task": "other"}', 404, "no task 'other'; it has helloworldtask"),
        ("POST", f"/registries/{TEAM}/runs", "{", 400, "The body: Invalid JSON"),
        ("POST", f"/registries/{TEAM}/runs", "[]", 400, "The body"),
        ("POST", f"/registries/{TEAM}/runs", '{"baseImage": 7}', 400, "baseImage"),
        ("POST", f"/registries/{TEAM}/runs", '{"image": "x"}', 400, "image"),
        ("POST", f"/registries/{TEAM}/runs", '{"baseImage": "a b"}', 400, "write repository:tag"),
        ("POST", f"/registries/{TEAM}/runs", '{"baseImage": "other/image:1"}', 400, "does not build on other/image:1"),
        ("POST", "/runs", '{"baseImage": "other/image:1"}', 400, "No task of the policy builds on"),
        ("POST", "/runs", '{"registry": "x"}', 400, "registry"),
        ("POST", "/runs", "{}", 400, '{"all": true}'),
        ("POST", "/runs", None, 400, '{"all": true}'),
        ("POST", "/runs", '{"all": false}', 400, '{"all": true}'),
        ("POST", "/runs", '{"baseImage": "docker.io/library/node:15"}', 400, "another registry"),
        ("POST", "/rebuilds/replay", '{"queue": "fan-outs"}', 400, "queue"),
        ("POST", f"/registries/{TEAM}/runs", "", 411, "Content-Length"),
        ("POST", f"/registries/{TEAM}/runs", None, 404, "does not exist in mybaseregistry: push it first"),
        ("POST", "/registries/notselected/runs", None, 409, "set the tag base-image-rebuilds=enabled"),
        ("POST", "/registries/pausedteam/runs", None, 409, "paused"),
        ("POST", f"/registries/{BASE}/runs", None, 409, "base registry"),
        ("GET", f"/registries/{BASE}", None, 409, "base registry"),
    ],
)  # fmt: skip
async def test_mistakes_get_a_problem_that_says_what_to_do(
    bystanders: Company, method: str, path: str, body: str | None, status: int, detail: str
) -> None:
    reply = await bystanders.api(method, path, body)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert detail in reply.body["detail"]
    assert reply.body["status"] == status
    if status == 400:
        assert "field" in reply.body or detail in ("The body", '{"all": true}') or "JSON" in detail


async def test_throttling_is_passed_on_as_503_with_the_delay(company: Company) -> None:
    await onboarded(company, TEAM)
    await company.world.push()
    await company.runs_ended(1)
    company.world.fault(path=".*/scheduleRun", status=429, headers={"Retry-After": "33"})
    reply = await company.api("POST", f"/registries/{TEAM}/runs")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "33")


async def test_what_only_a_person_can_change_is_no_503_and_only_a_missing_right_advises_a_role(
    company: Company,
) -> None:
    await onboarded(company, TEAM)
    await company.world.push()
    await company.runs_ended(1)
    policy = {"kind": "policy", "scope": GROUP, "name": "tags-for-all", "tag": "costCenter"}
    await company.world.arm("DELETE", task_id(), api_version=TASKS)
    refusals = [
        ({"kind": "lock", "scope": registry_id(TEAM)}, "Remove the lock"),
        ({"kind": "disabled", "scope": SUBSCRIPTION}, "Have the subscription enabled again"),
        (policy, f"tags-for-all ({GROUP}/providers/Microsoft.Authorization/policyAssignments/tags-for-all)"),
    ]
    for restriction, advice in refusals:
        assert (await company.world.owner.control("POST", "/restrictions", restriction)).status == 201
        reply = await company.api("POST", f"/registries/{TEAM}/runs")
        assert (reply.status, reply.body["title"]) == (502, "Azure refused")
        assert "Retry-After" not in reply.headers
        assert advice in reply.body["detail"]
        assert "app-roles" not in reply.body["detail"]
        await company.world.owner.control("DELETE", "/restrictions")
    body = {"error": {"code": "AuthorizationFailed", "message": "No."}}
    company.world.fault(path=".*/scheduleRun", status=403, body=body)
    reply = await company.api("POST", f"/registries/{TEAM}/runs")
    assert reply.status == 502
    assert "infra/app-roles.json" in reply.body["detail"]


async def test_api_wants_its_key(company: Company) -> None:
    for method, path in (("POST", "/runs"), ("GET", f"/registries/{TEAM}"), ("POST", f"/registries/{TEAM}/runs")):
        reply = await company.world.owner.request(method, f"{company.host.url}/api{path}")
        assert reply.status == 401


async def test_request_without_a_body_is_taken_at_the_apps_own_address_too(company: Company) -> None:
    app = (await company.world.owner.arm("GET", SITE, api_version="2024-04-01")).body["properties"]["defaultHostName"]
    headers = {"x-functions-key": company.host.ready["functionKey"]}
    reply = await company.world.owner.request(
        "POST", f"https://{app}/api/rebuilds/replay", headers=headers, skip_auto_headers=["Content-Type"]
    )
    assert (reply.status, reply.body) == (202, {"replayed": 0, "kept": 0})

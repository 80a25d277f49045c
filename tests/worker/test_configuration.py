"""A broken policy or a missing setting fails invocations with its reason, and never makes functions disappear."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.worker.payloads import HTTP_FUNCTIONS, INVOCATIONS, image_pushed
from tests.worker.worker import APP, Reply, Worker, needs_worker

pytestmark = needs_worker

# run_followed, show_run and show_log ask about a run that exists already, and replay judges no message: no policy is
# needed for that.
POLICY_READERS = (
    "base_image_pushed",
    "team_registry_changed",
    "fan_out_requested",
    "rebuild_requested",
    "start_fleet",
)


def assert_fails_with(reply: Reply, function: str, reason: str) -> None:
    if function in HTTP_FUNCTIONS:
        assert reply.http.status_code == "500"
        assert reply.http.headers["content-type"] == "application/problem+json"
        assert reason in reply.json["detail"]
    else:
        assert reply.error.startswith("ConfigurationError: ")
        assert reason in reply.error
    assert reply.outputs == {}


@pytest.mark.parametrize("function", INVOCATIONS)
async def test_missing_setting_fails_the_invocation_by_name(unconfigured: Worker, function: str) -> None:
    reply = await INVOCATIONS[function](unconfigured)
    assert_fails_with(reply, function, "GROUNDSWELL_SUBSCRIPTIONS: is required")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GROUNDSWELL_SUBSCRIPTIONS", "my-subscription"),
        ("GROUNDSWELL_ARM_ENDPOINT", "http://management.azure.com/"),
        ("GROUNDSWELL_RUN_CHECK_SECONDS", "soon"),
    ],
)
async def test_wrong_setting_fails_the_invocation_by_name(
    settings: dict[str, str], no_azure: dict[str, str], name: str, value: str
) -> None:
    with Worker(settings | no_azure | {name: value}) as worker:
        assert set(worker.functions) == set(INVOCATIONS)
        assert_fails_with(await INVOCATIONS["base_image_pushed"](worker), "base_image_pushed", name)


async def test_missing_storage_fails_the_invocation_by_name(settings: dict[str, str]) -> None:
    with Worker({k: v for k, v in settings.items() if k != "AzureWebJobsStorage"}) as worker:
        assert_fails_with(await INVOCATIONS["run_followed"](worker), "run_followed", "AzureWebJobsStorage__accountName")


async def test_policy_broken_and_mended_fails_and_works_again_without_a_restart(
    settings: dict[str, str], no_azure: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(APP / "policy", tmp_path / "policy")
    policy = tmp_path / "policy/rebuilds.yaml"
    sound = policy.read_text(encoding="utf-8")
    policy.write_text(sound.replace("type: UserAssigned", "type: Password"), encoding="utf-8")
    with Worker(settings | no_azure | {"GROUNDSWELL_POLICY": str(policy)}) as worker:
        assert set(worker.functions) == set(INVOCATIONS)
        for function in POLICY_READERS:
            reply = await INVOCATIONS[function](worker)
            assert_fails_with(reply, function, f"{policy} is wrong. identity:")
        policy.write_text(sound, encoding="utf-8")
        assert (await worker.event_grid("base_image_pushed", image_pushed("otherregistry"))).error == ""


async def test_missing_policy_fails_the_invocation_by_name(settings: dict[str, str], no_azure: dict[str, str]) -> None:
    with Worker(settings | no_azure | {"GROUNDSWELL_POLICY": "policy/none.yaml"}) as worker:
        assert set(worker.functions) == set(INVOCATIONS)
        reply = await INVOCATIONS["base_image_pushed"](worker)
        assert_fails_with(reply, "base_image_pushed", "policy/none.yaml cannot be read")

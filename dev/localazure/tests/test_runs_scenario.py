"""The scenario of cross-registry authentication: what makes a run succeed, and how it fails without."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dev.localazure.azure import Azure
from dev.localazure.registry.images import build_image, build_index
from dev.localazure.tests.registries import ABAC
from dev.localazure.tests.task_runs import (
    ACR_PULL,
    ACR_PUSH,
    BASE,
    CONTEXT,
    GROUP,
    HELLO_WORLD,
    REPOSITORY_READER,
    REPOSITORY_WRITER,
    TASK,
    TASKS_API,
    TEAM,
    Scenario,
    base_image,
    encoded,
    registry_id,
)
from dev.testing.azure import Client

UNAUTHORIZED_EXCHANGE = (
    "failed to unmarshal task before running: failed to resolve secrets: failed to get ACR refresh token, exchange API "
    "response code: 401 Unauthorized"
)


async def test_granted_task_builds_on_the_base_image_and_pushes(scenario: Scenario) -> None:
    await scenario.create_granted_task()
    ended = await scenario.run()
    assert ended.status == "Succeeded"
    assert list(scenario.tags()) == [ended.id]
    image, base = scenario.image(ended.id), base_image()
    assert image.document["layers"][:1] == base.document["layers"]
    assert image.config["config"]["Env"] == ["NODE_VERSION=15.14.0"]
    assert image.config["config"]["Labels"]["org.opencontainers.image.base.digest"] == base.digest
    assert ended.run["outputImages"] == [
        {"registry": TEAM, "repository": "hello-world", "tag": ended.id, "digest": image.digest}
    ]
    assert ended.run["customRegistries"] == [BASE]


async def test_log_of_a_successful_run_reads_like_acrs(scenario: Scenario) -> None:
    await scenario.create_granted_task()
    ended = await scenario.run()
    digest, base_digest = scenario.tags()[ended.id], base_image().digest
    image = f"{TEAM}/hello-world:{ended.id}"
    expected = [
        "Creating Docker network: acb_default_network, driver: 'bridge'",
        "Successfully set up Docker network: acb_default_network",
        "Setting up Docker configuration...",
        "Successfully set up Docker configuration",
        f"Logging in to registry: {TEAM}",
        f"Successfully logged into {TEAM}",
        f"Logging in to registry: {BASE}",
        f"Successfully logged into {BASE}",
        "Executing step ID: acb_step_0. Timeout(sec): 600, Working directory: '', Network: 'acb_default_network'",
        "Scanning for dependencies...",
        "Successfully scanned dependencies",
        "Launching container with name: acb_step_0",
        "Step 2/7 : FROM ${REGISTRY_NAME}/baseimages/node:15-alpine",
        "15-alpine: Pulling from baseimages/node",
        f"Digest: {base_digest}",
        f"Status: Downloaded newer image for {BASE}/baseimages/node:15-alpine",
        " ---> localazure does not execute RUN: skipped",
        f"Successfully tagged {image}",
        "Successfully executed container: acb_step_0",
        f"Pushing image: {image}, attempt 1",
        f"The push refers to repository [{TEAM}/hello-world]",
        f"{ended.id}: digest: {digest} size: {len(scenario.image(ended.id).manifest)}",
        f"Successfully pushed image: {image}",
        "Populating digests for step ID: acb_step_0...",
        "The following dependencies were found:",
        "- image:",
        "  runtime-dependency:",
        f"    registry: {BASE}",
        "    repository: baseimages/node",
        "    tag: 15-alpine",
        f"    digest: {base_digest}",
        "  git:",
        "",
        f"Run ID: {ended.id} was successful after 0s",
    ]
    remaining = iter(ended.lines)
    missing = [line for line in expected if line not in remaining]
    assert missing == []
    assert "\n" not in ended.log.replace("\r\n", "")


async def test_task_shows_its_base_image_after_the_first_successful_run(scenario: Scenario, owner: Client) -> None:
    await scenario.create_granted_task()
    before = await owner.arm("GET", TASK, api_version=TASKS_API)
    assert "baseImageDependencies" not in before.body["properties"]["step"]
    await scenario.run()
    after = await owner.arm("GET", TASK, api_version=TASKS_API)
    assert after.body["properties"]["step"]["baseImageDependencies"] == [
        {"type": "Runtime", "registry": BASE, "repository": "baseimages/node", "tag": "15-alpine",
         "digest": base_image().digest}
    ]  # fmt: skip
    assert after.body["systemData"] == before.body["systemData"]


async def test_run_after_a_new_base_push_uses_the_new_digest(scenario: Scenario) -> None:
    await scenario.create_granted_task()
    first = await scenario.run()
    patched = base_image("15.14.1")
    scenario.push_base(patched)
    second = await scenario.run()
    assert scenario.image(second.id).document["layers"][:1] == patched.document["layers"]
    assert f"    digest: {patched.digest}" in second.lines
    assert set(scenario.tags()) == {first.id, second.id}


async def test_run_without_a_grant_fails_with_acrs_log_line(scenario: Scenario) -> None:
    await scenario.create_task()
    ended = await scenario.run()
    assert ended.status == "Failed"
    assert ended.run["runErrorMessage"] == "failed during run, err: exit status 1"
    assert ended.run["provisioningState"] == "Succeeded"
    assert "outputImages" not in ended.run
    assert ended.lines[-4:] == [
        UNAUTHORIZED_EXCHANGE,
        "",
        f"Run ID: {ended.id} failed after 0s. Error: failed during run, err: exit status 1",
        "",
    ]
    assert scenario.tags() == {}


async def test_run_without_the_credential_may_not_pull_the_base_image(scenario: Scenario) -> None:
    principal = await scenario.create_granted_task(credentials={})
    assert principal
    ended = await scenario.run()
    assert ended.status == "Failed"
    assert (
        f'Head "https://{BASE}/v2/baseimages/node/manifests/15-alpine": unauthorized: authentication required, visit '
        "https://aka.ms/acr/authorization for more information."
    ) in ended.lines
    assert "Container failed during run: acb_step_0. No retries remaining." in ended.lines
    assert "failed to run step ID: acb_step_0: exit status 1" in ended.lines


async def test_run_before_the_grant_is_effective_fails_and_succeeds_after(scenario: Scenario, owner: Client) -> None:
    scenario.azure.rbac.delay = timedelta(minutes=5)
    principal = await scenario.create_task()
    scope = registry_id("mybaseregistry")
    definition = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}"
    assignment = f"{scope}/providers/Microsoft.Authorization/roleAssignments/9e1d9ad2-0b4d-4a4a-8d3b-2c55f9a3d0aa"
    body = {"principalId": principal, "principalType": "ServicePrincipal", "roleDefinitionId": definition}
    assert (await owner.arm("PUT", assignment, {"properties": body}, api_version="2022-04-01")).status == 201
    assert UNAUTHORIZED_EXCHANGE in (await scenario.run()).lines
    scenario.azure.clock.advance(301)
    assert (await scenario.run()).status == "Succeeded"


async def test_deleted_grant_makes_the_next_run_fail(scenario: Scenario) -> None:
    principal = await scenario.create_task()
    grant = scenario.azure.grant(principal, ACR_PULL, registry_id("mybaseregistry"))
    assert (await scenario.run()).status == "Succeeded"
    scenario.azure.state.remove(grant.id)
    assert (await scenario.run()).status == "Failed"


async def user_assigned(owner: Client, name: str = "myACRTasksId") -> tuple[str, dict[str, str]]:
    path = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    reply = await owner.arm("PUT", path, {"location": "eastus"}, api_version="2024-11-30")
    return reply.body["id"], reply.body["properties"]


async def test_user_assigned_identity_is_used_by_its_client_id(scenario: Scenario, owner: Client) -> None:
    resource_id, identity = await user_assigned(owner)
    scenario.azure.grant(identity["principalId"], ACR_PULL, registry_id("mybaseregistry"))
    assigned = {"type": "UserAssigned", "userAssignedIdentities": {resource_id: {}}}
    credentials = {"customRegistries": {BASE: {"identity": identity["clientId"]}}}
    await scenario.create_task(credentials=credentials, identity=assigned)
    assert (await scenario.run()).status == "Succeeded"


@pytest.mark.parametrize("named", ["principalId", "resourceId", "[system]", "other"])
async def test_credential_that_names_no_identity_of_the_task_fails(
    scenario: Scenario, owner: Client, named: str
) -> None:
    resource_id, identity = await user_assigned(owner)
    _, other = await user_assigned(owner, "other")
    for principal in (identity, other):
        scenario.azure.grant(principal["principalId"], ACR_PULL, registry_id("mybaseregistry"))
    name = {"principalId": identity["principalId"], "resourceId": resource_id, "other": other["clientId"]}
    await scenario.create_task(
        credentials={"customRegistries": {BASE: {"identity": name.get(named, named)}}},
        identity={"type": "UserAssigned", "userAssignedIdentities": {resource_id: {}}},
    )
    ended = await scenario.run()
    assert ended.status == "Failed"
    assert any("unable to get ARM token" in line and "Identity not found" in line for line in ended.lines)


async def test_credential_for_a_registry_that_does_not_exist_fails(scenario: Scenario) -> None:
    credentials = {"customRegistries": {"nowhere.azurecr.io": {"identity": "[system]"}}}
    await scenario.create_task(credentials=credentials)
    assert any("lookup nowhere.azurecr.io: no such host" in line for line in (await scenario.run()).lines)


async def test_abac_base_registry_does_not_honour_acrpull(azure: Azure, owner: Client) -> None:
    scenario = Scenario(azure, owner)
    await scenario.set_up(base_mode=ABAC)
    principal = await scenario.create_granted_task()
    assert UNAUTHORIZED_EXCHANGE in (await scenario.run()).lines
    azure.grant(principal, REPOSITORY_READER, registry_id("mybaseregistry"))
    assert (await scenario.run()).status == "Succeeded"


async def test_abac_team_registry_refuses_the_default_login(azure: Azure, owner: Client) -> None:
    scenario = Scenario(azure, owner)
    await scenario.set_up(team_mode=ABAC)
    await scenario.create_granted_task()
    ended = await scenario.run()
    assert ended.status == "Failed"
    assert any(
        line.startswith("failed to login, ran out of retries") and f"https://{TEAM}/v2/" in line for line in ended.lines
    )


async def test_abac_team_registry_needs_an_identity_that_may_write(azure: Azure, owner: Client) -> None:
    scenario = Scenario(azure, owner)
    await scenario.set_up(team_mode=ABAC)
    principal = await scenario.create_granted_task(
        credentials={
            "sourceRegistry": {"identity": "[system]"}, "customRegistries": {BASE: {"identity": "[system]"}},
        }
    )  # fmt: skip
    assert UNAUTHORIZED_EXCHANGE in (await scenario.run()).lines
    azure.grant(principal, REPOSITORY_READER, registry_id("myregistry"))
    ended = await scenario.run()
    assert "failed to run step ID: acb_step_1: failed to push images successfully" in ended.lines
    assert [line for line in ended.lines if line.startswith("Pushing image")][-1].endswith("attempt 3")
    azure.grant(principal, REPOSITORY_WRITER, registry_id("myregistry"))
    assert (await scenario.run()).status == "Succeeded"


async def test_source_registry_identity_counts_in_legacy_mode_too(scenario: Scenario) -> None:
    credentials = {
        "sourceRegistry": {"identity": "[system]"}, "customRegistries": {BASE: {"identity": "[system]"}},
    }  # fmt: skip
    principal = await scenario.create_granted_task(credentials=credentials)
    scenario.azure.grant(principal, REPOSITORY_WRITER, registry_id("myregistry"))
    assert (await scenario.run()).status == "Failed"
    scenario.azure.grant(principal, ACR_PUSH, registry_id("myregistry"))
    assert (await scenario.run()).status == "Succeeded"


async def test_login_mode_none_leaves_the_own_registry_without_login(scenario: Scenario) -> None:
    credentials = {
        "sourceRegistry": {"loginMode": "None"}, "customRegistries": {BASE: {"identity": "[system]"}},
    }  # fmt: skip
    await scenario.create_granted_task(credentials=credentials)
    ended = await scenario.run()
    assert f"Logging in to registry: {TEAM}" not in ended.lines
    assert "failed to run step ID: acb_step_1: failed to push images successfully" in ended.lines


async def test_base_image_that_is_missing_fails_the_build(scenario: Scenario) -> None:
    await scenario.create_granted_task(encoded(HELLO_WORLD.replace("Dockerfile-app", "Dockerfile-{{.Values.file}}")))
    ended = await scenario.run(values=[{"name": "file", "value": "none"}])
    assert any("error opening dockerfile: Dockerfile-none, error: open" in line for line in ended.lines)
    scenario.azure.registries.content(scenario.registry("mybaseregistry")).repositories.clear()
    ended = await scenario.run(values=[{"name": "file", "value": "app"}])
    assert (
        f"manifest for {BASE}/baseimages/node:15-alpine not found: manifest unknown: manifest tagged by "
        '"15-alpine" is not found'
    ) in ended.lines


async def test_index_base_is_recorded_by_its_own_digest_and_built_for_the_platform(scenario: Scenario) -> None:
    images = [
        build_image({"bin/node": architecture.encode()}, platform=f"linux/{architecture}", docker=True)
        for architecture in ("arm64", "amd64")
    ]
    index = build_index(images)
    scenario.push_base(index)
    await scenario.create_granted_task()
    ended = await scenario.run()
    assert f"    digest: {index.digest}" in ended.lines
    assert scenario.image(ended.id).document["layers"][0] == images[1].document["layers"][0]


async def test_values_of_the_run_override_those_of_the_task(scenario: Scenario) -> None:
    text = f"""\
version: v1.1.0
steps:
  - build: -t $Registry/{{{{.Values.repository}}}}:{{{{.Values.tag}}}} {CONTEXT} -f Dockerfile-app --build-arg REGISTRY_NAME={{{{.Values.base}}}}
  - push: ["$Registry/{{{{.Values.repository}}}}:{{{{.Values.tag}}}}"]
"""  # noqa: E501
    await scenario.create_granted_task(encoded(text, repository="app", tag="default", base=BASE))
    ended = await scenario.run(values=[{"name": "tag", "value": "v2", "isSecret": False}])
    assert ended.status == "Succeeded"
    assert list(scenario.tags("app")) == ["v2"]


async def test_push_of_a_run_raises_the_registrys_event(scenario: Scenario, owner: Client) -> None:
    await scenario.create_granted_task()
    ended = await scenario.run()
    events = (await owner.control("GET", "/events")).body["events"]
    pushed = [e for e in events if e["eventType"] == "Microsoft.ContainerRegistry.ImagePushed"]
    assert pushed[-1]["subject"] == f"hello-world:{ended.id}"
    assert pushed[-1]["data"]["request"]["useragent"].startswith("docker/")

"""What a team registry must have: the bodies that are sent, as Azure documents them."""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.desired import UserIdentity, run_body, spec_of, task_body
from shared.domain.grants import ACR_PULL, ACR_PUSH, REPOSITORY_READER, REPOSITORY_WRITER, Grant, grants
from shared.domain.images import BaseImage
from shared.domain.registries import Network
from tests.builders import (
    DIGEST,
    IDENTITY,
    NODE,
    TASK_FILE,
    VALUES,
    base_registry,
    registry,
    registry_id,
    task,
)

LABELLED = "mybaseregistry-e7ggejfuhzhgedc8.azurecr.io"


def expected_properties(**credentials: object) -> dict[str, object]:
    return {
        "status": "Enabled",
        "platform": {"os": "Linux", "architecture": "amd64"},
        "agentConfiguration": {"cpu": 2},
        "timeout": 3600,
        "step": {
            "type": "EncodedTask",
            "encodedTaskContent": base64.b64encode(TASK_FILE.encode()).decode(),
            "values": [
                {"name": "baseDigest", "value": "", "isSecret": False},
                {"name": "baseRepository", "value": "baseimages/node", "isSecret": False},
                {"name": "baseTag", "value": "15-alpine", "isSecret": False},
                {"name": "contextUrl", "value": VALUES["contextUrl"], "isSecret": False},
                {"name": "image", "value": "hello-world", "isSecret": False},
                {"name": "registryName", "value": "mybaseregistry.azurecr.io", "isSecret": False},
            ],
        },
        "credentials": credentials,
    }


def untagged(body: dict[str, Any]) -> dict[str, Any]:
    """Return a task without the tag that holds its fingerprint."""
    return {key: value for key, value in body.items() if key != "tags"}


def test_fingerprint_of_a_task_tells_every_change_and_nothing_else() -> None:
    first = spec_of(task_body(task(), registry(), base_registry(), VALUES, IDENTITY))
    same = spec_of(task_body(task(), registry(tags={"team": "x"}), base_registry(), VALUES, IDENTITY))
    other = replace(IDENTITY, client_id="00000000-0000-4000-8000-00000000ffff")
    assert same == first
    assert spec_of(task_body(task(), registry(), base_registry(), {**VALUES, "image": "shop"}, IDENTITY)) != first
    assert spec_of(task_body(task(), registry(), base_registry(), VALUES, other)) != first
    assert spec_of(task_body(task(), registry(), base_registry(), VALUES, None)) != first


def test_task_with_the_shared_identity_names_its_client_id_in_the_credential() -> None:
    body = task_body(task(), registry(), base_registry(), VALUES, IDENTITY)

    assert untagged(body) == {
        "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY.id: {}}},
        "properties": expected_properties(
            customRegistries={"mybaseregistry.azurecr.io": {"identity": IDENTITY.client_id}}
        ),
    }


def test_task_with_an_identity_of_its_own_names_it_system() -> None:
    body = task_body(task(), registry(), base_registry(), VALUES, None)

    assert untagged(body) == {
        "location": "westeurope",
        "identity": {"type": "SystemAssigned"},
        "properties": expected_properties(customRegistries={"mybaseregistry.azurecr.io": {"identity": "[system]"}}),
    }


@pytest.mark.parametrize(("identity", "named"), [(IDENTITY, IDENTITY.client_id), (None, "[system]")])
def test_task_in_an_abac_registry_also_logs_in_to_its_own_registry(identity: UserIdentity | None, named: str) -> None:
    body = task_body(task(), registry(abac=True), base_registry(), VALUES, identity)

    assert body["properties"]["credentials"] == {
        "customRegistries": {"mybaseregistry.azurecr.io": {"identity": named}},
        "sourceRegistry": {"identity": named},
    }


FENCED = [Network(disabled=True), Network(denied=True), Network(denied=True, ip_rules=True)]


@pytest.mark.parametrize("network", FENCED, ids=["disabled", "selected", "addresses"])
@pytest.mark.parametrize(
    ("abac", "source"), [(False, {"loginMode": "None"}), (True, {"identity": "[system]"})], ids=["legacy", "abac"]
)
def test_task_behind_a_firewall_logs_in_to_its_own_registry_with_its_system_identity(
    network: Network, abac: bool, source: dict[str, str]
) -> None:
    body = task_body(task(), registry(abac=abac, network=network), base_registry(), VALUES, None)

    assert body["properties"]["credentials"] == {
        "customRegistries": {
            "mybaseregistry.azurecr.io": {"identity": "[system]"},
            "myregistry.azurecr.io": {"identity": "[system]"},
        },
        "sourceRegistry": source,
    }


@pytest.mark.parametrize("network", FENCED, ids=["disabled", "selected", "addresses"])
def test_shared_identity_gets_no_push_right_for_a_firewall_that_it_cannot_pass(network: Network) -> None:
    fenced = registry(network=network)

    assert task_body(task(), fenced, base_registry(), VALUES, IDENTITY) == task_body(
        task(), registry(), base_registry(), VALUES, IDENTITY
    )
    assert grants(fenced, base_registry(), system_assigned=False) == grants(registry(), base_registry())


@pytest.mark.parametrize(("abac", "role"), [(False, ACR_PUSH), (True, REPOSITORY_WRITER)], ids=["legacy", "abac"])
def test_task_behind_a_firewall_needs_the_right_to_push_to_its_own_registry(abac: bool, role: str) -> None:
    needed = grants(registry(abac=abac, network=Network(disabled=True)), base_registry(), system_assigned=True)

    assert needed == (Grant(registry_id("mybaseregistry"), ACR_PULL), Grant(registry_id("myregistry"), role))


def test_base_registry_behind_a_firewall_changes_nothing_on_the_task() -> None:
    base = base_registry(network=Network(disabled=True))

    assert task_body(task(), registry(), base, VALUES, None) == task_body(
        task(), registry(), base_registry(), VALUES, None
    )


def test_login_server_with_a_domain_name_label_is_used_as_azure_tells_it() -> None:
    base = base_registry(login_server=LABELLED)

    body = task_body(task(), registry(), base, VALUES, None)
    run = run_body("task id", base, NODE)

    assert list(body["properties"]["credentials"]["customRegistries"]) == [LABELLED]
    for values in (body["properties"]["step"]["values"], run["overrideTaskStepProperties"]["values"]):
        assert {"name": "registryName", "value": LABELLED, "isSecret": False} in values


def test_task_lives_where_its_registry_lives_and_obeys_the_policy() -> None:
    special = task(timeout=600, platform={"os": "Windows", "architecture": "amd64"}, rebuildOn=["node:15-*"])

    body = task_body(special, registry(location="koreacentral"), base_registry(), {}, None)

    assert body["location"] == "koreacentral"
    assert body["properties"]["timeout"] == 600
    assert body["properties"]["platform"] == {"os": "Windows", "architecture": "amd64"}
    assert {"name": "baseTag", "value": "", "isSecret": False} in body["properties"]["step"]["values"]


def test_azures_own_triggers_are_left_out_so_that_nothing_builds_twice() -> None:
    assert "trigger" not in task_body(task(), registry(), base_registry(), VALUES, None)["properties"]


def test_run_is_told_which_image_to_build_on() -> None:
    task_id = f"{registry_id('myregistry')}/tasks/helloworldtask"

    assert run_body(task_id, base_registry(), NODE) == {
        "type": "TaskRunRequest",
        "taskId": task_id,
        "overrideTaskStepProperties": {
            "values": [
                {"name": "baseDigest", "value": DIGEST, "isSecret": False},
                {"name": "baseRepository", "value": "baseimages/node", "isSecret": False},
                {"name": "baseTag", "value": "15-alpine", "isSecret": False},
                {"name": "registryName", "value": "mybaseregistry.azurecr.io", "isSecret": False},
            ]
        },
    }


@pytest.mark.parametrize("image", [None, BaseImage("node", "15")])
def test_run_without_a_known_digest_says_so_by_an_empty_value(image: BaseImage | None) -> None:
    values = run_body("task id", base_registry(), image)["overrideTaskStepProperties"]["values"]

    assert {"name": "baseDigest", "value": "", "isSecret": False} in values


@pytest.mark.parametrize(
    ("team_abac", "base_abac", "wanted"),
    [
        (False, False, [("mybaseregistry", ACR_PULL)]),
        (False, True, [("mybaseregistry", REPOSITORY_READER)]),
        (True, False, [("mybaseregistry", ACR_PULL), ("myregistry", REPOSITORY_WRITER)]),
        (True, True, [("mybaseregistry", REPOSITORY_READER), ("myregistry", REPOSITORY_WRITER)]),
    ],
)
def test_roles_are_those_that_the_registries_honour(
    team_abac: bool, base_abac: bool, wanted: list[tuple[str, str]]
) -> None:
    needed = grants(registry(abac=team_abac), base_registry(abac=base_abac))

    assert needed == tuple(Grant(registry_id(name), role) for name, role in wanted)


def test_roles_are_named_as_in_azure() -> None:
    names = [grant.role_name for grant in grants(registry(abac=True), base_registry())]

    assert names == ["AcrPull", "Container Registry Repository Writer"]


def test_assignment_name_is_the_same_whoever_writes_the_ids() -> None:
    grant = Grant(registry_id("mybaseregistry"), ACR_PULL)
    shouted = Grant(registry_id("mybaseregistry").upper(), ACR_PULL)

    name = grant.assignment_name(IDENTITY.principal_id)

    # Assignments that are out there were made under this name: it must not change with the code.
    assert name == "6e58b750-a987-5909-ad09-047ca6b59d54"
    assert name == shouted.assignment_name(IDENTITY.principal_id.upper())
    assert str(uuid.UUID(name)) == name


def test_assignment_name_differs_by_principal_scope_and_role() -> None:
    principals = [IDENTITY.principal_id, "77777777-0000-4000-8000-000000000000"]
    scopes = [registry_id("mybaseregistry"), registry_id("otherregistry")]
    roles = [ACR_PULL, ACR_PUSH, REPOSITORY_READER, REPOSITORY_WRITER]

    names = {Grant(scope, role).assignment_name(who) for scope in scopes for role in roles for who in principals}

    assert len(names) == 16

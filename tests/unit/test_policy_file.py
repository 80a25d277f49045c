"""The policy file: what is wrong with it is said by naming the field, and changes are noticed."""

from __future__ import annotations

import base64
import os
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters import policy_file
from shared.adapters.policy_file import PolicyFile
from shared.domain import policy as policies
from shared.domain.errors import ConfigurationError
from shared.domain.images import BaseImage
from shared.domain.policy import Policy, SystemAssigned, UserAssigned
from tests.builders import TASK_FILE, VALUES, policy_document, registry_id, replaced, task_document

ROOT = Path(__file__).resolve().parents[2]


def parse(document: Any, folder: Path) -> Policy:
    return policy_file.parse(yaml.safe_dump(document), folder, "rebuilds.yaml")


def refusal(document: Any, folder: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        parse(document, folder)
    return str(refused.value)


def test_policy_that_ships_with_the_app_is_valid() -> None:
    policy = PolicyFile(ROOT / "policy" / "rebuilds.yaml").load()

    assert [task.name for task in policy.tasks] == ["helloworldtask", "smoketask"]


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"costCenter": "CC-4711", "Owner Team": "platform, EU", "data:class": ""},
        {f"tag{number}": "x" for number in range(49)},
        {"n" * 512: "v" * 256},
        {"hidden-title": "Ünïcode <is> fine & well in values"},
    ],
)
def test_tags_that_azure_takes_are_taken(tags: dict[str, str], folder: Path) -> None:
    assert parse(policy_document(tags=tags), folder).tags == tags


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"a<b": "x"}, "'a<b' cannot be the name of a tag"),
        ({"a/b": "x"}, "cannot be the name"),
        ({"a\\b": "x"}, "cannot be the name"),
        ({"a%b": "x"}, "cannot be the name"),
        ({"a&b": "x"}, "cannot be the name"),
        ({"a?b": "x"}, "cannot be the name"),
        ({"a\nb": "x"}, "cannot be the name"),
        ({" a": "x"}, "cannot be the name"),
        ({"": "x"}, "cannot be the name"),
        ({"n" * 513: "x"}, "cannot be the name"),
        ({"a": "v" * 257}, "has 257 characters"),
        ({"a": 4711}, "4711 of tag 'a' is no text: put it in quotes"),
        ({"a": None}, "put it in quotes"),
        ({"a": True}, "put it in quotes"),
        ({2026: "x"}, "put it in quotes"),
        ({"a": ["x"]}, "put it in quotes"),
        ({"Groundswell-Spec": "x"}, "Groundswell's own"),
        ({"base-image-rebuilds": "enabled"}, "Groundswell's own"),
        ({"Base-Image-Rebuilds.image": "x"}, "Groundswell's own"),
        ({"azureOwner": "x"}, "Azure keeps such names"),
        ({"Microsoft.x": "x"}, "Azure keeps such names"),
        ({"owner": "a", "Owner": "b"}, "is there twice"),
        ({f"tag{number}": "x" for number in range(50)}, "50 are too many"),
        (["a"], "dictionary"),
        ("a=b", "dictionary"),
    ],
)
def test_tags_that_azure_would_refuse_are_refused_by_name(tags: Any, words: str, folder: Path) -> None:
    text = refusal(policy_document(tags=tags), folder)

    assert "tags" in text
    assert words in text


def test_policy_that_ships_keeps_teams_and_the_smoke_test_apart() -> None:
    policy = PolicyFile(ROOT / "policy" / "rebuilds.yaml").load()
    team, smoke = policy.tasks

    for tag, selected in (("enabled", team), ("smoke", smoke)):
        chosen = [
            task for task in policy.tasks
            if policies.select(policy, task, "anyregistry", {policies.OPT_TAG: tag}) is policies.Selection.SELECTED
        ]  # fmt: skip
        assert chosen == [selected]
    assert smoke.default_image is not None
    assert policy.builds_on(smoke.default_image) == (smoke,)


def test_policy_is_read_with_its_task_file_and_defaults(folder: Path) -> None:
    policy = parse(policy_document(), folder)

    (task,) = policy.tasks
    assert policy.base_registry == "mybaseregistry"
    assert policy.identity == UserAssigned(type="UserAssigned", name="myACRTasksId", resourceGroup="myResourceGroup")
    assert base64.b64decode(task.encoded).decode() == TASK_FILE
    assert task.values == VALUES
    assert (task.timeout, task.platform.os, task.platform.architecture) == (3600, "Linux", "amd64")


def test_system_assigned_identity_needs_nothing_more(folder: Path) -> None:
    document = policy_document(identity={"type": "SystemAssigned"})

    assert parse(document, folder).identity == SystemAssigned(type="SystemAssigned")


def test_everything_about_a_task_can_be_said(folder: Path) -> None:
    special = task_document(
        rebuildOn=["node:15-*", "base/python:3.1[123]"],
        timeout=28800,
        platform={"os": "Linux", "architecture": "arm64"},
        values=None,
    )

    (task,) = parse(policy_document(special), folder).tasks

    assert (task.timeout, task.platform.architecture, task.values) == (28800, "arm64", {})


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("baseRegistry", ..., "baseRegistry"),
        ("baseRegistry", "base", "baseRegistry"),
        ("baseRegistry", "my-base-registry", "baseRegistry"),
        ("baseRegistry", "mybaseregistry.azurecr.io", "baseRegistry"),
        ("baseRegistry", 12345, "baseRegistry"),
        ("identity", ..., "identity"),
        ("identity", {}, "identity"),
        ("identity", "SystemAssigned", "identity"),
        ("identity.type", "None", "identity"),
        ("identity.name", ..., "identity.name"),
        ("identity.name", "id", "identity.name"),
        ("identity.name", "-id-", "identity.name"),
        ("identity.resourceGroup", ..., "identity.resourceGroup"),
        ("identity.resourceGroup", "", "identity.resourceGroup"),
        ("identity.resourceGroup", "x" * 91, "identity.resourceGroup"),
        ("identity.subscription", "my-subscription", "identity.subscription"),
        ("identity", {"type": "SystemAssigned", "name": "x"}, "identity.name"),
        ("tasks", ..., "tasks"),
        ("tasks", [], "tasks"),
        ("tasks", {}, "tasks"),
        ("tasks", ["helloworldtask"], "tasks.0"),
        ("tasks.0.name", ..., "tasks.0.name"),
        ("tasks.0.name", "task", "tasks.0.name"),
        ("tasks.0.name", "x" * 51, "tasks.0.name"),
        ("tasks.0.name", "hello world", "tasks.0.name"),
        ("tasks.0.file", ..., "tasks.0.file"),
        ("tasks.0.file", 7, "tasks.0.file"),
        ("tasks.0.rebuildOn", ..., "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", [], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", "node:15", "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", [15], "tasks.0.rebuildOn.0"),
        ("tasks.0.rebuildOn", ["node"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["node:"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["base*/node:15"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["Node:15"], "tasks.0.rebuildOn"),
        ("tasks.0.rebuildOn", ["node:15 alpine"], "tasks.0.rebuildOn"),
        ("tasks.0.exclude", "*-amd64", "tasks.0.exclude"),
        ("tasks.0.exclude", [15], "tasks.0.exclude.0"),
        ("tasks.0.exclude", ["*:*"], "tasks.0.exclude"),
        ("tasks.0.exclude", ["baseimages/node"], "tasks.0.exclude"),
        ("tasks.0.registries", ..., "tasks.0.registries"),
        ("tasks.0.registries", {}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": True}, "tasks.0.registries.tags.base-image-rebuilds"),
        ("tasks.0.registries", {"names": ["myregistry"]}, "tasks.0.registries.names"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": "Disabled"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": " paused"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"base-image-rebuilds": ""}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"team": "web", "Team": "web"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"team/web": "yes"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"": "yes"}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"team": "x" * 257}, "tasks.0.registries.tags"),
        ("tasks.0.registries.tags", {"x" * 513: "yes"}, "tasks.0.registries.tags"),
        ("tasks.0.values", {"port": 8080}, "tasks.0.values.port"),
        ("tasks.0.values", {"my-value": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"1st": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"registryName": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"baseDigest": "x"}, "tasks.0.values"),
        ("tasks.0.values", {"image": "$(reboot)"}, "tasks.0.values"),
        ("tasks.0.values", {"contextUrl": "ssh://git@github.com/contoso/shop.git"}, "tasks.0.values"),
        ("tasks.0.timeout", 299, "tasks.0.timeout"),
        ("tasks.0.timeout", 28801, "tasks.0.timeout"),
        ("tasks.0.timeout", "an hour", "tasks.0.timeout"),
        ("tasks.0.platform", {"os": "linux"}, "tasks.0.platform.os"),
        ("tasks.0.platform", {"architecture": "s390x"}, "tasks.0.platform.architecture"),
        ("tasks.0.trigger", {}, "tasks.0.trigger"),
        ("base_registries", "x", "base_registries"),
    ],
)
def test_wrong_member_is_named(path: str, value: Any, field: str, folder: Path) -> None:
    said = refusal(replaced(policy_document(), path, value), folder)

    assert said.startswith("rebuilds.yaml is wrong. ")
    assert re.search(rf" {re.escape(field)}(\.0)?: ", said), said


def test_everything_that_is_wrong_is_named_at_once(folder: Path) -> None:
    said = refusal({"baseRegistry": "x", "tasks": [task_document(timeout=1, values={"image": "a b"})]}, folder)

    for field in ("baseRegistry: ", "identity: ", "tasks.0.timeout: ", "tasks.0.values: "):
        assert field in said


OWN_HOSTS = [
    "mybaseregistry.azurecr.io",
    "MyBaseRegistry.AzureCR.io",
    "mybaseregistry.azurecr.io:443",
    "mybaseregistry-e7ggejfuhzhgedc8.azurecr.io",
    "MYBASEREGISTRY-E7GGEJFUHZHGEDC8.azurecr.cn",
    "mybaseregistry.westeurope.geo.azurecr.io",
]


@pytest.mark.parametrize("base", ["mybaseregistry", "MyBaseRegistry", registry_id("mybaseregistry")])
@pytest.mark.parametrize("host", OWN_HOSTS)
def test_reference_with_the_base_registrys_host_is_the_one_without(host: str, base: str, folder: Path) -> None:
    special = task_document(
        rebuildOn=[f"{host}/baseimages/node:15-*"], exclude=[f"{host}/baseimages/node:15-buildcache"]
    )

    policy = parse(policy_document(special, baseRegistry=base), folder)

    assert policy.builds_on(BaseImage("baseimages/node", "15-alpine"))
    assert not policy.builds_on(BaseImage("baseimages/node", "15-buildcache"))


def test_repository_that_is_called_like_a_host_is_named_behind_the_base_registrys(folder: Path) -> None:
    special = task_document(rebuildOn=["mybaseregistry.azurecr.io/docker.io/library/node:15"])

    assert parse(policy_document(special), folder).builds_on(BaseImage("docker.io/library/node", "15"))


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("docker.io/library/node:15", "another registry"),
        ("docker.io/library/node", "another registry"),
        ("otherregistry.azurecr.io/baseimages/node:15", "another registry"),
        ("mybaseregistry2.azurecr.io/baseimages/node:15", "another registry"),
        ("mybaseregistry.azurecr.io.example.com/baseimages/node:15", "another registry"),
        ("mybaseregistry.azurecr.io:5000/baseimages/node:15", "another registry"),
        ("localhost/node:15", "another registry"),
        ("localhost:5000/node:15", "another registry"),
        ("https://mybaseregistry.azurecr.io/baseimages/node:15", ""),
        (f"baseimages/node@sha256:{'ab' * 32}", "digest"),
        (f"baseimages/node:15@sha256:{'ab' * 32}", "digest"),
        ("mybaseregistry.azurecr.io/baseimages/node", "no tag"),
        ("mybaseregistry.azurecr.io/BaseImages/node:15", "lower case"),
        ("baseimages/node", "no tag"),
        ("baseimages/node:", "tag is empty"),
        (":15", "malformed"),
        ("BaseImages/Node:15", "lower case"),
        ("baseimages/*:15", "only the tag may be a glob"),
        ("*/node:15", "only the tag may be a glob"),
        (f"baseimages/node:{'x' * 129}", "128"),
        (f"baseimages/node:{'?' * 128}*?", "128"),
        ("baseimages/node:-15*", "no image can ever have"),
        ("baseimages/node:.*", "no image can ever have"),
        ("baseimages/node:15-[a", "no image can ever have"),
        ("baseimages/node:15-[z-a]", "no image can ever have"),
        (f"baseimages/node:sha256-{'ab' * 32}.sig", "no image can ever have"),
        ("baseimages/node:15 ", "characters"),
        ("${REGISTRY_NAME}/baseimages/node:15-alpine", ""),
        ("baseimages/node:15-alpine AS build", "characters"),
    ],
)
def test_reference_that_no_push_can_ever_match_is_refused_with_its_reason(
    reference: str, reason: str, folder: Path
) -> None:
    said = refusal(policy_document(task_document(rebuildOn=["baseimages/python:3", reference])), folder)

    assert f"tasks.0.rebuildOn.1: {reference!r} is not repository:tag" in said
    assert reason in said


@pytest.mark.parametrize("twice", ["baseimages/node:15-*", "MyBaseRegistry.azurecr.io/baseimages/node:15-*"])
def test_reference_that_is_written_twice_is_refused(twice: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(rebuildOn=["baseimages/node:15-*", twice])), folder)

    assert "tasks.0.rebuildOn: 'baseimages/node:15-*' is written twice" in said


@pytest.mark.parametrize(
    ("rebuild_on", "exclude"),
    [
        (["baseimages/node:15-alpine"], ["15-alpine"]),
        (["baseimages/node:15-alpine"], ["*-alpine"]),
        (["baseimages/node:15-*"], ["*"]),
        (["baseimages/node:15-*"], ["baseimages/node:1*"]),
        (["baseimages/node:15-*"], ["15-[!0-9]*", "15-[0-9]*", "15-"]),
        (["baseimages/python:3", "baseimages/node:15-*"], ["baseimages/node:*"]),
    ],
)
def test_exclude_that_leaves_nothing_of_an_entry_is_refused(
    rebuild_on: list[str], exclude: list[str], folder: Path
) -> None:
    said = refusal(policy_document(task_document(rebuildOn=rebuild_on, exclude=exclude)), folder)

    assert f"tasks.0.exclude: nothing is left of {rebuild_on[-1]!r} under rebuildOn" in said


def test_exclude_for_a_repository_that_is_not_there_is_refused(folder: Path) -> None:
    special = task_document(rebuildOn=["baseimages/node:15-*"], exclude=["baseimages/nodes:*-amd64"])

    assert "tasks.0.exclude: 'baseimages/nodes:*-amd64' excludes nothing" in refusal(policy_document(special), folder)


SECRET = "s3cr3t-0123456789"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tasks.0.values.contextUrl", f"https://x-access-token:{SECRET}@github.com/contoso/shop.git"),
        ("tasks.0.values.contextUrl", f"https://{SECRET}@github.com/contoso/shop.git"),
        ("tasks.0.values.contextUrl", {f"https://{SECRET}@github.com": 1}),
        ("tasks.0.rebuildOn.0", f"https://oauth2:{SECRET}@gitlab.com/contoso/node:15"),
        ("tasks.0.rebuildOn.0", f"user:{SECRET}@mybaseregistry.azurecr.io/node:15"),
        ("tasks.0.file", f"https://user:{SECRET}@example.com/task.yaml"),
        ("baseRegistry", f"https://user:{SECRET}@mybaseregistry.azurecr.io"),
        ("identity.name", f"https://{SECRET}@example.com"),
        ("tasks.0.timeout", f"https://{SECRET}@example.com"),
    ],
)
def test_credential_in_the_policy_is_refused_and_not_repeated(path: str, value: Any, folder: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(replaced(policy_document(), path, value), folder)

    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "text", ["tasks: [{values: {a: 'https://%s@github.com/a.git'", "a: https://u:%s@github.com: b"]
)
def test_credential_in_a_line_that_is_no_yaml_is_not_repeated(text: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not YAML") as refused:
        policy_file.parse(text % SECRET, folder)

    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("second", ["helloworldtask", "HelloWorldTask"])
def test_two_tasks_of_one_name_are_refused(second: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(), task_document(name=second)), folder)

    assert "tasks: two tasks are called 'helloworldtask'" in said


@pytest.mark.parametrize("name", ["../outside.yaml", "sub/../../outside.yaml", "/etc/hostname", ".."])
def test_task_file_outside_the_policys_folder_is_refused(name: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(file=name)), folder)

    assert f"tasks.0.file: {name!r} lies outside the policy's folder" in said


def test_link_to_a_task_file_outside_the_policys_folder_is_refused(folder: Path) -> None:
    (folder / "link.yaml").symlink_to(folder.parent / "outside.yaml")

    assert "lies outside the policy's folder" in refusal(policy_document(task_document(file="link.yaml")), folder)


@pytest.mark.parametrize("name", ["missing.yaml", "", ".", "nul\0.yaml", "x" * 300])
def test_task_file_that_cannot_be_read_is_named(name: str, folder: Path) -> None:
    said = refusal(policy_document(task_document(name="second"), task_document(file=name)), folder)

    assert f"tasks.1.file: {name!r} cannot be read" in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"steps: [", "is not YAML"),
        (b"- {{.Values.image}}: 1", "has no steps"),
        (b"steps: [{{.Values.image}}", "is not YAML"),
        (b"steps: [{cmd: {{.Values.image}]", "not closed"),
        (b"\xff\xfe\xfd", "cannot be read"),
        (b"", "has no steps"),
        (b"FROM node:15", "has no steps"),
        (b"- build: .", "has no steps"),
        (b"version: v1.1.0", "has no steps"),
        (b"steps: []", "has no steps"),
        (b"steps: build", "has no steps"),
    ],
)
def test_task_file_that_is_no_task_is_refused(content: bytes, problem: str, folder: Path) -> None:
    (folder / "task.yaml").write_bytes(content)

    said = refusal(policy_document(), folder)

    assert "tasks.0.file: 'task.yaml'" in said
    assert problem in said


@pytest.mark.parametrize("text", ["tasks: [", "a: b: c", "\x00", "a: 2026-13-45", "a: 0b_", "[" * 3000, "!!python/x 1"])
def test_text_that_is_no_yaml_is_refused(text: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^rebuilds\.yaml is not YAML"):
        policy_file.parse(text, folder, "rebuilds.yaml")


@pytest.mark.parametrize("document", [None, [], ["tasks"], "tasks", 7])
def test_policy_that_is_no_mapping_is_refused(document: Any, folder: Path) -> None:
    assert "must be a mapping with baseRegistry, identity and tasks" in refusal(document, folder)


@given(st.text())
def test_any_other_text_is_refused_in_our_words(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^policy"):
        policy_file.parse(text, ROOT / "policy")


def write(path: Path, text: str, at: float) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


def test_policy_is_read_again_when_it_or_a_task_file_changes(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(path, yaml.safe_dump(policy_document()), at=1000)
    first = file.load()
    assert file.load() is first

    write(path, yaml.safe_dump(policy_document(task_document(timeout=600))), at=2000)
    assert file.load().tasks[0].timeout == 600

    write(folder / "task.yaml", TASK_FILE.replace("-t ", "--no-cache -t "), at=3000)
    assert "--no-cache" in file.load().tasks[0].file.content


def test_policy_may_leave_a_task_file_behind(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(path, yaml.safe_dump(policy_document()), at=1000)
    file.load()

    (folder / "task.yaml").rename(folder / "renamed.yaml")
    write(path, yaml.safe_dump(policy_document(task_document(file="renamed.yaml"))), at=2000)

    assert file.load().tasks[0].file.name == "renamed.yaml"


def test_policy_that_breaks_is_loud_until_it_is_mended(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(path, yaml.safe_dump(policy_document()), at=1000)
    file.load()

    write(path, "tasks: []", at=2000)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"rebuilds\.yaml is wrong"):
            file.load()

    write(path, yaml.safe_dump(policy_document()), at=3000)
    assert file.load().base_registry == "mybaseregistry"


def test_task_file_that_breaks_is_a_problem_of_its_task_until_it_is_mended(folder: Path) -> None:
    path = folder / "rebuilds.yaml"
    file = PolicyFile(path)
    write(
        path, yaml.safe_dump(policy_document(task_document(), task_document(name="other", file="other.yaml"))), at=1000
    )
    for _ in range(2):
        sound, broken = file.load().tasks
        assert sound.problem == ""
        assert "tasks.1.file: 'other.yaml' cannot be read" in broken.problem

    write(folder / "other.yaml", TASK_FILE, at=2000)
    assert [task.problem for task in file.load().tasks] == ["", ""]

    write(folder / "other.yaml", "steps: []", at=3000)
    assert [task.name for task in file.load().broken] == ["other"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_policy_that_cannot_be_read_names_the_setting(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "rebuilds.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"rebuilds\.yaml cannot be read.*GROUNDSWELL_POLICY"):
        PolicyFile(path).load()

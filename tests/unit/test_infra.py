"""The checks of infra/: nothing is found in what we ship, and each thing that can be wrong is found where it is."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts import check_infra, update_known
from scripts.infra import events
from tests.unit import infra_sample


@pytest.fixture
def project(tmp_path: Path) -> Path:
    infra_sample.write(tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new, 1))


def found_after(project: Path, name: str, old: str, new: str) -> list[str]:
    edit(project / name, old, new)
    return list(check_infra.findings(project))


def change(project: Path, name: str, entry: str, changes: dict[str, Any]) -> list[str]:
    """Change an entry of one of the JSON files by its name; None removes a member. Return the findings."""
    path = project / "infra" / f"{name}.json"
    document = json.loads(path.read_text())
    lists = [value for value in document.values() if isinstance(value, list)]
    (found,) = [item for items in lists for item in items if item["name"] == entry]
    found.update(changes)
    for member in [member for member, value in changes.items() if value is None]:
        del found[member]
    path.write_text(json.dumps(document))
    return list(check_infra.findings(project))


def test_what_we_ship_agrees() -> None:
    assert list(check_infra.findings()) == []


def test_sample_agrees(project: Path) -> None:
    assert list(check_infra.findings(project)) == []


@pytest.mark.parametrize(("file", "old", "new", "finding"), [
    # It is Bicep, and what it names exists.
    ("main.bicep", "location: location\n}", "location: \n}", r"main\.bicep:\d+: is no Bicep"),
    ("main.bicep", "'${names.group}", "'${nams.group}", r"main\.bicep:12: nams is not declared"),
    ("main.bicep", "toLower(id)", "lower(id)", r"main\.bicep:\d+: Bicep has no function lower"),
    ("main.bicep", "id => toLower(id)", "id => toLower(it)", r"main\.bicep:\d+: it is not declared"),
    ("main.bicep", "param isPrivate", "param other int = 1\nparam isPrivate", r"main\.bicep:6: param other is not use"),
    ("main.bicep", "var names", "var more = 1\nvar names", r"main\.bicep:8: var more is not used"),
    # Loaded files.
    ("main.bicep", "abbreviations.json", "abbreviation.json", r"main\.bicep:8: abbreviation\.json does not exist"),
    ("main.bicep", "names.group", "names.grp", r"main\.bicep:12: names\.grp: the file loaded has no grp"),
    ("main.bicep", ")).assignments", ")).asignments", r"main\.bicep:9: .*the file loaded has no asignments"),
    ("modules/storage.bicep", ".deadLetter.", ".deadLetters.", r"storage\.bicep:4: .*has no deadLetters"),
    # Modules.
    ("main.bicep", "'modules/storage", "'modules/stores", r"main\.bicep:\d+: module modules/stores\.bicep does not ex"),
    ("main.bicep", "'modules/storage", "'modules/stores", r"modules/storage\.bicep:1: no module leads here"),
    ("main.bicep", "    tags: {", "    labels: {", r"main\.bicep:\d+: modules/storage\.bicep has no parameter labels"),
    ("modules/storage.bicep", "tags object = {}", "tags object = {}\nparam more bool\noutput x bool = more",
     r"main\.bicep:\d+: module storage does not pass more, which modules/storage\.bicep requires"),
    ("modules/storage.bicep", "output name", "output title", r"main\.bicep:\d+: module storage has no output name"),
    ("main.bicep", "Name: storage.outputs.name", "Name: isPrivate ? 'x' : storage.outputs.nam", r"no output nam"),
    # Modules of the public registry.
    ("main.bicep", "identity:0.6.0", "identity:0.6", r"main\.bicep:16: .* is not pinned: give an exact version"),
    ("main.bicep", "identity:0.6.0", "identity:0.0.1", r"main\.bicep:16: .* is not in the table of known modules"),
    ("main.bicep", "name: 'groundswell'\n", "nam: 'groundswell'\n", r"main\.bicep:19: br/.*:0\.6\.0 has no parameter "),
    ("main.bicep", "    name: 'groundswell'\n", "", r"main\.bicep:16: module identity does not pass name"),
    ("main.bicep", "identity.outputs.principalId", "identity.outputs.objectId", r"module identity has no output objec"),
    # What azd and the hooks pass.
    ("main.parameters.json", '"isPrivate"', '"private"', r"main\.parameters\.json: main\.bicep has no parameter priva"),
    ("main.parameters.json", '"isPrivate"', '"private"', r"main\.bicep:6: param isPrivate is not in main\.parameters"),
    ("hooks/postdeploy.sh", "topicName=y", "", r"events\.bicep:2: param topicName is not passed by .*/postdeploy\.sh"),
    ("hooks/postdeploy.sh", "az deployment", "# az deployment", r"events\.bicep:1: no script of infra/hooks deploys"),
    # What Azure knows.
    ("main.bicep", "resourceGroups@2025-04-01", "resourceGroups@2025-04-02", r"main\.bicep:11: .* no known API versio"),
    ("main.bicep", "Resources/resourceGroups@", "Resources/groups@", r"main\.bicep:11: .* is no known resource type"),
    ("modules/access.bicep", "principalType:", "principalKind:", r"access\.bicep:11: .* has no property principalKind"),
    ("modules/access.bicep", "    principalId: principalId\n", "", r"access\.bicep:9: .* lacks principalId, which Azu"),
    ("events.bicep", "'AzureFunction'", "'Function'", r"events\.bicep:16: .*endpointType is 'Function': it can be Az"),
    ("events.bicep", "retryPolicy: w", "retry: w", r"events\.bicep:20: subscriptions\.properties has no property retr"),
    ("main.bicep", "'role-${index}'", "'fb382eab-e894-4461-af04-94435c366c30'", r"main\.bicep:\d+: fb3\S+ is no known"),
    # What the app's settings, roles, events and storage take from Bicep.
    ("main.bicep", "  clientId:", "  client:", r"main\.bicep:\d+: computed\.client is taken by no setting"),
    ("main.bicep", "  clientId:", "  client:", r"main\.bicep:\d+: computed lacks clientId, which infra/app-settings"),
    ("main.bicep", "computed = ", "values = ", r"infra: one Bicep file has to declare var computed"),
    ("main.bicep", "== 'storageAccount'", "== 'storage'", r"main\.bicep:\d+: role\.scope storage is not in infra/app-"),
    ("main.bicep", "== 'storageAccount'", "== 'storage'", r"app-roles\.json: no Bicep file handles the scope storageA"),
    ("main.bicep", "!= 'grantPush'", "!= 'grantpush'", r"main\.bicep:\d+: role\.name grantpush is not in infra/app-ro"),
    ("events.bicep", "== 'baseRegistry'", "== 'base'", r"events\.bicep:\d+: one\.source base is not in infra/event-su"),
    ("modules/storage.bicep", "'fan-outs'", "'fanouts'", r"storage\.bicep:12: nothing uses fanouts of the queues"),
    ("modules/storage.bicep", "'fan-outs'", "'fanouts'", r"infra: no Bicep file makes fan-outs of the queues"),
    ("modules/storage.bicep", "'ledger'", "toLower('L')", r"storage\.bicep:13: cannot tell which of the tables this i"),
    ("modules/storage.bicep", "name: letters", "name: 'lost'", r"infra: no Bicep file makes dead-letters of the conta"),
])  # fmt: skip
def test_broken_bicep_is_found(project: Path, file: str, old: str, new: str, finding: str) -> None:
    found = found_after(project, f"infra/{file}", old, new)
    assert any(re.search(finding, line) for line in found), found


@pytest.mark.parametrize("file", ["app-roles.json", "app-settings.json", "event-subscriptions.json"])
def test_file_that_nobody_can_read_is_named(project: Path, file: str) -> None:
    path = project / "infra" / file
    path.write_text(path.read_text() + "}")
    (finding,) = check_infra.findings(project)
    assert finding.startswith(f"infra/{file}: no JSON: ")
    path.write_text("{}")
    (finding,) = check_infra.findings(project)
    assert finding.startswith(f"infra/{file}: lacks the list ")


def test_project_without_bicep_is_found(project: Path) -> None:
    for path in (project / "infra").rglob("*.bicep"):
        path.unlink()
    assert "infra: there is no Bicep file" in list(check_infra.findings(project))


@pytest.mark.parametrize(("entry", "changes", "finding"), [
    ("GROUNDSWELL_FOLLOW_RUNS", {"name": "GROUNDSWELL_FOLLOW"}, "GROUNDSWELL_FOLLOW_RUNS of shared/settings.py is mis"),
    ("GROUNDSWELL_FOLLOW_RUNS", {"name": "GROUNDSWELL_FOLLOW"}, "GROUNDSWELL_FOLLOW is not read by shared/settings.py"),
    ("GROUNDSWELL_CLAIM_SECONDS", {"name": "GROUNDSWELL_CLAIM"}, "GROUNDSWELL_CLAIM_SECONDS of shared/settings.py is"),
    ("GROUNDSWELL_CLAIM_SECONDS", {"default": "900"}, "has the default '900', in shared/settings.py it is '600'"),
    ("GROUNDSWELL_SUBSCRIPTIONS", {"required": False}, "GROUNDSWELL_SUBSCRIPTIONS is required by shared/settings.py"),
    ("AzureWebJobsStorage__accountName", {"required": False}, "accountName is required in azure by shared/settings.py"),
    ("AZURE_CLIENT_ID", {"required": True}, "AZURE_CLIENT_ID is not required in azure by shared/settings.py"),
    ("GROUNDSWELL_RUN_CHECK_SECONDS", {"value": "0"}, "what it sets in azure is refused .*GROUNDSWELL_RUN_CHECK_SECON"),
    ("GROUNDSWELL_POLICY", {"description": None}, "GROUNDSWELL_POLICY lacks description"),
    ("GROUNDSWELL_POLICY", {"note": "x"}, "GROUNDSWELL_POLICY has an unknown note"),
    ("GROUNDSWELL_POLICY", {"where": ["cloud"]}, "GROUNDSWELL_POLICY: where is a list of azure and local"),
    ("GROUNDSWELL_POLICY", {"required": True}, "GROUNDSWELL_POLICY is required: give it a value or a from"),
    ("AZURE_CLIENT_ID", {"value": "x"}, "AZURE_CLIENT_ID has both value and from"),
    ("AZURE_CLIENT_ID", {"name": "GROUNDSWELL_POLICY"}, "GROUNDSWELL_POLICY is there twice"),
    ("AzureWebJobsStorage", {"where": ["azure"]}, "AzureWebJobsStorage is a secret: Azure gets none"),
    ("AzureWebJobsStorage", {"where": ["azure"], "secret": False}, "sample.json: AzureWebJobsStorage is no local sett"),
    ("AZURE_CLIENT_ID", {"from": "objectId"}, "computed lacks objectId"),
    ("AZURE_AUTHORITY_HOST", {"name": "AZURE_LOG_LEVEL"}, r":\d+: AZURE_LOG_LEVEL is not documented"),
    ("AZURE_AUTHORITY_HOST", {"name": "AZURE_LOG_LEVEL"}, r":\d+: AZURE_AUTHORITY_HOST is not in infra/app-settings"),
    ("AZURE_AUTHORITY_HOST", {"default": "https://x"}, r":\d+: AZURE_AUTHORITY_HOST: the default is not that of"),
    ("FUNCTIONS_WORKER_RUNTIME", {"value": "node"}, "sample.json: FUNCTIONS_WORKER_RUNTIME is 'node' in infra/app-set"),
])  # fmt: skip
def test_setting_that_disagrees_is_found(project: Path, entry: str, changes: dict[str, Any], finding: str) -> None:
    found = change(project, "app-settings", entry, changes)
    assert any(re.search(finding, line) for line in found), found


@pytest.mark.parametrize(("file", "old", "new", "finding"), [
    ("README.md", "| setting | default |", "| name | default |", "README.md: there is no table with the columns setti"),
    ("README.md", "| `30` |", "| `31` |", r"README\.md:\d+: GROUNDSWELL_\w+: the default is not that of"),
    ("README.md", "| `GROUNDSWELL_POLICY` |", "| `GROUNDSWELL_FILE` |", r"README\.md:\d+: GROUNDSWELL_FILE is not in"),
    ("README.md", "| `GROUNDSWELL_POLICY` |", "| `GROUNDSWELL_FILE` |", "GROUNDSWELL_POLICY is not documented"),
    ("local.settings.sample.json", "GROUNDSWELL_POLICY", "GROUNDSWELL_FILE", "sample.json: GROUNDSWELL_FILE is no loc"),
    ("local.settings.sample.json", '"FUNCTIONS_WORKER', '"XFUNCTIONS_WORKER', "FUNCTIONS_WORKER_RUNTIME is required a"),
    ("local.settings.sample.json", "00000000-0000", "0000", "sample.json: refused by .*GROUNDSWELL_SUBSCRIPTIONS"),
    ("host.json", "00:10:00", "00:10:01", "host.json: functionTimeout is longer than GROUNDSWELL_CLAIM_SECONDS"),
])  # fmt: skip
def test_document_or_sample_that_disagrees_is_found(project: Path, file: str, old: str, new: str, finding: str) -> None:
    found = found_after(project, file, old, new)
    assert any(re.search(finding, line) for line in found), found


@pytest.mark.parametrize(("entry", "changes", "finding"), [
    ("tasks", {"role": "AcrPush"}, "tasks: fb382eab-.* is Container Registry Tasks Contributor, not AcrPush"),
    ("tasks", {"roleDefinitionId": "fb382eab-e894-4461-af04-94435c366c30"}, "tasks: fb382eab-.*0 is no known role"),
    ("tasks", {"scope": "everything"}, "tasks: the scope everything is unknown to demo/infra.py"),
    ("tasks", {"why": ""}, "tasks: say why it is needed"),
    ("ledger", {"name": "queues"}, "queues is there twice"),
    ("grantPull", {"conditionVersion": "1.0"}, "grantPull: a condition needs conditionVersion 2.0"),
    ("grantPull", {"condition": "((x"}, "grantPull: the condition cannot be read: .* at position"),
    ("grantPush", {"condition": "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] "
                                "GuidEquals 2a1e307c-b015-4ebd-883e-5b7698a07320"}, "grantPush: 2a1e307c.* is no know"),
])  # fmt: skip
def test_role_that_disagrees_is_found(project: Path, entry: str, changes: dict[str, Any], finding: str) -> None:
    found = change(project, "app-roles", entry, changes)
    assert any(re.search(finding, line) for line in found), found


@pytest.mark.parametrize(("entry", "changes", "finding"), [
    ("groundswell-base-image-pushed", {"function": "image_pushed"}, "has no Event Grid function image_pushed"),
    ("groundswell-base-image-pushed", {"function": "start_run"}, "has no Event Grid function start_run"),
    ("groundswell-base-image-pushed", {"function": "team_registry_changed"}, "no subscription leads to base_image_pus"),
    ("groundswell-base-image-pushed", {"name": "base image"}, "base image: a name has 3 to 57 letters"),
    ("groundswell-base-image-pushed", {"source": "registry"}, "the source registry is unknown to demo/infra.py"),
    ("groundswell-base-image-pushed", {"topicType": "Microsoft.Registries"}, "unknown topicType Microsoft.Registries"),
    ("groundswell-base-image-pushed", {"filter": {}}, "name the event types"),
    ("groundswell-base-image-pushed", {"filter": {"includedEventTypes": ["ImagePushed"]}}, "has no event type ImagePu"),
    ("groundswell-base-image-pushed", {"filter": {"includedEventTypes": ["Microsoft.ContainerRegistry.ImagePushed"],
     "advancedFilters": [{"operatorType": "StringEquals", "key": "subject", "values": ["x"]}]}}, "'StringEquals' is n"),
])  # fmt: skip
def test_event_subscription_that_disagrees_is_found(
    project: Path, entry: str, changes: dict[str, Any], finding: str
) -> None:
    found = change(project, "event-subscriptions", entry, changes)
    assert any(re.search(finding, line) for line in found), found


@pytest.mark.parametrize(("old", "new", "finding"), [
    ('"EventGridSchema"', '"CloudEventSchemaV1_0"', "pin eventDeliverySchema to"),
    ('"dead-letters"', '"Dead_Letters"', "deadLetter.container is no name of a blob container"),
    ('"maxDeliveryAttempts": 30', '"maxDeliveryAttempts": 31', "maxDeliveryAttempts should be between 1 and 30"),
])  # fmt: skip
def test_delivery_that_disagrees_is_found(project: Path, old: str, new: str, finding: str) -> None:
    found = found_after(project, "infra/event-subscriptions.json", old, new)
    assert any(finding in line for line in found), found


@pytest.mark.parametrize(
    "queues", [{"fan-outs", "rebuild-requests"}, {"fan-outs", "rebuild-requests", "run-checks", "x"}]
)
def test_queue_that_is_not_in_the_messages_module_is_found(project: Path, queues: set[str]) -> None:
    code = dataclasses.replace(events.indexed(), queues=frozenset(queues))
    found = list(check_infra.findings(project, code))
    assert any(line.startswith("handlers: queue ") for line in found), found


TYPES = [
    {"$type": "StringType"},
    {"$type": "StringLiteralType", "value": "Blob"},
    {"$type": "StringLiteralType", "value": "Queue"},
    {"$type": "UnionType", "elements": [{"$ref": "#/1"}, {"$ref": "#/2"}]},
    {"$type": "UnionType", "elements": [{"$ref": "#/1"}, {"$ref": "#/0"}]},
    {"$type": "ObjectType", "properties": {"kind": {"type": {"$ref": "#/1"}, "flags": 1},
                                           "container": {"type": {"$ref": "#/0"}, "flags": 1}}},
    {"$type": "DiscriminatedObjectType", "discriminator": "kind", "elements": {"Blob": {"$ref": "#/5"}},
     "baseProperties": {"note": {"type": {"$ref": "#/0"}, "flags": 0}}},
    {"$type": "ArrayType", "itemType": {"$ref": "#/6"}},
    {"$type": "ObjectType", "properties": {}, "additionalProperties": {"$ref": "#/0"}},
    {"$type": "ObjectType", "properties": {
        "name": {"type": {"$ref": "#/0"}, "flags": 9}, "id": {"type": {"$ref": "#/0"}, "flags": 10},
        "closed": {"type": {"$ref": "#/3"}, "flags": 0}, "open": {"type": {"$ref": "#/4"}, "flags": 0},
        "targets": {"type": {"$ref": "#/7"}, "flags": 0}, "tags": {"type": {"$ref": "#/8"}, "flags": 0}}},
    {"$type": "ResourceType", "name": "Microsoft.Sample/things@2026-01-01", "body": {"$ref": "#/9"}},
]  # fmt: skip


def test_published_type_is_read_without_what_nobody_can_set() -> None:
    types = update_known.Types(json.dumps(TYPES))
    assert types.resource("microsoft.sample/Things@2026-01-01") == {
        "name!": None, "closed": ["Blob", "Queue"], "open": None, "tags": None,
        "targets": {"kind!": ["Blob"], "note": None, "container": None},
    }  # fmt: skip
    assert types.resource("Microsoft.Sample/things@2025-01-01") is None

"""Settings, routes and outputs of the Functions host, piece by piece."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.functions.meta import Datum

from dev.functionshost.json_net import with_times_rewritten
from dev.functionshost.model import Binding, Function
from dev.functionshost.outputs import encode_message, split_messages
from dev.functionshost.queues import poison_queue_name
from dev.functionshost.routing import RouteError, find_route, make_route
from dev.functionshost.settings import (
    AppSettings,
    SettingsError,
    UnresolvedSettingError,
    load_app_settings,
    load_host_json,
    parse_time_span,
)
from dev.functionshost.storage import MissingConnectionError, QueueAccounts

DEVELOPMENT_QUEUE = "http://127.0.0.1:10001/devstoreaccount1/q"


def http_function(name: str, route: str, *methods: str) -> Function:
    properties = {"route": route, "methods": list(methods)}
    return Function(name, (Binding("req", "httpTrigger", "IN", properties),))


def host_json(directory: Path, document: Any) -> Path:
    (directory / "host.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return directory


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:01:30", timedelta(seconds=90)),
        ("00:00:00.100", timedelta(milliseconds=100)),
        ("2.03:00:00", timedelta(days=2, hours=3)),
        ("00:05", timedelta(minutes=5)),
    ],
)
def test_time_span_is_read(text: str, expected: timedelta) -> None:
    assert parse_time_span(text) == expected


@pytest.mark.parametrize("text", ["", "90", "24:00:00", "00:60:00", "00:00:60", "-00:00:01", "00:01:30x", "a:b:c"])
def test_time_span_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time span"):
        parse_time_span(text)


def test_host_json_defaults_are_those_of_azure(tmp_path: Path) -> None:
    loaded = load_host_json(host_json(tmp_path, {"version": "2.0"}))
    assert loaded.route_prefix == "api"
    assert (loaded.queues.batch_size, loaded.queues.max_dequeue_count) == (16, 5)
    assert loaded.queues.new_batch_threshold == 8 * (os.cpu_count() or 1)
    assert loaded.queues.visibility_timeout == timedelta(0)
    assert loaded.queues.base64
    assert loaded.functions is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ({}, "version"),
        ({"version": "1.0"}, "version"),
        ({"version": "2.0", "functionTimeout": "10 minutes"}, "10 minutes"),
        ({"version": "2.0", "extensions": {"queues": {"batchSize": 0}}}, "batchSize"),
        ({"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}, "batchSize"),
        ({"version": "2.0", "extensions": {"queues": {"batchSize": "many"}}}, "batchSize"),
        ({"version": "2.0", "extensions": {"queues": {"newBatchThreshold": -1}}}, "newBatchThreshold"),
        ({"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 0}}}, "maxDequeueCount"),
        ({"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "00:00:00.050"}}}, "maxPollingInterval"),
        ({"version": "2.0", "extensions": {"queues": {"visibilityTimeout": "soon"}}}, "visibilityTimeout"),
        ({"version": "2.0", "extensions": {"queues": {"messageEncoding": "utf-8"}}}, "messageEncoding"),
    ],
)
def test_host_json_that_is_wrong_names_the_field(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_host_json(host_json(tmp_path, document))


def test_app_settings_override_host_json(tmp_path: Path) -> None:
    settings = AppSettings(
        {
            "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:07",
            "AzureFunctionsJobHost__Extensions__Queues__BATCHSIZE": "3",
            "AzureFunctionsJobHost:telemetryMode": "openTelemetry",
        }
    )
    document = {"version": "2.0", "extensions": {"queues": {"batchSize": 8, "maxDequeueCount": 4}}}
    loaded = load_host_json(host_json(tmp_path, document), settings)
    assert loaded.queues.max_polling_interval == timedelta(seconds=7)
    assert (loaded.queues.batch_size, loaded.queues.max_dequeue_count) == (3, 4)
    assert loaded.open_telemetry


def test_environment_wins_over_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": {"SET_HERE": "file", "NEW": "file", "NUMBER": 5}}))
    monkeypatch.setattr(os, "environ", {"SET_HERE": "environment"})
    assert load_app_settings(path) == ["SET_HERE"]
    assert os.environ == {"SET_HERE": "environment", "NEW": "file", "NUMBER": "5"}


@pytest.mark.parametrize("document", [{"IsEncrypted": True}, {"Values": []}, {"Values": {"A": {"nested": 1}}}])
def test_settings_file_that_cannot_be_used_is_refused(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match=r"local\.settings\.json"):
        load_app_settings(path)


def test_setting_references_are_resolved_without_case() -> None:
    settings = AppSettings({"QUEUE_NAME": "work", "SECTION__KEY": "value", "EMPTY": ""})
    assert settings.resolve("%queue_name%-x") == "work-x"
    assert settings.resolve("%Section:Key%") == "value"
    for missing in ("%NOTHING%", "%EMPTY%"):
        with pytest.raises(UnresolvedSettingError, match="does not resolve"):
            settings.resolve(missing)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}, DEVELOPMENT_QUEUE),
        (
            {"AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net"},
            "https://a.queue.core.windows.net/q",
        ),
        ({"AzureWebJobsStorage__accountName": "b"}, "https://b.queue.core.windows.net/q"),
    ],
)
async def test_connection_is_found_in_each_of_its_forms(environment: dict[str, str], url: str) -> None:
    accounts = QueueAccounts(AppSettings(environment))
    assert accounts.queue("", "Q").url == url
    await accounts.close()


@pytest.mark.parametrize("environment", [{}, {"Work": "nonsense"}])
async def test_connection_that_cannot_be_used_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(MissingConnectionError, match="Work"):
        QueueAccounts(AppSettings(environment)).queue("Work", "q")


def test_literal_segments_win_over_parameters() -> None:
    templates = ["{*rest}", "items/{id}", "items/{id:int}", "items/special", "items"]
    routes = [make_route(http_function(template, template), "api") for template in templates]

    def chosen(path: str) -> str:
        found = find_route(routes, path, "GET")
        return found[0].function.name if found else ""

    assert chosen("/api/items/special") == "items/special"
    assert chosen("/api/items/12") == "items/{id:int}"
    assert chosen("/api/items/abc") == "items/{id}"
    assert chosen("/api/items") == "items"
    assert chosen("/api/else/where") == "{*rest}"
    assert chosen("/other") == ""


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("a/{b}/c/{d}", "/api/a/1/c/2", {"b": "1", "d": "2"}),
        ("a/{b?}", "/api/a", {}),
        ("a/{b?}", "/api/a/1", {"b": "1"}),
        ("a/{*rest}", "/api/a/1/2", {"rest": "1/2"}),
        ("{image}", "/api/node%3A15%20alpine", {"image": "node:15 alpine"}),
        ("{image}", "/api/base%2Fnode", {"image": "base%2Fnode"}),
        ("{id:guid}", "/api/0f8fad5b-d9cb-469f-a165-70867728950e", {"id": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
        ("{id:guid}", "/api/12", None),
        ("a.b", "/api/axb", None),
    ],
)
def test_route_parameters_are_taken_from_the_path(template: str, path: str, parameters: Any) -> None:
    found = find_route([make_route(http_function("f", template), "api")], path, "GET")
    assert (found[1] if found else None) == parameters


@pytest.mark.parametrize(
    ("prefix", "template"),
    [
        ("", "admin/x"),
        ("", "runtime"),
        ("api", "{a}-{b}"),
        ("api", "{a:regex(x)}"),
        ("api", "{a:date}"),
        ("api", "{a}/{a}"),
    ],
)
def test_route_that_cannot_be_served_is_refused(prefix: str, template: str) -> None:
    with pytest.raises(RouteError):
        make_route(http_function("f", template), prefix)


def test_empty_prefix_serves_routes_at_the_root() -> None:
    assert find_route([make_route(http_function("f", "x"), "")], "/x", "GET")


@pytest.mark.parametrize(
    ("datum", "messages"),
    [
        (Datum("text", "string"), ["text"]),
        (Datum('["a", "b"]', "string"), ["a", "b"]),
        (Datum(' [1, {"x": 2}]', "string"), ["1", '{\n  "x": 2\n}']),
        (Datum("[true, null, 1.0, 1.5, [ ]]", "string"), ["True", "", "1", "1.5", "[]"]),
        (Datum("[not json", "string"), ["[not json"]),
        (Datum('{"a": {}}', "string"), ['{\n  "a": {}\n}']),
        (Datum('{"grüezi": ""}', "string"), ['{\n  "grüezi": ""\n}']),
        (Datum('["2026-01-31T10:00:00Z"]', "string"), ["01/31/2026 10:00:00"]),
        (Datum('["a", {"id": 1}]', "json"), ["a", '{\n  "id": 1\n}']),
        (Datum('["2026-01-31T10:00:00.0Z", "{ }"]', "json"), ["2026-01-31T10:00:00.0Z", "{ }"]),
        (Datum('{"id": "2026-01-31T10:00:00.0Z"}', "json"), ['{\n  "id": "2026-01-31T10:00:00.0Z"\n}']),
        (Datum("[]", "string"), []),
        (Datum([], "list"), []),
        (Datum("", "string"), [""]),
        (Datum(b"\xff", "bytes"), [b"\xff"]),
        (Datum(None, None), []),
    ],
)
def test_output_value_is_split_as_the_host_does(datum: Datum, messages: list[str | bytes]) -> None:
    assert split_messages(datum) == messages


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("2026-01-01T10:00:00.1234567+02:00", "2026-01-01T08:00:00.1234567+00:00"),
        ("2026-01-01T00:30:00+0130", "2025-12-31T23:00:00+00:00"),
        ("2026-01-01T10:00:00-05", "2026-01-01T15:00:00+00:00"),
        ("2026-01-01T10:00:00z", "2026-01-01T10:00:00Z"),
        ("2026-01-01T10:00:00.12345678Z", "2026-01-01T10:00:00.12345678Z"),
        ("2026-13-01T10:00:00Z", "2026-13-01T10:00:00Z"),
        ("2026-01-01 10:00:00.0Z", "2026-01-01 10:00:00.0Z"),
        ("0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+02:00"),
        ("at 2026-01-01T10:00:00.0Z", "at 2026-01-01T10:00:00.0Z"),
    ],
)
def test_text_is_rewritten_only_if_it_is_a_time(text: str, rewritten: str) -> None:
    assert with_times_rewritten({text: [text, 1, None]}) == {text: [rewritten, 1, None]}


def test_message_is_encoded_as_host_json_says() -> None:
    assert encode_message("grüezi", base64_encoded=True) == "Z3LDvGV6aQ=="
    assert encode_message(b"\xff", base64_encoded=True) == "/w=="
    assert encode_message("grüezi", base64_encoded=False) == "grüezi"
    assert encode_message(b"plain", base64_encoded=False) == "plain"


def test_poison_queue_has_none_of_its_own() -> None:
    assert poison_queue_name("work") == "work-poison"
    assert poison_queue_name("work-poison") is None
    assert poison_queue_name("x" * 57) is None

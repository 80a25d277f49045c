"""Logs: a sentence for people, fields for programs, and nothing that was not named."""

from __future__ import annotations

import logging

import pytest

from shared import settings
from shared.app import App, build
from shared.logs import Log
from tests.builders import NODE, SUBSCRIPTION, event, policy, replaced


def test_record_reads_as_a_sentence_and_carries_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")

    Log("rebuilds").info("run scheduled", registry="myregistry", image=NODE, reason="a new\n  base")

    (record,) = caplog.records
    assert record.name == "groundswell.rebuilds"
    assert record.getMessage() == f'run scheduled registry=myregistry image={NODE} reason="a new base"'
    assert vars(record)["groundswell.registry"] == "myregistry"
    assert vars(record)["groundswell.image"] == str(NODE)


def test_empty_fields_are_left_out_but_zero_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")

    Log("fanout").info("event handled", event_id=None, reason="", requests=0)

    (record,) = caplog.records
    assert record.getMessage() == "event handled requests=0"
    assert "groundswell.reason" not in vars(record)


@pytest.mark.parametrize("name", ["name", "msg", "message", "args", "module", "levelname"])
def test_field_may_be_called_like_an_attribute_of_log_records(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")

    Log("work").info("done", **{name: "x"})

    assert caplog.records[0].getMessage() == f"done {name}=x"


@pytest.mark.parametrize(("method", "level"), [("info", 20), ("warning", 30), ("error", 40)])
def test_level_says_who_should_look(method: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")

    getattr(Log("work"), method)("happened")

    assert caplog.records[0].levelno == level


def test_percent_signs_in_fields_are_harmless(caplog: pytest.LogCaptureFixture) -> None:
    Log("work").error("100 % odd", detail="%s %d")

    assert caplog.records[0].getMessage() == '100 % odd detail="%s %d"'


@pytest.fixture
def app() -> App:
    """The real app: events that are ignored need no connection."""
    values = {"GROUNDSWELL_SUBSCRIPTIONS": SUBSCRIPTION, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    return build(settings.load(values), policy=policy)


@pytest.mark.parametrize("name", ["task_written", "webhook_written", "run_scheduled", "deployment_written"])
async def test_ignored_event_is_logged_with_its_reason_and_without_its_claims(
    name: str, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    delivered = event(name)

    assert await app.fan_outs.team_registry_changed(delivered) == []

    (record,) = caplog.records
    assert delivered["id"] in record.getMessage()
    assert "reason=other-" in record.getMessage()
    for personal in [value for value in delivered["data"]["claims"].values() if len(value) > 3]:
        assert personal not in repr(vars(record))


@pytest.mark.parametrize("broken", ["id", "data", "eventType"])
async def test_malformed_event_is_a_warning(broken: str, app: App, caplog: pytest.LogCaptureFixture) -> None:
    delivered = replaced(event("registry_created"), broken, ["Hong Gildong"])

    assert await app.fan_outs.team_registry_changed(delivered) == []

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "reason=malformed-event" in record.getMessage()
    assert "Gildong" not in repr(vars(record))


def test_push_that_no_task_builds_on_is_logged_by_its_image(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")
    pushed = replaced(event("image_pushed"), "data.target.tag", "16-alpine")

    assert app.fan_outs.base_image_pushed(pushed) is None

    assert "reason=not-in-policy detail=baseimages/node:16-alpine" in caplog.text

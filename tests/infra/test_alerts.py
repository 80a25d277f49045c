"""Alerts and workbook ask for what the app and its topics send, and whoever may see the app may read it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.infra.predicted import EVENTS, ROOT, SUBSCRIPTIONS, made, only


@pytest.mark.parametrize("case", EVENTS)
def test_deliveries_that_fail_are_heard_of_for_every_topic_and_for_ours_alone(case: str) -> None:
    ours = {one["id"].partition("/eventSubscriptions/")[0]: one["name"].rpartition("/")[2]
            for one in made(case, SUBSCRIPTIONS)}  # fmt: skip
    heard: dict[str, set[str]] = {topic: set() for topic in ours}
    for alert in made(case, "Microsoft.Insights/metricAlerts"):
        (topic,), (criterion,) = alert["properties"]["scopes"], alert["properties"]["criteria"]["allOf"]
        assert [one["values"] for one in criterion["dimensions"]] == [[ours[topic]]]
        assert alert["id"].split("/")[2] == topic.split("/")[2]
        assert alert["properties"]["actions"]
        heard[topic].add(criterion["metricName"])
    wanted = {"DeliveryAttemptFailCount", "DeadLetteredCount", "DroppedEventCount"}
    assert heard == dict.fromkeys(ours, wanted)


def query_rule(name: str) -> dict[str, Any]:
    """Return the one criterion of an alert rule over telemetry."""
    rules = made("main-default", "Microsoft.Insights/scheduledQueryRules")
    (alert,) = [one for one in rules if one["name"].endswith(f"-{name}")]
    (criterion,) = alert["properties"]["criteria"]["allOf"]
    return dict(criterion)


def test_alert_on_failing_functions_leaves_out_what_callers_did_wrong() -> None:
    # The exporters call an answer 4xx a failed request, too.
    assert 'success == false and resultCode !startswith "4"' in query_rule("function-failures")["query"]


def test_alert_on_silence_says_nothing_of_a_deployment_that_is_new() -> None:
    criterion = query_rule("silent")
    # Rows raise it, and a table without a line gives none until the deployment is a day old.
    assert (criterion["operator"], criterion["threshold"]) == ("GreaterThan", 0)
    assert re.search(r"last < ago\(1h\) or \(isnull\(last\) and now\(\) > datetime\(.*CreationDate.* \+ 1d\)",
                     criterion["query"].replace("__CREATED__", "CreationDate"))  # fmt: skip


def test_alerts_and_workbook_ask_for_metrics_that_the_app_sends() -> None:
    sent = set(re.findall(r'"(groundswell\.[\w.]+)"', (ROOT / "shared" / "telemetry.py").read_text()))
    shown = [
        *made("main-default", "Microsoft.Insights/scheduledQueryRules"),
        only("main-default", "Microsoft.Insights/workbooks"),
    ]
    asked = set(
        re.findall(r'(?<!\[)\\*"(groundswell\.[\w.]+)\\*"(?!\])', json.dumps([one["properties"] for one in shown]))
    )
    assert "groundswell.queue.messages" in asked
    assert {name for name in asked if f'["{name}"]' not in json.dumps(shown).replace("\\", "")} <= sent


def test_who_may_read_telemetry_needs_no_right_on_the_workspace() -> None:
    features = only("main-default", "Microsoft.OperationalInsights/workspaces")["properties"]["features"]
    assert features["enableLogAccessUsingOnlyResourcePermissions"] is True

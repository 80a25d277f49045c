"""The comparison and the report of the conformance run: a difference that they miss would never be seen."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dev.conformance.compare import ANYTHING, differences
from dev.conformance.report import Report

GUID = "7f951dda-4ed3-4680-a7ca-43fe172d538d"


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": None, "b": [1, {"c": True}]}, {"b": [1, {"c": True}], "a": None}),
        ("/x/<guid>/{name}", f"/x/{GUID}/task"),
        ({"{name}": "<time>"}, {"task": "2026-09-10T06:54:24.1875712+00:00"}),
        (ANYTHING, {"whatever": 1}),
        ("a.b", "a.b"),
    ],
)
def test_differences_none_where_azure_answers_the_same(expected: Any, actual: Any) -> None:
    assert differences(expected, actual, {"name": "task"}) == []


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        ({"a": None}, {}, "a is missing, Azure has null"),
        ({}, {"a": None}, "a is not in Azure's answer: null"),
        ({"a": {"b": "X"}}, {"a": {"b": "x"}}, "a.b is 'x', Azure has 'X'"),
        ({"a": True}, {"a": 1}, "a is 1, Azure has true"),
        ([1], [1, 2], "the answer has 2 items, Azure has 1"),
        ({"a": []}, {"a": None}, "a is null, Azure has []"),
        ("<guid>", f"{GUID} ", f"the answer is '{GUID} ', Azure has '<guid>'"),
        ("a.b", "axb", "the answer is 'axb', Azure has 'a.b'"),
        (
            "<second>",
            "2026-09-10T06:54:24.1+00:00",
            "the answer is '2026-09-10T06:54:24.1+00:00', Azure has '<second>'",
        ),
    ],
)
def test_differences_named_where_anything_differs(expected: Any, actual: Any, said: str) -> None:
    assert differences(expected, actual) == [said]


def _report() -> tuple[Report, io.StringIO]:
    written = io.StringIO()
    report = Report()
    report.console = Console(file=written, width=120)
    return report, written


def test_report_fails_on_a_difference_and_shows_it_below_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    report, written = _report()
    report.add("az", "az acr show")
    assert not report.failed
    report.add("az", "az acr list", ["name is 'a', Azure has 'b'"])
    report.print_table()
    assert report.failed
    rows = written.getvalue().rpartition("What it did")[2]
    assert rows.index("az acr show") < rows.index("az acr list") < rows.index("name is 'a', Azure has 'b'")
    assert "1 passed, 1 differs, 0 not run" in rows


@pytest.mark.parametrize(("variable", "fails"), [("", False), ("true", True)])
def test_report_accepts_what_cannot_be_run_except_in_ci(
    monkeypatch: pytest.MonkeyPatch, variable: str, fails: bool
) -> None:
    monkeypatch.setenv("CI", variable)
    report, written = _report()
    report.add("skopeo", "everything", not_run="skopeo is not installed")
    report.print_table()
    assert report.failed == fails
    assert "skopeo is not installed" in written.getvalue()


def test_report_fails_when_nothing_was_checked() -> None:
    assert _report()[0].failed

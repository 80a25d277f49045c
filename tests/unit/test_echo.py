"""What others wrote is repeated on one line, printable and cut, wherever it is repeated."""

from __future__ import annotations

import logging

import pytest

from shared.adapters.azure_errors import seconds
from shared.adapters.messages import FanOut, decode
from shared.domain import images
from shared.domain.echo import quoted, shown
from shared.domain.errors import GroundswellError, InvalidInput, PermanentError, TemporaryError
from shared.domain.policy import values_for
from shared.domain.refusals import failure_line
from shared.logs import Log
from tests.builders import policy

NASTY = "a\r\n2026-01-01 forged line\x00\x1b[31mred\x1b[0m\u2028b\u202ec\x85d\ud800e"
LONG = "x" * 1_000_000


def is_fit(text: str) -> bool:
    return len(text) < 5000 and text.isprintable()


@pytest.mark.parametrize("text", [NASTY, LONG, f"{NASTY}{LONG}", " " * 1_000_000, "\n" * 1_000_000])
def test_what_others_wrote_is_cut_and_printable(text: str) -> None:
    assert is_fit(shown(text))
    assert len(shown(text)) <= 100
    assert is_fit(quoted(text))


def test_what_is_short_and_printable_is_repeated_as_it_is() -> None:
    assert shown("Größe: 3 µm, 日本語") == "Größe: 3 µm, 日本語"
    assert shown("x" * 100) == "x" * 100
    assert quoted("myregistry") == "'myregistry'"


def test_colours_of_a_terminal_leave_no_trace() -> None:
    assert shown("\x1b[1;31merror\x1b[0m: \x1b[2Kno such file") == "error: no such file"


@pytest.mark.parametrize("kind", [GroundswellError, PermanentError, TemporaryError, InvalidInput])
@pytest.mark.parametrize("text", [NASTY, LONG])
def test_no_error_repeats_more_than_answers_and_logs_can_bear(kind: type[GroundswellError], text: str) -> None:
    assert is_fit(str(kind(f"Could not do it: {text}")))


def test_name_of_a_wrong_member_is_cut_too() -> None:
    assert is_fit(InvalidInput("wrong", NASTY + LONG).field)


@pytest.mark.parametrize("text", [NASTY, LONG])
def test_log_line_and_its_fields_are_short_and_printable(text: str, caplog: pytest.LogCaptureFixture) -> None:
    Log("work").error("happened", reason=text, error=ValueError(text))
    (record,) = caplog.records
    assert is_fit(record.getMessage().removesuffix(text)) or len(record.getMessage()) < 10_000
    assert record.getMessage().isprintable()
    assert is_fit(vars(record)["groundswell.reason"])
    assert is_fit(vars(record)["groundswell.error"])


@pytest.mark.parametrize("text", [NASTY, LONG])
def test_queue_message_that_nobody_understands_is_described_in_short(text: str) -> None:
    body = FanOut.model_validate({"id": "1", "cause": "manual", "requestedAt": "2026-01-01T00:00:00Z"}).encode()
    name = text.encode("unicode_escape").decode().replace("\\x", "\\u00")
    with pytest.raises(InvalidInput) as refused:
        decode(FanOut, body.replace("{", f'{{"{name}": 1, ', 1).encode())
    assert is_fit(str(refused.value))


@pytest.mark.parametrize("text", [NASTY, LONG])
def test_reference_that_is_none_is_repeated_in_short(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        images.parse(text)
    assert is_fit(str(refused.value))
    assert "write repository:tag" in str(refused.value)


@pytest.mark.parametrize("text", [NASTY, LONG])
def test_problem_with_a_tag_of_a_team_names_the_tag_in_short(text: str) -> None:
    (task,) = policy().tasks
    for tags in ({f"base-image-rebuilds.{text}": "x"}, {"base-image-rebuilds.image": text}):
        assert all(is_fit(problem) for problem in values_for(task, tags).problems)


def test_reason_of_a_failed_run_has_no_colours() -> None:
    assert failure_line("\x1b[31mnpm error code E404\x1b[0m\r\n") == "npm error code E404"


@pytest.mark.parametrize("header", ["inf", "1e999", "nan", "-inf", "soon", "", None])
def test_wait_that_is_no_number_of_seconds_is_no_wait(header: str | None) -> None:
    assert seconds(header) is None


def test_every_record_can_be_written_as_utf8(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundswell")
    Log("fanout").info("event ignored", detail="\ud800\udcff")
    caplog.records[0].getMessage().encode()

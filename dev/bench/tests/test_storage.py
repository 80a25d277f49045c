"""What Azurite's log tells of requests and messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.bench.storage import Request, StorageMeter, parse


def line(method: str, path: str, status: int = 200) -> str:
    return f'127.0.0.1 - - [01/Dec/2026:01:07:20 +0000] "{method} /devstoreaccount1/{path} HTTP/1.1" {status} -\n'


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "walks/messages?numofmessages=8", "queue receive"),
        ("POST", "walks/messages?visibilitytimeout=60", "queue POST"),
        ("DELETE", "walks/messages/2d595df0?popreceipt=MDFE", "queue DELETE"),
        ("GET", "walks?comp=metadata", "queue GET"),
        ("PUT", "walks", "queue PUT"),
        ("POST", "$batch", "table transaction"),
        ("POST", "Tables", "table POST"),
        ("POST", "ledger", "table POST"),
        ("GET", "ledger()?$filter=PartitionKey%20eq%20%27a%2Fb%27", "table GET"),
        ("PATCH", "ledger(PartitionKey='a',RowKey='1')", "table PATCH"),
        ("PUT", "azure-webjobs-hosts/timers/1/status", ""),
        ("PUT", "azure-webjobs-hosts?restype=container", ""),
    ],
)
def test_request_is_named_after_its_service_and_what_was_asked(method: str, path: str, name: str) -> None:
    request = parse(line(method, path))
    assert request
    assert request.name == name


def test_what_azurite_says_of_itself_is_no_request() -> None:
    assert parse("Azurite Table service is starting at http://127.0.0.1:10002\n") is None


def test_most_messages_at_once_count_from_when_they_are_sent_until_they_are_deleted(tmp_path: Path) -> None:
    meter = StorageMeter(tmp_path / "azurite.log")
    one, other = Request("DELETE", "walks/messages/1?popreceipt=a", 204), Request("DELETE", "runs/messages/2", 204)
    sent = Request("POST", "walks/messages", 201), Request("POST", "runs/messages?visibilitytimeout=60", 201)
    for request in (sent[0], one, sent[0], sent[1], other, one):
        meter.add(request)
    assert (meter.most, meter.left) == (2, 0)


def test_messages_set_aside_and_requests_that_failed_move_no_message(tmp_path: Path) -> None:
    meter = StorageMeter(tmp_path / "azurite.log")
    meter.add(Request("POST", "walks-poison/messages", 201))
    meter.add(Request("POST", "walks/messages", 404))
    meter.add(Request("DELETE", "walks/messages/1", 404))
    assert (meter.most, meter.left) == (0, 0)
    assert meter.counts == {"queue POST": 2, "queue DELETE": 1}


def test_emptied_queue_holds_nothing(tmp_path: Path) -> None:
    meter = StorageMeter(tmp_path / "azurite.log")
    for request in (Request("POST", "walks/messages", 201), Request("DELETE", "walks/messages", 204)):
        meter.add(request)
    assert meter.left == 0


def test_log_is_read_on_from_where_its_last_whole_line_ended(tmp_path: Path) -> None:
    meter = StorageMeter(tmp_path / "azurite.log")
    half = line("POST", "walks/messages", 201)
    meter.log.write_text(line("GET", "walks/messages") + half[:40])
    assert meter.read().counts == {"queue receive": 1}
    meter.log.write_text(line("GET", "walks/messages") + half)
    assert meter.read().counts == {"queue receive": 1, "queue POST": 1}


def test_counting_anew_keeps_the_messages_that_are_there(tmp_path: Path) -> None:
    meter = StorageMeter(tmp_path / "azurite.log")
    meter.log.write_text(line("POST", "walks/messages", 201))
    meter.clear()
    assert (meter.counts.total(), meter.most, meter.left) == (0, 1, 1)

"""Queue messages: what was sent is what arrives, and what nobody of ours can have sent is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.messages import Cause, Image, RebuildRequest, RunCheck, decode
from shared.domain.errors import InvalidInput
from shared.domain.images import BaseImage
from tests.builders import DIGEST, NODE, SUBSCRIPTION, registry_id, replaced

WHEN = datetime(2026, 11, 20, 8, 15, 42, 654961, tzinfo=UTC)
REQUEST = {
    "version": 1,
    "id": "e1:myregistry:helloworldtask",
    "registry": registry_id("myregistry"),
    "task": "helloworldtask",
    "cause": "base-image-pushed",
    "image": {"repository": "baseimages/node", "tag": "15-alpine", "digest": DIGEST},
    "eventId": "e1",
    "requestedAt": "2026-11-20T08:15:42.654961Z",
}
CHECK = {"request": REQUEST, "runId": "cf10", "build": DIGEST, "scheduledAt": "2026-11-20T08:15:50Z", "attempts": 3}

# Text that UTF-8 can hold.
TEXT = st.characters(codec="utf-8")
moments = st.datetimes(
    min_value=datetime(2000, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))]),
)
requests = st.builds(
    RebuildRequest,
    version=st.just(1),
    id=st.text(TEXT, min_size=1, max_size=200),
    registry=st.just(registry_id("myregistry")),
    task=st.from_regex(r"[a-zA-Z0-9_-]{5,50}", fullmatch=True),
    cause=st.sampled_from(Cause),
    image=st.none()
    | st.builds(Image, repository=st.just("a/b"), tag=st.just("1"), digest=st.sampled_from(["", DIGEST])),
    eventId=st.text(TEXT, max_size=200),
    requestedAt=moments,
    attempts=st.integers(0, 10_000),
    replaces=st.just("") | st.just("cf10"),
    build=st.just("") | st.just(DIGEST),
    loginsRefused=st.integers(0, 1000),
)
checks = st.builds(
    RunCheck,
    version=st.just(1),
    request=requests,
    runId=st.from_regex(r"c[a-z][0-9a-z]{1,6}", fullmatch=True),
    build=st.text(TEXT, max_size=100),
    created=st.just("2026-11-01T08:00:00.1234567Z"),
    scheduledAt=moments,
    attempts=st.integers(0, 10_000),
)


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


@given(requests)
def test_request_arrives_as_it_was_sent(sent: RebuildRequest) -> None:
    assert decode(RebuildRequest, sent.encode().encode()) == sent


@given(checks)
def test_run_check_arrives_as_it_was_sent(sent: RunCheck) -> None:
    assert decode(RunCheck, sent.encode().encode()) == sent


def test_message_is_one_json_object_that_a_queue_output_cannot_split() -> None:
    request = decode(RebuildRequest, encoded(REQUEST))

    sent = json.loads(request.encode())

    assert isinstance(sent, dict)
    assert {name: sent[name] for name in REQUEST} == REQUEST


def test_base_image_survives_the_queue() -> None:
    request = decode(RebuildRequest, encoded(REQUEST))

    assert request.image is not None
    assert request.image.to_domain() == NODE
    assert Image.of(BaseImage("node", "15")).to_domain() == BaseImage("node", "15")


def test_request_without_an_image_leaves_it_out() -> None:
    request = decode(RebuildRequest, encoded(replaced(REQUEST, "image", ...)))

    assert request.image is None
    assert "image" not in json.loads(request.encode())


def test_registry_id_may_be_in_any_casing() -> None:
    shouted = registry_id("MyRegistry").replace("resourceGroups", "resourcegroups").upper()

    assert decode(RebuildRequest, encoded(replaced(REQUEST, "registry", shouted))).registry == shouted


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"null", b"[]", b'"x"', b"7", b"\xff\xfe", b"{}{}", b"[" * 5000, encoded([REQUEST]), b"cf10"],
)
@pytest.mark.parametrize("kind", [RebuildRequest, RunCheck])
def test_body_that_is_no_json_object_is_refused(kind: type[RebuildRequest], body: bytes) -> None:
    with pytest.raises(InvalidInput, match=f"not a {kind.__name__}: body: "):
        decode(kind, body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", "one"),
        ("id", ...),
        ("id", ""),
        ("id", 7),
        ("id", "x" * 201),
        ("registry", ...),
        ("registry", None),
        ("registry", "myregistry"),
        ("registry", registry_id("my-registry")),
        ("registry", registry_id("reg")),
        ("registry", f"{registry_id('myregistry')}/tasks/helloworldtask"),
        ("registry", f"{registry_id('myregistry')}\n"),
        ("registry", f"x{registry_id('myregistry')}"),
        ("registry", registry_id("myregistry").replace(SUBSCRIPTION, "x")),
        ("registry", registry_id("myregistry").replace("ContainerRegistry", "Storage")),
        ("task", ...),
        ("task", ""),
        ("task", "x" * 51),
        ("cause", ...),
        ("cause", "curiosity"),
        ("image", "baseimages/node:15-alpine"),
        ("image", []),
        ("image.tag", ...),
        ("image.repository", None),
        ("image.platform", "amd64"),
        ("eventId", "x" * 201),
        ("eventId", None),
        ("requestedAt", ...),
        ("requestedAt", "yesterday"),
        ("requestedAt", "2026-11-20T08:15:42"),
        ("requestedAt", None),
        ("attempts", -1),
        ("attempts", "many"),
        ("replaces", "x" * 101),
        ("build", "x" * 301),
        ("loginsRefused", -1),
        ("loginsRefused", 1001),
        ("claims", {"name": "x"}),
    ],
)
def test_request_with_a_wrong_member_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"not a RebuildRequest: {field}: ") as refused:
        decode(RebuildRequest, encoded(replaced(REQUEST, field, value)))

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("repository", "Base/Node"),
        ("repository", ""),
        ("tag", "15 alpine"),
        ("tag", "$(reboot)"),
        ("digest", "sha256:1"),
    ],
)
def test_request_for_an_image_that_cannot_exist_is_refused(member: str, value: str) -> None:
    with pytest.raises(InvalidInput, match="is not a base image") as refused:
        decode(RebuildRequest, encoded(replaced(REQUEST, f"image.{member}", value)))

    assert refused.value.field == "image"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request", ...),
        ("request", {}),
        ("request.registry", "myregistry"),
        ("runId", ...),
        ("runId", ""),
        ("runId", "x" * 101),
        ("build", ...),
        ("scheduledAt", "2026-11-20T08:15:50"),
        ("scheduledAt", ...),
        ("attempts", -1),
        ("run", "cf10"),
    ],
)
def test_run_check_with_a_wrong_member_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"not a RunCheck: {field}") as refused:
        decode(RunCheck, encoded(replaced(CHECK, field, value)))

    assert refused.value.field.startswith(field)


@given(st.binary())
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(RebuildRequest, body)

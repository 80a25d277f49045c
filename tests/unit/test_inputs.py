"""What callers send: whatever is wrong with it is answered with a sentence that says what to send."""

from __future__ import annotations

import pytest

from shared.domain.errors import InvalidInput
from shared.flows import inputs
from shared.flows.inputs import FleetBody, RunBody


@pytest.mark.parametrize("sent", [b"", b"{}", b" {} \r\n"])
def test_body_may_be_left_out_or_empty(sent: bytes) -> None:
    assert inputs.body(RunBody, sent) == RunBody()


def test_body_is_read() -> None:
    read = inputs.body(RunBody, b'{"task": "webtask", "baseImage": "baseimages/node:15-alpine"}')
    assert (read.task, read.base_image) == ("webtask", "baseimages/node:15-alpine")


@pytest.mark.parametrize(
    ("sent", "said", "field"),
    [
        (b"{", "The body: Invalid JSON", ""),
        (b"   ", "The body: Invalid JSON", ""),
        (b"[]", "The body", ""),
        (b"null", "The body", ""),
        (b"\xef\xbb\xbf{}", "byte order mark", ""),
        ("{}".encode("utf-16"), "not UTF-8", ""),
        (b'{"task": "\xff"}', "not UTF-8", ""),
        (b'{"task": "\xed\xa0\x80"}', "not UTF-8", ""),
        (b'{"task": "a\x00b"}', "Invalid JSON", ""),
        (b'{"task": "a\\u0000b"}', "task: 'a\\x00b' has characters that cannot be printed", "task"),
        (b'{"task": "\\ud800"}', "task: '\\ud800' has characters that cannot be printed", "task"),
        (b'{"task": "one", "task": "two"}', "task: is there twice", "task"),
        (b'{"task": 7}', "task: Input should be a valid string", "task"),
        (b'{"task": ' + b"9" * 5000 + b"}", "Invalid JSON", ""),
        (b'{"task": 1e999999}', "task", "task"),
        (b'{"task": NaN}', "task", "task"),
        (b'{"task": null}', "task", "task"),
        (b'{"task": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested too deeply", ""),
        (b'{"task": "' + b"x" * 51 + b'"}', "task", "task"),
        (b'{"' + b"x" * 1_000_000 + b'": 1}', "The body has 1000007 bytes: send at most 65536", ""),
        (b'{"' + b"x" * 60_000 + b'": 1}', "Extra inputs", "xxx"),
        (b'{"a\\nb": 1}', "a b: 'a\\nb' has characters that cannot be printed", "a b"),
        (b'{"\\ud800": 1}', "characters that cannot be printed", ""),
    ],
)  # fmt: skip
def test_body_that_is_wrong_is_refused_in_a_line(sent: bytes, said: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        inputs.body(RunBody, sent)
    text = str(refused.value)
    assert said in text
    assert text.isprintable()
    assert len(text) < 500
    assert refused.value.field.startswith(field)
    assert len(refused.value.field) <= 100


def test_member_of_another_request_is_refused() -> None:
    with pytest.raises(InvalidInput, match="task: Extra inputs"):
        inputs.body(FleetBody, b'{"task": "webtask"}')


@pytest.mark.parametrize("key", ["", "deploy-4711", "x" * 100, '"a b/c#d?"'])
def test_key_is_taken_as_it_is(key: str) -> None:
    assert inputs.idempotency_key(key) == key


@pytest.mark.parametrize("key", ["x" * 101, "a\udcff", "schlüssel", "a\nb", "a\x00", "one,two", "\u2028"])
def test_key_that_cannot_be_one_is_refused_and_never_shortened_to_another(key: str) -> None:
    with pytest.raises(InvalidInput, match=r"Idempotency-Key: .* at most 100 printable ASCII") as refused:
        inputs.idempotency_key(key)
    assert refused.value.field == "Idempotency-Key"
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a\x00b", "%ff", "%zz", "a\nb", "\udcff", "régistre"])
def test_part_of_a_path_that_is_encoded_wrongly_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"registry: .* has characters that no name in a path has") as refused:
        inputs.part_of_path(name, "registry")
    assert str(refused.value).isprintable()

"""Compares what a client printed, or what came over the wire, with what Azure gives, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

ANYTHING = "<anything>"

_SEVEN_DIGITS = r"\.\d{1,7}"
# What an expected value may say in place of the value: each stands for the whole of a string or for a part of it.
_MASKS = {
    "<guid>": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<time>": rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:{_SEVEN_DIGITS})?\+00:00",
    "<second>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00",
    "<zulu>": rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:{_SEVEN_DIGITS})?Z",
    "<digest>": r"sha256:[0-9a-f]{64}",
    "<run>": r"c[a-z][0-9a-z]+",
    "<label>": r"[a-z0-9]{16}",
    "<base64>": r"[A-Za-z0-9+/]+={0,2}",
    "<text>": r".+",
}
_MASK = re.compile("|".join(map(re.escape, _MASKS)))


def differences(expected: Any, actual: Any, names: Mapping[str, str] | None = None) -> list[str]:
    """Say how `actual` differs from `expected`; an empty list says that it does not.

    Objects must have the same members, lists the same items in the same order, strings the same casing, and true is
    not 1. A string of `expected` may hold masks such as `<guid>` and `<time>`; `<anything>` leaves a value alone.

    Args:
        names: Replaces `{name}` in the strings of `expected`, members' names included, by what is known by then.
    """
    return list(_differences(expected, actual, names or {}, ""))


def _differences(expected: Any, actual: Any, names: Mapping[str, str], path: str) -> Iterator[str]:
    if expected == ANYTHING:
        return
    where = path or "the answer"
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        wanted = {_filled(str(key), names): value for key, value in expected.items()}
        for key in wanted.keys() - actual.keys():
            yield f"{_member(path, key)} is missing, Azure has {_brief(wanted[key])}"
        for key in actual.keys() - wanted.keys():
            yield f"{_member(path, key)} is not in Azure's answer: {_brief(actual[key])}"
        for key in wanted.keys() & actual.keys():
            yield from _differences(wanted[key], actual[key], names, _member(path, key))
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{where} has {len(actual)} items, Azure has {len(expected)}"
        for number, (want, have) in enumerate(zip(expected, actual, strict=False)):
            yield from _differences(want, have, names, f"{path}[{number}]")
    elif isinstance(expected, str) and isinstance(actual, str):
        if not _pattern(expected, names).fullmatch(actual):
            yield f"{where} is {_brief(actual)}, Azure has {_brief(_filled(expected, names))}"
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{where} is {_brief(actual)}, Azure has {_brief(expected)}"


def _member(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _filled(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[0]), text)


def _pattern(expected: str, names: Mapping[str, str]) -> re.Pattern[str]:
    parts: list[str] = []
    end = 0
    text = _filled(expected, names)
    for match in _MASK.finditer(text):
        parts += [re.escape(text[end : match.start()]), _MASKS[match[0]]]
        end = match.end()
    return re.compile("".join([*parts, re.escape(text[end:])]), re.DOTALL)


def _brief(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 90 else f"{text[:89]}…"

"""What a recorded answer looked like: a pattern of JSON that says what is fixed and what differs from call to call.

A string of a pattern may hold `{name}`, a value known from before, and `<kind>` or `<name:kind>`, any text of a kind
(and keep it under that name). Everything else is literal: members, nulls, types, casing and the order of members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_GUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
# Up to seven digits, trailing zeros trimmed: `.18667`, `.4018602`, or none at all.
_FRACTION = r"(?:\.\d{0,6}[1-9])?"
KINDS: dict[str, str] = {
    "guid": _GUID,
    "GUID": _GUID.replace("a-f", "A-F"),
    "plain-guid": "[0-9a-f]{32}",
    "offset-time": rf"{_TIME}{_FRACTION}\+00:00",
    "zulu-time": f"{_TIME}{_FRACTION}Z",
    "whole-second": rf"{_TIME}\+00:00",
    "log-time": r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d",
    "digest": "sha256:[0-9a-f]{64}",
    "short-digest": "[0-9a-f]{12}",
    "run": "c[a-z][0-9a-z]+",
    "label": "[a-z0-9]{16}",
    "operation": rf"(?:registries|delete-\w+)-{_GUID}",
    "actor": "(?:User|Application)",
    "number": "[0-9]+",
    "decimal": r"[0-9]+(?:\.[0-9]+)?",
    "signature": "t=[0-9]{18}&c=[^&]+&s=[^&]+&h=[^&]+",
    "path": "[^?]+",
    "us-date": r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d [AP]M",
    "key-id": "[A-Z2-7]{4}(?::[A-Z2-7]{4}){11}",
    "jwt": r"[\w-]+\.[\w-]+\.[\w-]+",
    "source": r"source/\d+/\w+\.tar\.gz",
    "url": r"https://[\w.-]+\.blob\.core\.windows\.net/\S+&sp=rw&sig=\S+",
    "log-link": r"https://\w+managed\d+\.blob\.core\.windows\.net/[0-9a-f]{32}-\w{10}/logs/\w+/rawtext\.log"
    r"\?sv=[\d-]+&se=[\w%-]+&sr=b&sp=r&sig=[\w%-]+",
    "text": r"[^\r\n]+",
    "any": "(?s:.*)",
}
# A whole string that stands for a JSON value of another type.
_TYPES: dict[str, type] = {"<integer>": int, "<list>": list, "<object>": dict}
_PART = re.compile(rf"\{{(\w+)\}}|<(?:(\w+):)?({'|'.join(KINDS)})>")


def fill(value: Any, known: Mapping[str, str]) -> Any:
    """Return a JSON value with each `{name}` that is known put in, in names of members too."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda m: known.get(m[1], m[0]), value)
    if isinstance(value, dict):
        return {fill(name, known): fill(member, known) for name, member in value.items()}
    if isinstance(value, list):
        return [fill(item, known) for item in value]
    return value


def pattern(text: str, known: Mapping[str, str]) -> re.Pattern[str]:
    """Compile the pattern of one string.

    Raises:
        KeyError: It names a value that nobody knows.
    """
    expression, end = "", 0
    for part in _PART.finditer(text):
        name, keep, kind = part.groups()
        expression += re.escape(text[end : part.start()])
        expression += re.escape(known[name]) if name else f"(?P<{keep}>{KINDS[kind]})" if keep else KINDS[kind]
        end = part.end()
    return re.compile(expression + re.escape(text[end:]))


def compare(expected: Any, seen: Any, known: dict[str, str], at: str = "body", *, ordered: bool = True) -> list[str]:
    """Return how an answer differs from a pattern, a line for each place, and keep what it names in `known`.

    Args:
        expected: The pattern.
        seen: The answer's JSON value.
        known: Values for `{name}`; `<name:kind>` adds to them.
        at: Where in the answer this is, for the lines.
        ordered: Whether the order of members counts.
    """
    if isinstance(expected, str) and expected in _TYPES:
        kind = _TYPES[expected]
        return [] if isinstance(seen, kind) and not isinstance(seen, bool) else [_line(at, expected, seen)]
    if isinstance(expected, str) and isinstance(seen, str):
        if match := pattern(expected, known).fullmatch(seen):
            known.update(match.groupdict())
            return []
        return [_line(at, fill(expected, known), seen)]
    if type(expected) is not type(seen):
        return [_line(at, expected, seen)]
    if isinstance(expected, dict):
        return _compare_members(fill_names(expected, known), seen, known, at, ordered=ordered)
    if isinstance(expected, list):
        if len(expected) != len(seen):
            return [f"{at}: Azure lists {len(expected)}, localazure {len(seen)}: {_short(seen)}"]
        pairs = enumerate(zip(expected, seen, strict=True))
        return [line for i, (e, s) in pairs for line in compare(e, s, known, f"{at}[{i}]", ordered=ordered)]
    return [] if expected == seen else [_line(at, expected, seen)]


def fill_names(members: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return members with what is known put into their names only: values are patterns still."""
    return {fill(name, known): value for name, value in members.items()}


def _compare_members(
    expected: dict[str, Any], seen: dict[str, Any], known: dict[str, str], at: str, *, ordered: bool
) -> list[str]:
    lines = [f"{at}.{name}: Azure answers {_short(expected[name])}, localazure nothing"
             for name in expected if name not in seen]  # fmt: skip
    lines += [f"{at}.{name}: Azure does not answer it, localazure {_short(seen[name])}"
              for name in seen if name not in expected]  # fmt: skip
    both = [name for name in expected if name in seen]
    for name in both:
        lines += compare(expected[name], seen[name], known, f"{at}.{name}", ordered=ordered)
    there = [name for name in seen if name in expected]
    if ordered and both != there:
        lines.append(f"{at}: Azure's order is {', '.join(both)}; localazure's {', '.join(there)}")
    return lines


def _line(at: str, expected: Any, seen: Any) -> str:
    return f"{at}: Azure answers {_short(expected)}, localazure {_short(seen)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:297]}…"

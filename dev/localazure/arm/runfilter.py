"""The `$filter` of the list of runs.

Operators and functions: https://learn.microsoft.com/rest/api/container-registry-tasks/runs/list; properties:
https://learn.microsoft.com/dotnet/api/microsoft.azure.powershell.cmdlets.containerregistry.models.runfilter

Served are comparisons joined by `and`, and `contains(OutputImageManifests, 'repository@sha256:…')`. Refused is `or`,
which no client sends, and `CreateTime` and `FinishTime`: nothing tells how a time is written, so Azure might refuse it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from dev.localazure.errors import ArmError

Properties = dict[str, Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"eq": operator.eq, "ne": operator.ne}
_TEXTS = {
    "runid": "runId",
    "runtype": "runType",
    "status": "status",
    "taskname": "task",
    "agentpoolname": "agentPoolName",
}
_CLAUSE = re.compile(
    r"(?P<name>\w+)\s+(?P<operator>eq|ne)\s+(?:'(?P<quoted>(?:[^']|'')*)'|(?P<bare>[^\s']+))"
    r"|contains\(\s*(?P<list>\w+)\s*,\s*'(?P<part>[^']*)'\s*\)",
    re.IGNORECASE,
)


def matcher(text: str) -> Callable[[Properties], bool]:
    """Compile a filter into a test of a run's properties; the empty filter holds for all.

    Raises:
        ArmError: 400 for a filter that ACR would not, or might not, take.
    """
    tests: list[Callable[[Properties], bool]] = []
    position, text = 0, text.strip()
    while position < len(text):
        match = _CLAUSE.match(text, position)
        if not match:
            raise _bad(text)
        tests.append(_contains(match, text) if match["list"] else _comparison(match, text))
        joint = re.compile(r"\s+and\s+|$", re.IGNORECASE).match(text, match.end())
        if not joint:
            raise _bad(text)
        position = joint.end()
    return lambda properties: all(test(properties) for test in tests)


def _comparison(match: re.Match[str], text: str) -> Callable[[Properties], bool]:
    name, compare = match["name"].lower(), _COMPARE[match["operator"].lower()]
    value = match["bare"] if match["quoted"] is None else match["quoted"].replace("''", "'")
    if name == "isarchiveenabled":
        return lambda run: compare(run["isArchiveEnabled"], value.lower() == "true")
    if name not in _TEXTS:
        raise _bad(text)
    return lambda run: compare(str(run.get(_TEXTS[name], "")).lower(), value.lower())


def _contains(match: re.Match[str], text: str) -> Callable[[Properties], bool]:
    if match["list"].lower() != "outputimagemanifests":
        raise _bad(text)
    part = match["part"]
    return lambda run: any(part in f"{i['repository']}@{i['digest']}" for i in run.get("outputImages", ()))


def _bad(text: str) -> ArmError:
    return ArmError(400, "InvalidFilter", f"The $filter '{text}' is not valid.")

"""Task files are templates: whether one is a task file shows only once it is rendered, so it is rendered as by ACR.

ACR drops comments, replaces aliases, renders Go templates and then reads YAML:
https://github.com/Azure/acr-builder/blob/main/cmd/acb/commands/exec/exec.go. Who reads the YAML takes these steps:
`alias_section`, `rendered`, `check`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORD = "x"
"""Stands for what differs from run to run and is always one word."""

_ALIASED = {
    **dict.fromkeys(("ID", "Registry", "RegistryName", "Date", "SharedVolume", "OS", "Architecture"), _WORD),
    # A task without a source has none.
    **dict.fromkeys(("Commit", "Branch"), ""),
}
_RUN = {**_ALIASED, "TaskName": _WORD, **dict.fromkeys(("Repository", "GitTag", "TriggeredBy", "OSVersion"), "")}
# https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml#aliases
_ALIASES = {**_ALIASED, **dict.fromkeys(("acr", "az", "bash", "curl", "cssc"), _WORD)}

# https://pkg.go.dev/text/template#hdr-Actions
_TEXT = r'"(?:\\.|[^"\\\n])*"|`[^`]*`'
_ACTION = re.compile(
    rf"\{{\{{(?P<left>-\s)?\s*(?P<body>/\*.*?\*/|(?:{_TEXT}|[^\"`])*?)\s*(?P<right>(?<=\s)-)?\}}\}}", re.DOTALL
)
_OPENS = re.compile(r"(?:if|range|with|define|block)\b")
_COMMAND = re.compile(rf"(?:{_TEXT}|[^|\"`])+")
_FIELD = re.compile(r"\$?\.(Values|Run|Build|Secrets)\.([A-Za-z_]\w*)")
_DEFAULT = re.compile(r"default\s+(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class TaskFile:
    """The file of a task, as it was found.

    Attributes:
        name: Where it lies, below the policy's folder.
        content: Its text, or "" if there is a problem.
        problem: What is wrong with it, or "".
    """

    name: str
    content: str = ""
    problem: str = ""


class Wrong(Exception):
    """ACR would refuse the task file; the text says why, to follow its name."""


class Untold(Exception):
    """Only ACR can tell what becomes of the task file: a template does more than name values."""


def alias_section(text: str, values: Mapping[str, str]) -> str:
    """Return the YAML of a task file's section `alias`, or "" if it can have none.

    Args:
        values: The task's values, by name.

    Raises:
        Wrong, Untold: No YAML can be made of it, or only ACR can tell.
    """
    return _render(_split(text)[0], _known(values)) if _has_aliases(text) else ""


def rendered(text: str, values: Mapping[str, str], aliases: object) -> str:
    """Return the YAML of a task file.

    Args:
        values: The task's values, by name.
        aliases: What its section `alias` holds, once read.

    Raises:
        Wrong, Untold: No YAML can be made of it, or only ACR can tell.
    """
    return _render(_replace_aliases(aliases, _split(text)[1]) if _has_aliases(text) else text, _known(values))


def check(document: object) -> None:
    """Check what a task file holds, once read.

    Raises:
        Wrong: ACR would refuse it.
    """
    steps = _mapping(document).get("steps")
    if not isinstance(steps, list) or not steps:
        raise Wrong("has no steps")


def _known(values: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    return {"Values": values, "Run": _RUN, "Build": {"ID": _WORD}}


def _has_aliases(text: str) -> bool:
    version = re.search(r"^['\"]?version['\"]?\s*:(.*)$", text, re.MULTILINE)
    return version is not None and version[1].strip().strip("'\"") >= "v1.1.0"


def _split(text: str) -> tuple[str, str]:
    """Return the lines of the section `alias` and all others, without comments."""
    section: list[str] = []
    rest: list[str] = []
    place = rest
    for line in text.splitlines():
        if re.match(r"alias\s*:", line):
            place = section
        elif re.match(r"[^\s:#][^:]*:", line):
            place = rest
        if not line.lstrip().startswith("#"):
            place.append(line)
    return "\n".join(section), "\n".join(rest)


def _replace_aliases(section: object, text: str) -> str:
    own = _mapping(_mapping(section).get("alias"))
    if own.get("src"):
        raise Untold
    values = _mapping(own.get("values"))
    directive = str(own.get("directive") or "$")
    if len(directive) != 1 or directive.isalnum():
        raise Wrong("has an alias directive that is not one character other than a letter or digit")
    if not all(re.fullmatch("[A-Za-z0-9]+", name) for name in values):
        raise Wrong("has an alias whose name holds more than letters and digits")
    aliases = {**_ALIASES, **values}
    mark = re.escape(directive)
    return re.sub(
        f"{mark}(?:({mark})|([A-Za-z0-9]+))", lambda found: found[1] or str(aliases.get(found[2], found[0])), text
    )


def _mapping(document: object) -> dict[str, Any]:
    return document if isinstance(document, dict) else {}


def _render(text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    bodies = [action["body"] for action in _ACTION.finditer(text)]
    if "{{" in _ACTION.sub("", text):
        raise Wrong("has a template that is not closed")
    if sum(bool(_OPENS.match(body)) for body in bodies) != bodies.count("end"):
        raise Wrong("has a template with too few or too many {{end}}")
    out = ""
    position = 0
    for action in _ACTION.finditer(text):
        before = text[position : action.start()]
        out += before.rstrip() if action["left"] else before
        out += _evaluate(action["body"], known)
        position = action.end()
        if action["right"]:
            position = len(text) - len(text[position:].lstrip())
    return out + text[position:]


def _evaluate(body: str, known: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text of an action: a comment, or a value with or without a default."""
    if body.startswith("/*"):
        return ""
    first, *others = [command.strip() for command in _COMMAND.findall(body)] or [""]
    nested = re.fullmatch(rf"default\s+({_TEXT}|\S+)\s+(\S+)", first, re.DOTALL)
    found = _operand(nested[2], known) or _operand(nested[1], known) if nested else _operand(first, known)
    for command in others:
        fallback = _DEFAULT.fullmatch(command)
        if not fallback:
            raise Untold
        found = found or _operand(fallback[1], known)
    return found


def _operand(text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    if re.fullmatch(_TEXT, text) and "\\" not in text:
        return text[1:-1]
    field = _FIELD.fullmatch(text)
    if not field:
        raise Untold
    return _WORD if field[1] == "Secrets" else known[field[1]].get(field[2], "")

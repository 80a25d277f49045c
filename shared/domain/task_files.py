"""Task files are templates: whether one is a task file shows only once it is rendered, so it is read as ACR reads it.

ACR drops comments, replaces aliases, renders Go templates and then reads YAML:
https://github.com/Azure/acr-builder/blob/main/cmd/acb/commands/exec/exec.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

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


class _Wrong(Exception):
    """ACR would refuse the task file; the text says why, to follow its name."""


class _Untold(Exception):
    """Only ACR can tell what becomes of the task file."""


class _Loader(yaml.SafeLoader):
    """Reads scalars as text and ignores tags, as ACR does where it expects text."""


def _construct(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value


_Loader.yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile("<<"))]}
_Loader.add_constructor(None, _construct)


def problem(text: str, values: Mapping[str, str]) -> str:
    """Say what is wrong with a task file, to follow its name, or return "".

    A template that does more than name values, with or without a default, is not evaluated, and what it is part of not
    refused.

    Args:
        values: The task's values, by name.
    """
    known = {"Values": values, "Run": _RUN, "Build": {"ID": _WORD}}
    try:
        document = _read(_rendered(text, known))
    except _Untold:
        return ""
    except _Wrong as error:
        return str(error)
    steps = _mapping(document).get("steps")
    return "" if isinstance(steps, list) and steps else "has no steps"


def _rendered(text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    version = re.search(r"^['\"]?version['\"]?\s*:(.*)$", text, re.MULTILINE)
    if not version or version[1].strip().strip("'\"") < "v1.1.0":
        return _render(text, known)
    section, rest = _split(text)
    return _render(_replace_aliases(_read(_render(section, known)), rest), known)


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


def _replace_aliases(section: Any, text: str) -> str:
    own = _mapping(_mapping(section).get("alias"))
    if own.get("src"):
        raise _Untold
    values = _mapping(own.get("values"))
    directive = str(own.get("directive") or "$")
    if len(directive) != 1 or directive.isalnum():
        raise _Wrong("has an alias directive that is not one character other than a letter or digit")
    if not all(re.fullmatch("[A-Za-z0-9]+", name) for name in values):
        raise _Wrong("has an alias whose name holds more than letters and digits")
    aliases = {**_ALIASES, **values}
    mark = re.escape(directive)
    return re.sub(
        f"{mark}(?:({mark})|([A-Za-z0-9]+))", lambda found: found[1] or str(aliases.get(found[2], found[0])), text
    )


def _mapping(document: Any) -> dict[str, Any]:
    return document if isinstance(document, dict) else {}


def _render(text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    bodies = [action["body"] for action in _ACTION.finditer(text)]
    if "{{" in _ACTION.sub("", text):
        raise _Wrong("has a template that is not closed")
    if sum(bool(_OPENS.match(body)) for body in bodies) != bodies.count("end"):
        raise _Wrong("has a template with too few or too many {{end}}")
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
            raise _Untold
        found = found or _operand(fallback[1], known)
    return found


def _operand(text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    if re.fullmatch(_TEXT, text) and "\\" not in text:
        return text[1:-1]
    field = _FIELD.fullmatch(text)
    if not field:
        raise _Untold
    return _WORD if field[1] == "Secrets" else known[field[1]].get(field[2], "")


def _read(text: str) -> Any:
    """Return the first document of a YAML text."""
    try:
        return next(yaml.load_all(text, _Loader), None)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1} once rendered" if error.problem_mark else ""
        raise _Wrong(f"is not YAML ({error.problem}{line})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _Wrong("is not YAML") from None

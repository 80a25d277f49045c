"""What happens to a task file before it is read as YAML: comments, aliases and Go templates.

Aliases (`$Registry`) need `version: v1.1.0` and stand for templates (`{{.Run.Registry}}`), so they are replaced first:
https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml#aliases.
Values are put in as text. A value that does not exist is the empty string, as in ACR; nothing warns about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from dev.localazure.agent.errors import RunFailed

_RUN_FIELDS = ("ID", "SharedVolume", "Registry", "RegistryName", "Date", "OS", "Architecture", "Commit", "Branch")

DEFAULT_ALIASES: Mapping[str, str] = {
    **{name: f"{{{{.Run.{name}}}}}" for name in _RUN_FIELDS},
    "acr": "mcr.microsoft.com/acr/acr-cli:0.19",
    "az": "mcr.microsoft.com/acr/azure-cli:2ff604c",
    "bash": "mcr.microsoft.com/acr/bash:2ff604c",
    "curl": "mcr.microsoft.com/acr/curl:2ff604c",
    "cssc": "mcr.microsoft.com/acr/cssc:2ff604c",
}


def strip_comments(text: str) -> str:
    """Drop the lines that start with `#`, so that nothing in them is expanded."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))


def version_of(text: str) -> str:
    """Return the task file's version, or "" if it names none."""
    match = re.search(r"""^['"]?version['"]?\s*:\s*['"]?([^'"\s]*)""", text, re.MULTILINE)
    return match.group(1) if match else ""


def expand_aliases(text: str, values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Replace aliases in a task file of version v1.1.0 or later.

    Args:
        text: The task file without comments.
        values: What templates inside the `alias` section may refer to.

    Returns:
        The task file without its `alias` section, and all aliases (a `cmd` step may name an image by one).

    Raises:
        RunFailed: The `alias` section is wrong.
    """
    section, rest = _split_alias_section(text)
    try:
        loaded = yaml.safe_load(render(section, values)) or {}
        own = (loaded.get("alias") or {}) if isinstance(loaded, dict) else {}
        aliases = {**DEFAULT_ALIASES, **{str(k): str(v) for k, v in (own.get("values") or {}).items()}}
    except (yaml.YAMLError, AttributeError) as error:
        raise RunFailed(
            f"unable to search/replace aliases in task: error during alias unmarshaling: {error}"
        ) from error
    if own.get("src"):
        raise RunFailed("unable to search/replace aliases in task: localazure loads no aliases from `src`")
    directive = str(own.get("directive") or "$")
    problem = None
    if len(directive) != 1:
        problem = "$ directive can only be overwritten by a single character"
    elif directive.isalnum():
        problem = "overwritten directives may not be alphanumeric characters"
    elif not all(re.fullmatch("[a-zA-Z0-9]+", name) for name in aliases):
        problem = "alias key names only support alphanumeric characters"
    if problem:
        raise RunFailed(f"unable to search/replace aliases in task: {problem}")
    return _replace_aliases(rest, directive, aliases), aliases


def _replace_aliases(text: str, directive: str, aliases: Mapping[str, str]) -> str:
    mark = re.escape(directive)
    pattern = re.compile(rf"{mark}(?:(?P<escaped>{mark})|(?P<name>[a-zA-Z0-9]+))")
    out, position = [], 0
    while match := pattern.search(text, position):
        out.append(text[position : match.start()])
        position = match.end()
        if match["escaped"]:
            out.append(directive)
        elif match["name"] in aliases:
            out.append(aliases[match["name"]])
        else:
            # An unknown alias stays as it is, and a directive right behind it loses its meaning.
            out.append(match[0])
            if text.startswith(directive, position):
                out.append(directive)
                position += 1
    return "".join(out) + text[position:]


def _split_alias_section(text: str) -> tuple[str, str]:
    """Return the lines of the top-level `alias` key and all others."""
    section: list[str] = []
    rest: list[str] = []
    inside = False
    for line in text.split("\n"):
        if re.match(r"alias\s*:", line):
            inside = True
        elif re.match(r"[^\s:#][^:]*:", line):
            inside = False
        (section if inside else rest).append(line)
    return "\n".join(section), "\n".join(rest)


_STRING = r'"(?:\\.|[^"\\\n])*"|`[^`]*`'
# A comment or a string may hold what closes an action.
_ACTION = re.compile(
    rf"\{{\{{(?P<trim_left>-\s)?\s*(?P<body>/\*.*?\*/|(?:{_STRING}|[^\"`])*?)\s*(?P<trim_right>(?<=\s)-)?\}}\}}",
    re.DOTALL,
)
_COMMAND = re.compile(rf"(?:{_STRING}|[^|\"`])+")
_FIELD = re.compile(r"\$?(?P<path>(?:\.[A-Za-z_]\w*)+)")
_DEFAULT = re.compile(rf"default\s+(?P<fallback>{_STRING}|\S+)(?:\s+(?P<given>\S+))?", re.DOTALL)


def render(text: str, values: Mapping[str, Any]) -> str:
    """Render the part of Go templates that most task files are made of: `{{.Run.ID}}`, `{{.Values.x | default "y"}}`.

    Args:
        text: The template.
        values: `Run`, `Values` and whatever else the template's root has.

    Raises:
        RunFailed: The template is malformed, or uses what localazure does not render.
    """
    out, position = [], 0
    for action in _ACTION.finditer(text):
        before = text[position : action.start()]
        out.append(before.rstrip() if action["trim_left"] else before)
        out.append(_evaluate(action["body"], values))
        position = action.end()
        if action["trim_right"]:
            position += len(text) - position - len(text[position:].lstrip())
    if "{{" in text[position:]:
        raise _unparsable("unclosed action")
    return "".join(out) + text[position:]


def _evaluate(body: str, values: Mapping[str, Any]) -> str:
    if body.startswith("/*") and body.endswith("*/"):
        return ""
    found = ""
    for number, command in enumerate(part.strip() for part in _COMMAND.findall(body)):
        default = _DEFAULT.fullmatch(command)
        if default and (number > 0) != bool(default["given"]):
            given = default["given"]
            found = (_operand(given, values) if given else found) or _operand(default["fallback"], values)
        elif number == 0:
            found = _operand(command, values)
        else:
            raise _not_rendered(command)
    return found


def _operand(text: str, values: Mapping[str, Any]) -> str:
    if re.fullmatch(_STRING, text) and "\\" not in text:
        return text[1:-1]
    if field := _FIELD.fullmatch(text):
        return _field(field["path"], values)
    raise _not_rendered(text)


def _not_rendered(text: str) -> RunFailed:
    return _unparsable(f"localazure renders field references, texts and `default` only, not {text}")


def _field(path: str, values: Mapping[str, Any]) -> str:
    found: Any = values
    for name in path.strip(".").split("."):
        if not isinstance(found, dict):
            raise RunFailed(
                "unable to render task: error while rendering templates: failed to execute template: "
                f'executing "task" at <{path}>: nil pointer evaluating interface {{}}.{name}'
            )
        found = found.get(name)
    if found is None:
        return ""
    return str(found).lower() if isinstance(found, bool) else str(found)


def _unparsable(why: str) -> RunFailed:
    return RunFailed(
        f"unable to render task: error while rendering templates: failed to parse template: task. Err: {why}"
    )

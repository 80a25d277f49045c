"""Do app-settings.json, the code, the samples, the documents and Bicep agree about the app settings?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import AliasChoices

from scripts.infra import bicep
from scripts.infra.references import Infra
from shared.errors import ConfigurationError
from shared.settings import Settings, load

FILE = "infra/app-settings.json"
_PLACES = {"azure", "local"}
_MEMBERS = {"name", "required", "default", "description", "where", "value", "from", "secret"}
_GUID = "00000000-0000-4000-8000-000000000001"
# What a deployment could compute; for the check only their form matters.
_EXAMPLES = {"teamSubscriptionIds": _GUID, "clientId": _GUID, "storageAccountName": "groundswell",
             "storageConnectionString": "UseDevelopmentStorage=true"}  # fmt: skip
_HEADER = re.compile(r"^\|\s*setting\s*\|\s*default\s*\|\s*meaning\s*\|\s*$", re.MULTILINE)


def in_code() -> dict[str, tuple[bool, str]]:
    """Return the settings that shared/settings.py reads: whether each is required there, and its default."""
    found: dict[str, tuple[bool, str]] = {}
    for field in Settings.model_fields.values():
        choices = field.validation_alias
        names = choices.choices if isinstance(choices, AliasChoices) else [field.alias]
        default = "" if field.is_required() else str(field.default)
        for name in names:
            found.setdefault(str(name), (field.is_required(), default))
    return found


def check(infra: Infra) -> Iterator[str]:
    """Yield every disagreement."""
    settings: list[dict[str, Any]] = json.loads((infra.root / FILE).read_text(encoding="utf-8"))["settings"]
    wrong = list(_form(settings))
    yield from wrong
    if wrong:
        return
    by_name = {setting["name"]: setting for setting in settings}
    yield from _code(by_name)
    yield from _loads(by_name)
    yield from _sample(infra.root, by_name)
    yield from _documents(infra.root, by_name)
    yield from _computed(infra, by_name)
    yield from _patience(infra.root, by_name)


def _form(settings: list[dict[str, Any]]) -> Iterator[str]:
    names = [str(setting.get("name")) for setting in settings]
    for setting in settings:
        name, where = str(setting.get("name")), setting.get("where")
        if names.count(name) > 1:
            yield f"{FILE}: {name} is there twice"
        if missing := {"name", "required", "description", "where", "secret"} - setting.keys():
            yield f"{FILE}: {name} lacks {', '.join(sorted(missing))}"
        elif unknown := setting.keys() - _MEMBERS:
            yield f"{FILE}: {name} has an unknown {', '.join(sorted(unknown))}"
        elif not where or not set(where) <= _PLACES:
            yield f"{FILE}: {name}: where is a list of azure and local"
        elif "value" in setting and "from" in setting:
            yield f"{FILE}: {name} has both value and from: keep one"
        elif setting["required"] and not setting.keys() & {"value", "from"}:
            yield f"{FILE}: {name} is required: give it a value or a from"
        elif setting["secret"] and "azure" in where:
            yield f"{FILE}: {name} is a secret: Azure gets none, use an identity"


def _code(by_name: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    read = in_code()
    for name, (required, default) in read.items():
        if name not in by_name:
            yield f"{FILE}: {name} of shared/settings.py is missing"
        elif by_name[name].get("default", "") != default:
            shown = by_name[name].get("default", "")
            yield f"{FILE}: {name} has the default {shown!r}, in shared/settings.py it is {default!r}"
        elif required and not by_name[name]["required"]:
            yield f"{FILE}: {name} is required by shared/settings.py"
    for name in by_name:
        if name.startswith("GROUNDSWELL_") and name not in read:
            yield f"{FILE}: {name} is not read by shared/settings.py: remove it"


def _loads(by_name: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Load the settings as each deployment sets them: all, and all but one."""
    for place in sorted(_PLACES):
        values = {
            name: setting.get("value", _EXAMPLES.get(setting.get("from", ""), "x"))
            for name, setting in by_name.items()
            if place in setting["where"] and setting.keys() & {"value", "from"}
        }
        if problem := _refusal(values):
            yield f"{FILE}: what it sets in {place} is refused by shared/settings.py: {problem}"
            continue
        for name in values.keys() & in_code().keys():
            refused = bool(_refusal({key: value for key, value in values.items() if key != name}))
            if refused != by_name[name]["required"]:
                yield f"{FILE}: {name} is {'' if refused else 'not '}required in {place} by shared/settings.py"


def _refusal(values: Mapping[str, str]) -> str:
    try:
        load(values)
    except ConfigurationError as error:
        return str(error)
    return ""


def _sample(root: Path, by_name: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    path = "local.settings.sample.json"
    values = json.loads((root / path).read_text(encoding="utf-8"))["Values"]
    local = {name: setting for name, setting in by_name.items() if "local" in setting["where"]}
    for name in sorted(values.keys() - local.keys()):
        yield f"{path}: {name} is no local setting of {FILE}"
    for name, setting in local.items():
        if setting["required"] and name not in values:
            yield f"{path}: {name} is required and missing"
        elif "value" in setting and values.get(name, setting["value"]) != setting["value"]:
            yield f"{path}: {name} is {setting['value']!r} in {FILE}"
    if problem := _refusal(values):
        yield f"{path}: refused by shared/settings.py: {problem}"


def _documents(root: Path, by_name: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    documents = {path: path.read_text(encoding="utf-8") for path in (root / "README.md", *(root / "docs").glob("*.md"))}
    found = next(((path, match.start()) for path, text in documents.items() if (match := _HEADER.search(text))), None)
    if found is None:
        yield "README.md: there is no table with the columns setting, default, meaning"
        return
    path, start = found
    shown, first = path.relative_to(root), documents[path].count("\n", 0, start) + 1
    everything = "\n".join(documents.values())
    rows = set()
    for number, line in enumerate(documents[path][start:].splitlines(), start=first):
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`")
        if not cells[0].startswith("`"):
            continue
        rows.add(name)
        if name not in by_name:
            yield f"{shown}:{number}: {name} is not in {FILE}"
        elif not _same_default(cells[1], by_name[name]):
            yield f"{shown}:{number}: {name}: the default is not that of {FILE}"
    for name, setting in by_name.items():
        # What the deployment alone sets, for the host alone, is nobody's to set.
        theirs = name in in_code() or not setting.keys() & {"value", "from"}
        if theirs and name not in rows and not re.search(rf"`({name}|__{name.rpartition('__')[2]})`", everything):
            yield f"{shown}:{first}: {name} is not documented"


def _same_default(cell: str, setting: Mapping[str, Any]) -> bool:
    if setting["required"]:
        return cell.startswith("*required")
    default = setting.get("default", "")
    return cell == f"`{default}`" if default else "`" not in cell and "required" not in cell


def _computed(infra: Infra, by_name: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    wanted = {setting["from"] for setting in by_name.values() if "from" in setting and "azure" in setting["where"]}
    found = [(file, d) for file in infra.files.values() for d in file.of_kind("var") if d.name == "computed"]
    if len(found) != 1:
        yield f"infra: one Bicep file has to declare var computed, what {FILE} takes from the deployment"
        return
    ((file, declared),) = found
    given = bicep.properties(declared.body)
    for name, (line, _) in given.items():
        if name not in wanted:
            yield infra.at(file, line, f"computed.{name} is taken by no setting of {FILE}: remove it")
    for name in sorted(wanted - given.keys()):
        yield infra.at(file, declared.line, f"computed lacks {name}, which {FILE} takes")


def _patience(root: Path, by_name: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """A claim that runs out while its function still runs would let two workers start the same run."""
    host = json.loads((root / "host.json").read_text(encoding="utf-8"))
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    timeout = timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    claim = by_name.get("GROUNDSWELL_CLAIM_SECONDS", {})
    if float(claim.get("value", claim.get("default", timeout))) < timeout:
        yield f"host.json: functionTimeout is longer than GROUNDSWELL_CLAIM_SECONDS in {FILE}"

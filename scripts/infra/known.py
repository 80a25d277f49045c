"""What Azure knows: resource types with their properties, registry modules with their parameters. See known.json.

`scripts/update_known.py` makes known.json anew from what Microsoft publishes; it is kept here because no check should
need the network. In a type, a name that ends in `!` is required; a list holds the values that a string can have; null
stands for anything. Read-only properties are left out: nobody can set them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localazure.roles import ROLES
from scripts.infra import bicep
from scripts.infra.bicep import Declaration, File
from scripts.infra.references import Infra, Interface

TABLE = Path(__file__).with_name("known.json")
# Bicep's own members of a resource.
_BICEP = frozenset(("dependsOn", "parent", "scope"))
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def modules() -> dict[str, dict[str, Interface]]:
    """Return the interfaces of registry modules: module → version → interface."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))["modules"]
    return {
        module: {
            version: Interface(*(frozenset(given[part]) for part in ("required", "optional", "outputs")))
            for version, given in versions.items()
        }
        for module, versions in table.items()
    }


def check(infra: Infra) -> Iterator[str]:
    """Yield resources, properties and roles that Azure does not know."""
    types = json.loads(TABLE.read_text(encoding="utf-8"))["resourceTypes"]
    by_name = {name.partition("@")[0]: name for name in types}
    for file in infra.files.values():
        for resource in file.of_kind("resource"):
            name, _, version = resource.reference.partition("@")
            if name not in by_name:
                yield infra.at(file, resource.line, f"{name} is no known resource type: see known.json")
            elif resource.reference not in types:
                yield infra.at(file, resource.line, f"{name} has no known API version {version}: see known.json")
            elif not resource.existing:
                yield from _resource(infra, file, resource, types[resource.reference])
        for text in file.strings:
            for guid in _GUID.findall(text.text):
                if guid.lower() not in ROLES:
                    yield infra.at(file, text.line, f"{guid} is no known role: see localazure/roles.py")


def _resource(infra: Infra, file: File, resource: Declaration, type_: dict[str, Any]) -> Iterator[str]:
    if resource.body is None:
        return
    for line, problem in _problems(type_, resource.body, resource.name, _BICEP):
        yield infra.at(file, line, problem)


def _problems(type_: Any, node: Any, path: str, also: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Compare a literal with a type; what is computed is not looked at."""
    line = bicep.line_of(node)
    if isinstance(type_, list) and (value := bicep.literal(node)) is not None and value not in type_:
        yield line, f"{path} is {value!r}: it can be {', '.join(type_)}"
    elif node.type == "array":
        for element in node.named_children:
            yield from _problems(type_, element, f"{path}[]")
    elif node.type in ("for_statement", "if_statement"):
        yield from _problems(type_, node.named_children[-1], path)
    elif node.type == "object" and isinstance(type_, dict):
        names = {name.rstrip("!"): name for name in type_}
        given = bicep.properties(node)
        for name, (where, member) in given.items():
            if name in names:
                yield from _problems(type_[names[name]], member, f"{path}.{name}")
            elif name not in also:
                yield where, f"{path} has no property {name}"
        for name in names.values():
            if name.endswith("!") and name[:-1] not in given:
                yield line, f"{path} lacks {name[:-1]}, which Azure requires"

"""Do the Bicep files fit each other? What the compiler would say, as far as syntax tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tree_sitter import Node

from scripts.infra import bicep
from scripts.infra.bicep import Declaration, File

FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """any array az base64 base64ToJson base64ToString bool cidrHost cidrSubnet concat contains dataUri
        dataUriToString dateTimeAdd dateTimeFromEpoch dateTimeToEpoch deployer deployment empty endsWith environment
        extensionResourceId fail filter first flatten format getSecret groupBy guid indexOf int intersection items
        join json last lastIndexOf length loadDirectoryFileInfo loadFileAsBase64 loadJsonContent loadTextContent
        loadYamlContent managementGroup managementGroupResourceId map mapValues max min newGuid nameof objectKeys
        padLeft parseCidr pickZones providers range reduce reference replace resourceGroup resourceId roleDefinitions
        shallowMerge skip sort split startsWith string subscription subscriptionResourceId substring take tenant
        tenantResourceId toLogicalZone toLogicalZones toLower toObject toPhysicalZone toPhysicalZones toUpper trim
        tryGet tryIndexFromEnd union uniqueString uri uriComponent uriComponentToString utcNow
        allowed batchSize description discriminator export maxLength maxValue metadata minLength minValue
        onlyIfNotExists retryOn sealed secure waitUntil""",
    )
)
"""Functions and decorators: https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions."""

_LOADERS: dict[str, Callable[[str], Any] | None] = {
    "loadJsonContent": json.loads,
    "loadYamlContent": yaml.safe_load,
    "loadTextContent": None,
    "loadFileAsBase64": None,
}
_NAMESPACES = frozenset(("az", "sys"))
_PINNED = re.compile(r"br(?:/public)?:(?P<module>[a-z0-9./-]+):(?P<version>\d+\.\d+\.\d+)")
UNKNOWN: Any = object()
"""A value that syntax does not tell."""


@dataclass(frozen=True)
class Interface:
    """What a module takes and gives."""

    required: frozenset[str]
    optional: frozenset[str]
    outputs: frozenset[str]


@dataclass
class Infra:
    """The Bicep files of a project.

    Attributes:
        root: The project.
        files: By their path.
        registry: Interfaces of the modules in Microsoft's public registry: module → version → interface.
    """

    root: Path
    files: dict[Path, File]
    registry: dict[str, dict[str, Interface]] = field(default_factory=dict)

    def at(self, file: File, line: int, problem: str) -> str:
        """Return a finding."""
        return f"{file.path.relative_to(self.root)}:{line}: {problem}"

    def interface(self, file: File, module: Declaration) -> Interface | None:
        """Return what a module takes and gives; None if that is not known."""
        if found := _PINNED.fullmatch(module.reference):
            return self.registry.get(found["module"], {}).get(found["version"])
        other = self.files.get((file.path.parent / module.reference).resolve())
        if other is None:
            return None
        params = other.of_kind("param")
        return Interface(
            frozenset(p.name for p in params if p.required),
            frozenset(p.name for p in params if not p.required),
            frozenset(other.outputs),
        )


def load(root: Path, registry: dict[str, dict[str, Interface]]) -> Infra:
    """Read all Bicep files below infra/."""
    found = sorted((root / "infra").rglob("*.bicep"))
    return Infra(root, {path.resolve(): bicep.read(path) for path in found}, registry)


def check(infra: Infra) -> Iterator[str]:
    """Yield what is wrong within and between the Bicep files and their parameters file."""
    if not infra.files:
        yield "infra: there is no Bicep file"
    for file in infra.files.values():
        if file.errors:
            yield from (infra.at(file, line, "is no Bicep that can be read: mend the syntax") for line in file.errors)
            continue
        yield from _names(infra, file)
        yield from _loaded(infra, file)
        for module in file.of_kind("module"):
            yield from _module(infra, file, module)
        yield from _members(infra, file)
    yield from _unused_files(infra)
    yield from _parameters(infra)
    yield from _hooks(infra)


def _names(infra: Infra, file: File) -> Iterator[str]:
    used = {name.text for name in file.uses}
    functions = FUNCTIONS | {declared.name for declared in file.of_kind("func")}
    for name in file.uses:
        if name.text not in file.declarations and name.text not in _NAMESPACES:
            yield infra.at(file, name.line, f"{name.text} is not declared")
    for call in file.calls:
        if call.function not in functions:
            yield infra.at(file, call.line, f"Bicep has no function {call.function}")
    for declared in file.of_kind("param", "var"):
        if declared.name not in used:
            yield infra.at(file, declared.line, f"{declared.kind} {declared.name} is not used: remove it")


def _loaded(infra: Infra, file: File) -> Iterator[str]:
    for call in file.calls:
        path = bicep.literal(call.arguments[0]) if call.arguments and call.function in _LOADERS else None
        if path is not None and not (file.path.parent / path).is_file():
            yield infra.at(file, call.line, f"{path} does not exist")


def _module(infra: Infra, file: File, module: Declaration) -> Iterator[str]:
    reference = module.reference
    if reference.startswith(("br", "ts")) and ":" in reference:
        if not _PINNED.fullmatch(reference):
            yield infra.at(file, module.line, f"{reference} is not pinned: give an exact version (a.b.c)")
            return
        if infra.interface(file, module) is None:
            yield infra.at(file, module.line, f"{reference} is not in the table of known modules: see known.json")
            return
    elif not (file.path.parent / reference).is_file():
        yield infra.at(file, module.line, f"module {reference} does not exist")
        return
    interface, block = infra.interface(file, module), bicep.properties(module.body).get("params")
    if interface is None or (block is not None and block[1].type != "object"):
        return
    passed = bicep.properties(block[1]) if block else {}
    for name, (line, _) in passed.items():
        if name not in interface.required | interface.optional:
            yield infra.at(file, line, f"{reference} has no parameter {name}")
    for name in sorted(interface.required - passed.keys()):
        yield infra.at(file, module.line, f"module {module.name} does not pass {name}, which {reference} requires")


def _members(infra: Infra, file: File) -> Iterator[str]:
    for node in file.members:
        base, members = bicep.chain(node)
        declared = file.declarations.get(bicep.text_of(base)) if base.type == "identifier" else None
        if declared is not None and declared.kind == "module":
            wanted = [member for member in members if member != "*"]
            interface = infra.interface(file, declared)
            if interface and wanted[0] == "outputs" and len(wanted) == 2 and wanted[1] not in interface.outputs:
                yield infra.at(file, bicep.line_of(node), f"module {declared.name} has no output {wanted[1]}")
            continue
        parent = value_of(file, base, members[:-1])
        if isinstance(parent, dict) and members[-1] not in (*parent, "*") and not _guarded(file, node):
            yield infra.at(file, bicep.line_of(node), f"{bicep.text_of(node)}: the file loaded has no {members[-1]}")


def _guarded(file: File, node: Node) -> bool:
    """Tell whether the file asks `contains(a, 'b')` before it takes `a.b`."""
    parent, member = bicep.text_of(node.named_children[0]), bicep.text_of(node.named_children[-1])
    return any(
        bicep.text_of(call.arguments[0]) == parent and bicep.literal(call.arguments[1]) == member
        for call in file.calls
        if call.function == "contains" and len(call.arguments) == 2
    )


def value_of(file: File, node: Node, members: Sequence[str] = (), depth: int = 0) -> Any:
    """Return what a literal, or a member of a loaded file, is, also through variables; UNKNOWN for everything else."""
    value: Any = UNKNOWN if (text := bicep.literal(node)) is None else text
    if node.type == "identifier" and depth < 10:
        declared = file.declarations.get(bicep.text_of(node))
        if declared is not None and declared.kind == "var" and declared.body is not None:
            base, above = bicep.chain(declared.body)
            value = value_of(file, base, above, depth + 1)
    elif node.type == "call_expression":
        function, arguments = bicep.text_of(node.named_children[0]), node.named_children[1].named_children
        if function == "any" and arguments:
            base, above = bicep.chain(arguments[0])
            value = value_of(file, base, above, depth + 1)
        elif (loader := _LOADERS.get(function)) and len(arguments) == 1:
            path = file.path.parent / (bicep.literal(arguments[0]) or "")
            value = loader(path.read_text(encoding="utf-8")) if path.is_file() else UNKNOWN
    for member in members:
        value = value.get(member, UNKNOWN) if isinstance(value, dict) else UNKNOWN
    return value


def _unused_files(infra: Infra) -> Iterator[str]:
    reached = {(file.path.parent / module.reference).resolve()
               for file in infra.files.values() for module in file.of_kind("module")}  # fmt: skip
    for path, file in infra.files.items():
        if file.path.parent != infra.root / "infra" and path not in reached:
            yield infra.at(file, 1, "no module leads here: remove the file")


def _parameters(infra: Infra) -> Iterator[str]:
    path = infra.root / "infra" / "main.parameters.json"
    main = infra.files.get((infra.root / "infra" / "main.bicep").resolve())
    if main is None or not path.is_file():
        yield "infra: main.bicep and main.parameters.json are what azd deploys: one is missing"
        return
    given, declared = json.loads(path.read_text(encoding="utf-8"))["parameters"], main.of_kind("param")
    for name in given.keys() - {param.name for param in declared}:
        yield f"infra/main.parameters.json: main.bicep has no parameter {name}: remove it"
    for param in declared:
        if param.name not in given:
            yield infra.at(main, param.line, f"param {param.name} is not in main.parameters.json: azd could not set it")


def _hooks(infra: Infra) -> Iterator[str]:
    """Compare what azd does not deploy itself with the hook that does."""
    hooks = {path.name: path.read_text(encoding="utf-8") for path in (infra.root / "infra" / "hooks").glob("*.sh")}
    for file in infra.files.values():
        if file.path.parent != infra.root / "infra" or file.path.name == "main.bicep":
            continue
        # In a command, not in a comment.
        hook = next((n for n, text in hooks.items() if re.search(rf"^[^#\n]*\b{file.path.name}", text, re.M)), None)
        if hook is None:
            yield infra.at(file, 1, "no script of infra/hooks deploys this file")
            continue
        for param in file.of_kind("param"):
            if not re.search(rf"""\b{param.name}["']?\s*[=:]""", hooks[hook]):
                yield infra.at(file, param.line, f"param {param.name} is not passed by infra/hooks/{hook}")

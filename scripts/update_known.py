"""Make scripts/infra/known.json anew: the types and modules that infra/*.bicep uses, from what Microsoft publishes.

    python -m scripts.update_known TYPES MODULES

TYPES is a clone of https://github.com/Azure/bicep-types-az, MODULES one of
https://github.com/Azure/bicep-registry-modules with its tags.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.infra import known, references

ROOT = Path(__file__).resolve().parent.parent
_REQUIRED, _READ_ONLY = 1, 2
_DEPTH = 9


def _git(clone: Path, *arguments: str) -> str:
    command = ["git", "-C", str(clone), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Types:
    """One types.json of bicep-types-az."""

    def __init__(self, text: str) -> None:
        self._types: list[dict[str, Any]] = json.loads(text)

    def resource(self, name: str) -> Any:
        """Return the type of a resource (`type@version`), None if it is not in this file."""
        found = (t for t in self._types if t["$type"] == "ResourceType" and t["name"].lower() == name.lower())
        resource = next(found, None)
        return self._tree(resource["body"]) if resource else None

    def _tree(self, reference: dict[str, str], depth: int = 0) -> Any:
        type_ = self._types[int(reference["$ref"].rpartition("/")[2])]
        kind = type_["$type"]
        if depth > _DEPTH:
            return None
        if kind == "ArrayType":
            return self._tree(type_["itemType"], depth)
        if kind == "UnionType":
            members = [self._types[int(e["$ref"].rpartition("/")[2])] for e in type_["elements"]]
            closed = all(member["$type"] == "StringLiteralType" for member in members)
            return [member["value"] for member in members] if closed else None
        if kind == "StringLiteralType":
            return [type_["value"]]
        if kind == "DiscriminatedObjectType":
            merged = self._members(type_["baseProperties"], depth)
            choices = []
            for element in type_["elements"].values():
                variant = self._tree(element, depth) or {}
                choices += variant.pop(f"{type_['discriminator']}!", [])
                merged |= {name.rstrip("!"): tree for name, tree in variant.items() if name not in merged}
            return {f"{type_['discriminator']}!": choices, **merged}
        if kind == "ObjectType" and type_.get("properties") and "additionalProperties" not in type_:
            return self._members(type_["properties"], depth)
        return None

    def _members(self, properties: dict[str, Any], depth: int) -> dict[str, Any]:
        return {
            name + ("!" if given["flags"] & _REQUIRED else ""): self._tree(given["type"], depth + 1)
            for name, given in properties.items()
            if not given["flags"] & _READ_ONLY
        }


def resource_type(clone: Path, name: str) -> Any:
    """Return the type of a resource that infra/ uses.

    Raises:
        LookupError: Microsoft publishes no such type in that version.
    """
    provider, _, version = name.partition("@")
    suffix = f"/{provider.partition('/')[0].lower()}/{version}/types.json"
    for path in _git(clone, "ls-tree", "-r", "--name-only", "HEAD", "generated").splitlines():
        if path.endswith(suffix):
            found = Types(_git(clone, "show", f"HEAD:{path}")).resource(name)
            if found is not None:
                return found
    raise LookupError(f"{name} is not in {clone}")


def module(clone: Path, name: str, version: str) -> dict[str, list[str]]:
    """Return the interface of a registry module, from the template that it was compiled to."""
    template = json.loads(_git(clone, "show", f"{name}/{version}:{name}/main.json"))
    parameters = template["parameters"]
    optional = {n for n, given in parameters.items() if "defaultValue" in given or given.get("nullable")}
    return {
        "required": sorted(parameters.keys() - optional),
        "optional": sorted(optional),
        "outputs": sorted(template.get("outputs", {})),
    }


def main() -> int:
    """Write the table and return the exit status."""
    parser = argparse.ArgumentParser(description="Make scripts/infra/known.json anew.")
    parser.add_argument("types", type=Path)
    parser.add_argument("modules", type=Path)
    arguments = parser.parse_args()
    files = references.load(ROOT, {}).files.values()
    resources = [resource for file in files for resource in file.of_kind("resource")]
    made = {resource.reference for resource in resources if not resource.existing}
    pinned = {m.reference for file in files for m in file.of_kind("module") if m.reference.startswith("br")}
    registry: dict[str, dict[str, Any]] = {}
    for reference in sorted(pinned):
        name, version = reference.removeprefix("br/public:").split(":")
        registry.setdefault(name, {})[version] = module(arguments.modules, name, version)
    table = {
        "sources": {
            "resourceTypes": "https://github.com/Azure/bicep-types-az, "
            f"commit {_git(arguments.types, 'rev-parse', 'HEAD').strip()}",
            "modules": "https://github.com/Azure/bicep-registry-modules, tags avm/res/<module>/<version>",
        },
        # What is only referred to has no properties to be wrong.
        "resourceTypes": {
            name: type_ if name in made else None
            for name in sorted({resource.reference for resource in resources})
            if (type_ := resource_type(arguments.types, name))
        },
        "modules": registry,
    }
    known.TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes infra/ with plain resources in place of registry modules, so that tools that read resources see what is made.

Modules of Microsoft's registry hide their resource from checkov and others: these find nothing to judge and so nothing
wrong. The parameters of the modules used here are called as the properties that they set, which is checked by
`scripts/check_infra.py` for the modules' side; what a module adds by its own defaults is not shown.
"""

from __future__ import annotations

import re
from pathlib import Path

from scripts.infra import bicep
from scripts.infra.bicep import Declaration

_RESOURCES = {
    "insights/action-group": "Microsoft.Insights/actionGroups@2023-01-01",
    "insights/component": "Microsoft.Insights/components@2020-02-02",
    "managed-identity/user-assigned-identity": "Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30",
    "network/private-dns-zone": "Microsoft.Network/privateDnsZones@2024-06-01",
    "network/private-endpoint": "Microsoft.Network/privateEndpoints@2024-05-01",
    "network/virtual-network": "Microsoft.Network/virtualNetworks@2024-05-01",
    "operational-insights/workspace": "Microsoft.OperationalInsights/workspaces@2023-09-01",
    "storage/storage-account": "Microsoft.Storage/storageAccounts@2025-06-01",
    "web/serverfarm": "Microsoft.Web/serverfarms@2024-04-01",
    "web/site": "Microsoft.Web/sites@2024-04-01",
}
_TOP = ("name", "location", "kind", "tags")
_SKIP = re.compile(r"//\s*checkov:skip=.*")


class UnknownModule(Exception):
    """A registry module whose resource is not known here; the text names it."""


def write(root: Path, target: Path) -> None:
    """Write the Bicep files of a project's infra/ into a folder.

    Raises:
        UnknownModule: See there.
    """
    for path in sorted((root / "infra").rglob("*.bicep")):
        file, text = bicep.read(path), path.read_text(encoding="utf-8")
        for module in file.of_kind("module"):
            if module.reference.startswith("br"):
                text = text.replace(_source(module), _resource(module))
        written = target / path.relative_to(root / "infra")
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(text, encoding="utf-8")


def _source(module: Declaration) -> str:
    node = module.body
    while node is not None and node.type != "module_declaration":
        node = node.parent
    return bicep.text_of(node) if node is not None else ""


def _resource(module: Declaration) -> str:
    name = module.reference.removeprefix("br/public:avm/res/").partition(":")[0]
    if name not in _RESOURCES:
        raise UnknownModule(f"say in scripts/infra/plain.py which resource {module.reference} makes")
    block = bicep.properties(module.body).get("params")
    given = {name: bicep.text_of(value) for name, (_, value) in bicep.properties(block[1] if block else None).items()}
    lines = [f"{key}: {given.pop(key)}" for key in _TOP if key in given]
    if sku := given.pop("skuName", ""):
        lines.append(f"sku: {{ name: {sku} }}")
    if identities := given.pop("managedIdentities", ""):
        user = "userAssigned" in identities
        kind = "type: 'UserAssigned', userAssignedIdentities: { app: {} }" if user else "type: 'SystemAssigned'"
        lines.append(f"identity: {{ {kind} }}")
    properties = [f"{key}: {value}" for key, value in given.items()]
    skips = _SKIP.findall(_source(module))
    body = "\n".join([*skips, *lines, "properties: {", *properties, "}"])
    return f"resource {module.name} '{_RESOURCES[name]}' = {{\n{body}\n}}"

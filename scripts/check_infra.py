"""Check infra/ without a subscription: Bicep, the JSON that it reads, the code, the samples and the documents agree.

    python -m scripts.check_infra

Each finding is a line with the place and what to do. What only Azure can tell (quotas, names that are taken, policies)
is not looked at, nor are the types of values that are computed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.infra import events, known, references, settings

ROOT = Path(__file__).resolve().parent.parent


_LISTS = {"app-roles.json": "assignments", "app-settings.json": "settings", "event-subscriptions.json": "subscriptions"}


def _unreadable(root: Path) -> Iterator[str]:
    """Yield what is no JSON, or lacks the list that everything else reads."""
    for path in [root / "host.json", *sorted((root / "infra").glob("*.json"))]:
        name = path.relative_to(root)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"{name}: no JSON: {error}"
            continue
        wanted = _LISTS.get(path.name)
        if wanted and not isinstance(document.get(wanted), list):
            yield f"{name}: lacks the list {wanted}"


def findings(root: Path = ROOT, code: events.Code | None = None) -> Iterator[str]:
    """Yield every finding.

    Args:
        root: The project's folder.
        code: What the functions are; by default that of the app on the import path.
    """
    unreadable = list(_unreadable(root))
    yield from unreadable
    if unreadable:
        return
    infra = references.load(root.resolve(), known.modules())
    yield from references.check(infra)
    yield from known.check(infra)
    yield from settings.check(infra)
    yield from events.check(infra, code or events.indexed())


if __name__ == "__main__":
    found = list(findings())
    print("\n".join(found) or "infra: Bicep, settings, roles and events agree with each other and with the code")
    sys.exit(bool(found))

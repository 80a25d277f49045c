"""What the tests of infra/ read: what Azure would be asked to make (infra/snapshots), and the tables beside it."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from dev.checks import snapshots

ROOT, INFRA = snapshots.ROOT, snapshots.INFRA
TEAM, OTHER = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
PRINCIPAL = "cccccccc-0000-4000-8000-000000000003"
BASE = "/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform"
FLEET = BASE.replace("platform", "fleet")
BASE_REGISTRY = f"{BASE}/providers/Microsoft.ContainerRegistry/registries/mybaseregistry"
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ALL, MAIN = snapshots.cases(), snapshots.cases("main")
EVENTS = snapshots.cases("events")
SUBSCRIPTIONS = "Microsoft.EventGrid/systemTopics/eventSubscriptions"


def made(case: str, type_: str) -> list[dict[str, Any]]:
    """Return the resources of a type that a case makes."""
    return [one for one in snapshots.read(case)["predictedResources"] if one["type"] == type_]


def only(case: str, type_: str) -> dict[str, Any]:
    (found,) = made(case, type_)
    return found


def listed(name: str, member: str) -> list[dict[str, Any]]:
    """Return a list of one of the JSON files that Bicep, code and tests read."""
    found: list[dict[str, Any]] = json.loads((INFRA / name).read_text())[member]
    return found


def site_settings(case: str) -> dict[str, str]:
    site = only(case, "Microsoft.Web/sites")
    return {setting["name"]: setting["value"] for setting in site["properties"]["siteConfig"]["appSettings"]}


def last_names(case: str, type_: str) -> set[str]:
    return {one["name"].rpartition("/")[2] for one in made(case, type_)}


@lru_cache
def functions() -> dict[str, list[dict[str, Any]]]:
    """Return the bindings of every function, as the worker indexes them."""
    import function_app

    return {
        str(f.get_function_name()): [b.get_dict_repr() for b in f.get_bindings()]
        for f in function_app.app.get_functions()
    }

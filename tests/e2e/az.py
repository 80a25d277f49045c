"""Stands in for the Azure CLI where a test has none: the few commands that the documentation types, on the wire."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import requests

ARM = "https://management.azure.com"
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    for option in ("--name", "--resource-group", "--location", "--sku", "--tags", "--resource", "--output"):
        parser.add_argument(option)
    parser.add_argument("--identity", action="store_true")
    given = parser.parse_args()
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{given.resource_group or given.name}"
    match given.words:
        case ["login"] if given.identity:
            token()
        case ["account", "get-access-token"]:
            print(Path(os.environ["AZ_ACCESS_TOKEN"]).read_text())
        case ["group", "create"]:
            put(group, {"location": given.location})
        case ["acr", "create"]:
            tags = dict([given.tags.split("=")]) if given.tags else {}
            registry = {"location": "westeurope", "sku": {"name": given.sku}, "tags": tags}
            put(f"{group}/providers/Microsoft.ContainerRegistry/registries/{given.name}", registry)
        case _:
            sys.exit(f"not known here: az {' '.join(sys.argv[1:])}")


def token() -> str:
    """Sign in as the managed identity."""
    query = {"api-version": "2019-08-01", "resource": ARM}
    header = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}
    reply = requests.get(os.environ["IDENTITY_ENDPOINT"], query, headers=header, timeout=10)
    reply.raise_for_status()
    return str(reply.json()["access_token"])


def put(path: str, body: dict[str, Any]) -> None:
    """Create a resource."""
    header = {"Authorization": f"Bearer {token()}"}
    reply = requests.put(f"{ARM}{path}?api-version=2025-11-01", json=body, headers=header, timeout=30)
    reply.raise_for_status()


if __name__ == "__main__":
    main()

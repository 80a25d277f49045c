"""What must hold when everything has come to rest, seen from Azure's side."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from dev.localazure.state import Resource
from tests.integration.world import BASE, TASKS, World, registry_id, task_id

if TYPE_CHECKING:
    from tests.faults.player import Player

RUN = "Microsoft.ContainerRegistry/registries/runs"


def digest_of(run: Resource) -> str:
    """Return the base digest that a run was told to build on."""
    values = run.properties["_definition"]["step"]["values"]
    return str(next(item["value"] for item in values if item["name"] == "baseDigest"))


def useful(run: Resource) -> bool:
    """Tell whether a run got past its login: here nothing else makes runs fail."""
    return str(run.properties["status"]) != "Failed"


async def desired_state(world: World, registry: str) -> list[str]:
    """Return which of its conditions do not hold for a registry."""
    reply = await world.owner.arm("POST", f"{task_id(registry)}/listDetails", api_version=TASKS)
    if reply.status != 200:
        return [f"{registry}: no task ({reply.status})"]
    task = reply.body
    found = []
    custom = (task["properties"].get("credentials") or {}).get("customRegistries") or {}
    credential = custom.get(f"{BASE}.azurecr.io") or {}
    identity = task.get("identity") or {}
    if "userAssignedIdentities" in identity:
        (entry,) = identity["userAssignedIdentities"].values()
        principal, wanted = entry["principalId"], entry["clientId"]
    elif "principalId" in identity:
        principal, wanted = identity["principalId"], "[system]"
    else:
        return [f"{registry}: the task has no identity"]
    if str(credential.get("identity", "")).lower() != wanted.lower():
        found.append(f"{registry}: the credential is {credential}")
    if not await world.assignments(registry_id(BASE), principal):
        found.append(f"{registry}: no grant")
    content = base64.b64decode(task["properties"]["step"]["encodedTaskContent"]).decode()
    if content.strip() != (world.folder / "tasks" / "helloworldtask.yaml").read_text().strip():
        found.append(f"{registry}: the task has another content")
    return found


async def run_problems(world: World, registry: str, expected: set[str], *, selected: bool = True) -> list[str]:
    """Compare a registry's runs with what is expected and with the ledger."""
    found = []
    runs = {run.name: run for run in world.azure.state.of_type(RUN, registry_id(registry))}
    created = world.azure.state.resources[registry_id(registry).lower()].properties["creationDate"]
    rows = [row for row in await world.ledger("run|", registry) if row.get("created", created) == created]
    recorded = {row["RowKey"].removeprefix("run|"): row for row in rows}
    manual = {name for name, row in recorded.items() if str(row.get("build", "")).startswith("manual-")}
    counts = Counter(digest_of(run) for run in runs.values() if useful(run) and run.name not in manual)
    for digest, count in counts.items():
        if count > 1:
            found.append(f"{registry}: {count} runs for {digest}")
    by_hand = {digest_of(runs[name]) for name in manual if useful(runs[name])}
    found.extend(f"{registry}: no run for {digest}" for digest in sorted(expected - by_hand) if not counts[digest])
    keys = Counter(row["build"] for name, row in recorded.items() if name in manual and useful(runs[name]))
    found.extend(f"{registry}: {count} runs for {key}" for key, count in keys.items() if count > 1)
    if selected and set(runs) != set(recorded):
        found.append(f"{registry}: runs {sorted(runs)}, but the ledger has {sorted(recorded)}")
    for name in sorted(set(runs) & set(recorded)):
        have, said = runs[name].properties["status"], recorded[name].get("status")
        if selected and have != said:
            found.append(f"{registry}: run {name} is {have}, but the ledger says {said}")
    return found


async def all_problems(player: Player) -> list[str]:
    """Return everything that is not as it must be."""
    world, found = player.world, list[str]()
    for team in player.teams.values():
        if not team.exists:
            continue
        selected = team.selected_since is not None
        expected = set()
        if selected:
            found += await desired_state(world, team.name)
            for tag, (moved, digest) in player.moved.items():
                # Later comers start with the image that their task builds on by default.
                if tag == "15-alpine" or (team.selected_since or 0) < moved:
                    expected.add(digest)
        found += await run_problems(world, team.name, expected, selected=selected)
    found += [f"poisoned: {m.queue}: {m.body.decode()}" for m in player.poisoned if not may_be_poisoned(player, m)]
    return found


def may_be_poisoned(player: Player, message: Any) -> bool:
    """Tell whether a message is about a registry that was deleted while it was worked on."""
    body = json.loads(message.body)
    registry = (body.get("request") or body).get("registry", "").rpartition("/")[2]
    return registry in player.deleted

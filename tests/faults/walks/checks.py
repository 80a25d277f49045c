"""What must hold when everything has come to rest, seen from Azure's side and from the fleet's state."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from dev.localazure.state import Resource
from shared.adapters.walk_messages import WALKS
from shared.domain.state.known import Known, Why
from tests.faults.player import REPOSITORY, RUN
from tests.faults.walks.places import SUBSCRIPTIONS, group_of
from tests.integration.world import BASE, World, registry_id

if TYPE_CHECKING:
    from tests.faults.walks.player import Player


def pulled(world: World, registry: Resource, run: Resource) -> str:
    """Return the digest of the base image that a run has built on, or "" if it built nothing."""
    content = world.azure.registries.content(registry)
    for image in run.properties.get("outputImages", ()):
        manifest = json.loads(content.repositories[image["repository"]].manifests[image["digest"]].body)
        config = json.loads(content.blobs[manifest["config"]["digest"]])
        return str(config["config"]["Labels"]["org.opencontainers.image.base.digest"])
    return ""


def runs_of(player: Player, name: str) -> list[Resource]:
    """Return the runs of a team's registry, oldest first."""
    runs = player.world.azure.state.of_type(RUN, registry_id(name, group_of(name)))
    return sorted(runs, key=lambda run: str(run.properties["createTime"]))


async def outdated(player: Player) -> list[str]:
    """Return which images are not built on what the base image's tag points to."""
    world, found = player.world, list[str]()
    base = world.azure.state.resources[registry_id(BASE).lower()]
    now = world.azure.registries.tags(base, REPOSITORY)["15-alpine"].digest
    for team in player.teams.values():
        if team.exists and team.selected_since is not None:
            registry = world.azure.state.resources[registry_id(team.name, group_of(team.name)).lower()]
            built = [digest for run in runs_of(player, team.name) if (digest := pulled(world, registry, run))]
            if not built or built[-1] != now:
                found.append(f"{team.name}: built {built}, and the tag is {now}")
    return found


async def all_problems(player: Player) -> list[str]:
    """Return everything that is not as it must be."""
    world, found = player.world, await outdated(player)
    rows: dict[str, Known] = {}
    for subscription in SUBSCRIPTIONS:
        there = await player.workers[0].state.subscription(subscription)
        rows |= {row.value.registry.rpartition("/")[2]: row.value for row in there.targets.values()}
        if there.walk.value.by:
            found.append(f"{subscription}: still walked by {there.walk.value}")
    for team in player.teams.values():
        if not team.exists:
            continue
        registry = world.azure.state.resources[registry_id(team.name, group_of(team.name)).lower()]
        target = rows.get(team.name)
        if target is not None and target.created != registry.properties["creationDate"]:
            target = None
        if target is None:
            continue
        if target.claim:
            found.append(f"{team.name}: claimed: {target}")
        if target.run and not target.run.ended:
            found.append(f"{team.name}: never ended: {target}")
        found += record_problems(player, team.name, target, [run.name for run in runs_of(player, team.name)])
        found += reasons_missing(team.name, target)
    bodies = [message.body.decode() for message in player.queue.messages if message.queue != WALKS]
    return [*found, *(f"poisoned: {body}" for body in bodies)]


def record_problems(player: Player, name: str, target: Known, runs: list[str]) -> list[str]:
    """Tell whether runs are on record, each once."""
    recorded = [run.id for run in target.runs if run.id]
    found = [f"{name}: {run} is on record {count} times" for run, count in Counter(recorded).items() if count > 1]
    if player.lost and not set(recorded) <= set(runs):
        found.append(f"{name}: unknown runs in {recorded}")
    if not player.lost and recorded[-10:] != runs[-10:]:
        found.append(f"{name}: runs {runs}, on record {recorded}: {target}")
    return found


def reasons_missing(name: str, target: Known) -> list[str]:
    """Return the runs that nothing was the reason for."""
    found = []
    requests = Counter(run.request for run in target.runs if run.request)
    found += [f"{name}: {count} runs for request {request}" for request, count in requests.items() if count > 1]
    for before, run in pairwise(target.runs):
        if run.why is Why.FIRST:
            found.append(f"{name}: {run.id} is another first run: {target}")
        if run.why is Why.CHANGED and run.seq <= before.seq:
            found.append(f"{name}: {run.id} for no change: {target}")
        if run.why is Why.FAILED and before.failure is None:
            found.append(f"{name}: {run.id} repeats a run that did not fail: {target}")
    return found

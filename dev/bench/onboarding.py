"""One new registry from nothing to its first run: Groundswell beside the commands of Microsoft's walk-through."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dev.bench.az import AzureCli
from dev.bench.table import Row
from dev.bench.world import APP, Calls, Fleet, FleetWorld
from dev.bench.worlds import Worlds
from dev.conformance.azure_cli.scenario import TASK_FILE
from dev.sandbox import deployment
from dev.sandbox.cloud import BASE, TASK

_WRITES = {"first": 4, "further": 2}
_READS = 3


@dataclass(frozen=True)
class Onboarding:
    """How long it took and what Resource Manager counted."""

    seconds: float
    calls: Calls


async def by_groundswell(world: FleetWorld, name: str) -> Onboarding:
    """Onboard a registry and schedule its first run by one request to a host that is warm."""
    await deployment.create_registry(world.cloud, name, {"base-image-rebuilds": "enabled"})
    await world.like_azure()
    started = time.monotonic()
    status, _, answer = await world.api("POST", f"/api/registries/{name}/runs")
    seconds = time.monotonic() - started
    if status != 202:
        raise RuntimeError(f"Groundswell answered {status}: {answer}")
    return Onboarding(seconds, await world.calls(APP))


async def by_script(world: FleetWorld, name: str) -> Onboarding | None:
    """Play the walk-through's commands for one registry; None if the CLI is not installed.

    https://learn.microsoft.com/azure/container-registry/container-registry-tasks-cross-registry-authentication
    """
    cli = await AzureCli.of(world)
    if cli is None:
        return None
    (world.folder / "helloworldtask.yaml").write_text(TASK_FILE)
    await deployment.create_registry(world.cloud, name)
    await world.like_azure()
    started = time.monotonic()
    identity, task = "--resource-group myResourceGroup --name scriptTasksId", f"--registry {name} --name {TASK}"
    await cli(f"identity create {identity}")
    ids = [await cli(f"identity show {identity} --query {field} --output tsv")
           for field in ("id", "principalId", "clientId")]  # fmt: skip
    await cli(f"acr task create {task} --context /dev/null --file helloworldtask.yaml --assign-identity {ids[0]}")
    base = await cli(f"acr show --name {BASE} --query id --output tsv")
    await cli(f"role assignment create --assignee {ids[1]} --scope {base} --role acrpull")
    await cli(f"acr task credential add {task} --login-server {BASE}.azurecr.io --use-identity {ids[2]}")
    await cli(f"acr task run {task} --no-logs --no-wait")
    return Onboarding(time.monotonic() - started, await world.calls("owner"))


async def rows(worlds: Worlds) -> list[Row]:
    """Measure onboarding in a world without registries."""
    world = await worlds.of(Fleet(0), fresh=True)
    await world.cloud.push_base_image("1")
    await world.warm_up()
    first = await by_groundswell(world, "firstteam")
    further = await by_groundswell(world, "furtherteam")
    script = await by_script(world, "scriptteam")
    found = []
    for name, seen in (("first", first), ("further", further)):
        text = f"{seen.seconds:.2f} s, {seen.calls.writes} writes, {seen.calls.reads} reads"
        met = seen.calls.writes <= _WRITES[name] and seen.calls.reads <= _READS
        target = f"≤ {_WRITES[name]} writes, ≤ {_READS} reads"
        if script is None:
            found.append(Row(f"Onboarding the {name} registry", text, "not run: no Azure CLI", None, target, met))
            continue
        against = f"{script.seconds:.1f} s, {script.calls.writes} writes, {script.calls.reads} reads: the `az` script"
        ratio = seen.seconds / script.seconds
        found.append(Row(f"Onboarding the {name} registry", text, against, ratio, f"≤ 0.1; {target}",
                         met and ratio <= 0.1))  # fmt: skip
    return found

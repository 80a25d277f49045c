"""A Functions host that dies without warning, again and again, in the middle of fan-outs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually
from tests.e2e.company import wire
from tests.faults.checks import desired_state, run_problems
from tests.faults.player import company
from tests.integration.company_life import HANDLERS
from tests.integration.world import OPTED_IN, ROOT, SYSTEM_ASSIGNED, USER_ASSIGNED, World

KILLS = int(os.environ.get("GROUNDSWELL_FAULT_KILLS", "8"))
REGISTRIES = 20 if KILLS <= 8 else 50
SEED = int(os.environ.get("GROUNDSWELL_FAULT_SEED", "1"))
KEYS = ("MASTER", "FUNCTION", "EVENT_GRID")


class MortalHost:
    """The app's Functions host, which keeps its address and keys when it is started anew."""

    def __init__(self, world: World, folder: Path) -> None:
        environment = {**world.azure.environment(world.app), **world.settings}
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            environment[name] = str(world.azure.ca_bundle)
        environment |= {f"LOCALAZURE_FUNCTIONS_{key}_KEY": f"{key.lower()}-of-this-test" for key in KEYS}
        # The dead leave leases and claims behind: these run out in seconds here.
        environment |= {"GROUNDSWELL_CLAIM_SECONDS": "8", "GROUNDSWELL_FLEET_CACHE_SECONDS": "5"}
        settings = folder / "settings.json"
        settings.write_text('{"IsEncrypted": false, "Values": {}}')
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ("--settings", str(settings), "--queue-lease", "2", "--port", str(port))
        self._new: Callable[[], FunctionsHost] = lambda: FunctionsHost(ROOT, environment, arguments)
        self.host = self._new()

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self.host = self._new()
        await asyncio.to_thread(self.host.__enter__)

    async def kill(self) -> None:
        """End it at once."""
        self.host.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.host.wait)
        self.close()

    def close(self) -> None:
        """End it, if it lives, and clean up behind it."""
        self.host.__exit__(None, None, None)


@pytest.mark.timeout(180 + 15 * KILLS)
@pytest.mark.parametrize("identity", [USER_ASSIGNED] if KILLS <= 8 else [USER_ASSIGNED, SYSTEM_ASSIGNED])
async def test_fan_out_is_complete_and_builds_nothing_twice_however_often_the_host_dies(
    identity: str, azurite: Azurite, tmp_path: Path
) -> None:
    chance, contents = random.Random(SEED), 0
    teams = [f"team{number:03}" for number in range(REGISTRIES)]
    async with company(azurite.connection_string, tmp_path) as world:
        world.write_policy(identity)
        for name in teams:
            await world.create_registry(name, tags=OPTED_IN)
        mortal = MortalHost(world, tmp_path)
        await mortal.start()
        try:
            await wire(world, mortal.host)
            digest = ""
            for _ in range(KILLS):
                if not await busy(world):
                    contents += 1
                    digest = await world.push(f"content {contents}")
                await work_a_little(world, chance)
                await mortal.kill()
                await mortal.start()

            async def settled() -> bool:
                await replay(world, mortal.host)
                return not await busy(world) and not await problems(world, teams, digest)

            try:
                await eventually(settled, 120)
            except AssertionError:
                assert await problems(world, teams, digest) == []
                raise
        finally:
            mortal.close()


async def busy(world: World) -> bool:
    """Tell whether messages wait, or are being worked on."""
    return any([await world.waiting(queue) for queue in HANDLERS])


async def work_a_little(world: World, chance: random.Random) -> None:
    """Wait until the app has sent some more requests to Azure, then for any moment between two of them."""
    wanted, before = chance.randint(1, 40), world.azure.journal.last

    async def sent() -> bool:
        calls = len(list(world.azure.journal.since(before, caller=world.app.name)))
        return calls >= wanted or (calls > 0 and not await busy(world))

    await eventually(sent)
    await asyncio.sleep(chance.uniform(0, 0.05))


async def problems(world: World, teams: list[str], digest: str) -> list[str]:
    """Return everything that is not as it must be."""
    found = []
    for name in teams:
        found += await desired_state(world, name)
        found += await run_problems(world, name, {digest})
    return found


async def replay(world: World, host: FunctionsHost) -> None:
    """Do as an operator does: a message in whose hands the host died too often is set aside, and put back."""
    if any([await world.waiting(f"{queue}-poison") for queue in HANDLERS]):
        headers = {"x-functions-key": host.ready["functionKey"]}
        # Without a body, its type would say that one was lost on the way.
        reply = await world.owner.request(
            "POST", f"{host.url}/api/rebuilds/replay", headers=headers, skip_auto_headers=("Content-Type",)
        )
        assert reply.status == 202, reply.text

"""`up`: a world that stays, for playing with; and `push` into it from another terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console
from rich.text import Text

from dev.demo import words
from dev.demo.story import REGISTRY_PATH, Story
from dev.demo.watch import APP
from dev.ports import free_ports, listens
from dev.sandbox.cloud import BASE, BASE_IMAGE, GROUP, TASK, TEAM, Cloud, Refused
from dev.sandbox.processes import ROOT, CannotStart
from dev.sandbox.world import GRANT_DELAY, HOST, LOCALAZURE, Ports, Unexpected, World

# The host's is that of `func start`, the storage's are Azurite's own.
PORTS = Ports(host=7071, proxy=7072, control=7073, blob=10000, queue=10001, table=10002)
# What the real Azure CLI needs besides localazure's environment, so that it asks nobody else.
_NOTHING_RUNS = "nothing is running to push to; start it with `make up`."
_CLI = {"AZURE_CORE_INSTANCE_DISCOVERY": "false", "AZURE_CORE_COLLECT_TELEMETRY": "no"}


def _state_files() -> Path:
    """Where running worlds tell `push` about themselves: the folder, and how the names of the user's files begin."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"groundswell-{os.getuid()}-"


async def stay(story: Story) -> None:
    """Play the scenario's beginning, say what to try, and show what happens until cancelled.

    Raises:
        Unexpected: Something did not start, or ended.
    """
    world, timeline = story.world, story.timeline
    (port,) = free_ports(PORTS.host)
    await story.begin(port)
    timeline.flush()
    exports = _write_exports(world)
    with _announced(world.cloud.environment):
        _invite(timeline.console, story, exports)
        while not (dead := world.processes.dead()):
            await story.watch.look()
            await asyncio.sleep(0.3)
    raise Unexpected("everything to go on", dead)


async def push(console: Console, text: str) -> int:
    """Push a base image into the running world, as its owner's pipeline would; return the exit status.

    Raises:
        CannotStart: No world is running, or several are and nothing says which is meant.
    """
    try:
        environment = _chosen_world()
        async with Cloud(environment, GRANT_DELAY) as cloud:
            digest = await cloud.push_base_image(text or f"{time.time():.0f}")
    except (OSError, aiohttp.ClientError) as error:
        raise CannotStart(_NOTHING_RUNS) from error
    except Refused as error:
        raise CannotStart(str(error)) from error
    console.print(f"pushed {BASE}.azurecr.io/{BASE_IMAGE}", words.short(digest))
    return 0


def _chosen_world() -> dict[str, str]:
    """Return the environment of the world that this shell has taken over, or of the only one that is running."""
    if "LOCALAZURE_CONTROL" in os.environ:
        return dict(os.environ)
    prefix = _state_files()
    worlds = [json.loads(path.read_text()) for path in prefix.parent.glob(f"{prefix.name}*.json")]
    alive = [world for world in worlds if listens(urlsplit(world["LOCALAZURE_CONTROL"]).port or 0)]
    if not alive:
        raise CannotStart(_NOTHING_RUNS)
    if len(alive) > 1:
        raise CannotStart(f"`make up` runs {len(alive)} times; take over the environment of the one that you mean, "
                          "which it prints as `. …/env`.")  # fmt: skip
    environment: dict[str, str] = alive[0]
    return environment


@contextlib.contextmanager
def _announced(environment: dict[str, str]) -> Iterator[None]:
    """Let `push` find the world as long as it runs. Only the user may read the file: it holds the owner's secret."""
    path = Path(f"{_state_files()}{os.getpid()}.json")
    # One that had this number before may have been killed.
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(environment, file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _write_exports(world: World) -> Path:
    """Write the environment in which any Azure client, and curl, talks to this world."""
    variables = {
        **world.cloud.environment, **_CLI, "AZURE_CONFIG_DIR": str(world.folder / "azure-cli"),
        "APP": APP, "GROUP": GROUP.rpartition("/")[2], "URL": world.host["url"], "KEY": world.host["functionKey"],
    }  # fmt: skip
    path = world.folder / "env"
    path.touch(mode=0o600)
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    return path


def _invite(console: Console, story: Story, exports: Path) -> None:
    """Print what to try, ready to be pasted."""
    host, processes = story.world.host, story.world.processes
    curl = f'curl -s -H "x-functions-key: {host["functionKey"]}"'
    registry, run = f"{host['url']}{REGISTRY_PATH}", next(reversed(story.watch.runs))
    program = Path(os.path.relpath(sys.executable)) if Path(sys.executable).is_relative_to(ROOT) else sys.executable
    blocks = {
        "Push a patched base image; the same text makes the same digest": [f"{program} -m dev.demo push [text]"],
        "Groundswell's HTTP API": [
            f"{curl} {registry}",
            f"{curl} -X POST {registry}/runs",
            f"{curl} {registry}/runs/{run}",
            f"{curl} {registry}/runs/{run}/logs",
            f"{curl} {host['url']}/api/runs -d '{{\"all\": true}}'",
        ],
        "The environment in which any Azure client works here, as the owner": [f". {exports}"],
        "The Azure CLI in it, for example": [
            "az login --identity --output none",
            f"az acr task list-runs --registry {TEAM} --output table",
            f"az acr task run --registry {TEAM} --name {TASK}",
            f"az role assignment delete --ids {story.grant['id']}",
        ],
        "Logs": [f"tail -f {shlex.quote(str(processes.log_file(name)))}" for name in (HOST, LOCALAZURE)],
    }
    console.print()
    console.print(Text("Everything is running. In another terminal, in this folder, try", "bold"))
    for title, commands in blocks.items():
        console.print(Text(f"\n  {title}", "dim"))
        for command in commands:
            # Lines are not broken, so that they can be copied.
            console.print(Text(f"    {command}"), soft_wrap=True)
    console.print(Text("\nWhat happens is shown here. Ctrl-C ends everything.\n", "bold"))

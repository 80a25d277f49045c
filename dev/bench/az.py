"""The real Azure CLI (https://learn.microsoft.com/cli/azure) in a world, signed in as the owner."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dev.bench.world import FleetWorld
from dev.conformance.azure_cli.az import PROGRAM
from dev.conformance.world import run


@dataclass
class AzureCli:
    """Calling it runs a command."""

    world: FleetWorld

    @classmethod
    async def of(cls, world: FleetWorld) -> AzureCli | None:
        """Return the CLI, signed in; None if it is not installed (`make conformance` does that)."""
        if not PROGRAM.exists():
            return None
        cli = cls(world)
        await cli("login --identity --output none")
        return cli

    async def __call__(self, line: str) -> str:
        """Run `az {line}` and return what it printed.

        Raises:
            RuntimeError: It failed.
        """
        environment = {
            **self.world.cloud.environment,
            "AZURE_CONFIG_DIR": str(self.world.folder / "azure"),
            "AZURE_CORE_COLLECT_TELEMETRY": "no",
            "AZURE_CORE_INSTANCE_DISCOVERY": "false",
        }
        output = await run([str(PROGRAM), *shlex.split(line)], environment, folder=self.world.folder)
        if output.status:
            raise RuntimeError(f"az {line}: {output.last_words}")
        return output.out.strip()

"""infra/smoke with the real CLI: that a sound deployment passes, a broken one does not, and nothing is left."""

from __future__ import annotations

from typing import Any

from dev.conformance.azure_cli.az import PROGRAM, Az
from dev.conformance.azure_cli.groundswell import SELECTED, Company
from dev.conformance.world import ROOT, Option, Output, run
from dev.sandbox import deployment, infra
from dev.sandbox.cloud import BASE, SUBSCRIPTION, registry_id

SMOKE = ROOT / "infra" / "smoke"
TEAM = "realteam"


class Smoke:
    """The script in a world, and what it must not touch there."""

    def __init__(self, az: Az) -> None:
        """Call it as somebody does who has just deployed."""
        self.az, self.cloud = az, az.world.cloud
        self._untouched: dict[str, Any] | None = None

    async def __call__(self, options: str, status: int, *, says: str, **environment: str) -> None:
        """Run it and report whether it ended as it should and left nothing behind.

        Args:
            options: Its options, separated by spaces.
            status: The exit status that it must have.
            says: A text that it must print.
            environment: Besides that of a deployment.
        """
        before = await self._state()
        self._untouched = self._untouched or before
        output = await self._run(options, environment)
        text = f"{output.out}\n{output.err}"
        found = []
        if output.status != status:
            found.append(f"exit status {output.status}, expected {status}: {text[-1500:]}")
        elif says not in text:
            found.append(f"its output does not hold {says!r}: {text[-1500:]}")
        after, expected = await self._state(), self._untouched if "--clean" in options else before
        if "--keep" not in options and after != expected:
            found.append(f"it left {after}, expected was {expected}")
        self.az.report.add(self.az.client, f"infra/smoke {options}", found)

    async def _run(self, options: str, environment: dict[str, str]) -> Output:
        variables = {
            **self.az.environment, **environment,
            "PATH": f"{PROGRAM.parent}:/usr/local/bin:/usr/bin:/bin",
            "DEPLOYED_BASE_REGISTRY_ID": registry_id(BASE),
            "DEPLOYED_TEAM_SUBSCRIPTION_IDS": SUBSCRIPTION.rpartition("/")[2],
            "DEPLOYED_LOCATION": "eastus",
            "AZURE_FUNCTION_APP_ID": deployment.PLACE.site,
            "GROUNDSWELL_URL": "https://groundswell.azurewebsites.net",
            "POLL_SECONDS": "1",
        }  # fmt: skip
        return await run([str(SMOKE), *options.split()], variables, folder=self.az.folder, seconds=300)

    async def _state(self) -> dict[str, Any]:
        """Return what the script must leave as it was."""
        registries = await self.cloud.arm("GET", f"{SUBSCRIPTION}/providers/Microsoft.ContainerRegistry/registries")
        groups = await self.cloud.arm("GET", f"{SUBSCRIPTION}/resourceGroups")
        catalog = await (await self.cloud.docker(BASE)).request("GET", "/v2/_catalog")
        return {
            "registries": sorted(item["name"] for item in registries["value"]),
            "groups": sorted(item["name"] for item in groups["value"]),
            "repositories": catalog.body.decode(),
            "grants": len(await self.cloud.grants()),
            "runs of a team": len(await self.cloud.runs(TEAM)),
        }


async def play(az: Az, option: Option) -> None:
    """Call it beside a team that must not notice."""
    company, smoke = Company(az, option), Smoke(az)
    await company.deploy()
    await az.ask(f"acr create --resource-group myResourceGroup --name {TEAM} --sku Standard {SELECTED}")
    _, _, started = await az.world.api("POST", f"/api/registries/{TEAM}/runs")
    await company.ended(TEAM, started["runId"])
    if option is Option.USER_ASSIGNED:
        await _broken(smoke)
    await deployment.subscribe(company.cloud, az.world.host)
    if option is Option.USER_ASSIGNED:
        await smoke("--yes --quiet 5 --wait 60", 0, says="Groundswell works")
    else:
        await smoke("--yes --wait 60 --source node:16-alpine", 1, says="have the same content")
        await smoke("--yes --quiet 5 --wait 60 --keep", 0, says="everything is left in place")
        await smoke("--yes", 2, says="another call is at work, or was stopped")
        await smoke("--yes --clean", 0, says="nothing is left")


async def _broken(smoke: Smoke) -> None:
    """Call it where something is missing: an option, the function app, its key, its events."""
    await smoke("", 2, says="This is what infra/smoke does when it is called with --yes")
    await smoke("--yes --subscription", 2, says="--subscription needs a value")
    await smoke("--yes", 1, says="the API answers with status 404", GROUNDSWELL_KEY="any")
    await smoke.cloud.control("POST", "/sites", infra.site(deployment.PLACE, smoke.az.world.host))
    await smoke("--yes", 1, says="the API refuses the key", GROUNDSWELL_KEY="wrong")
    await smoke("--yes --wait 3", 1, says="do events arrive?")

"""The CLI's groundwork and Groundswell's: each accepts what the other has made."""

from __future__ import annotations

import shutil
from typing import Any

from dev.conformance.azure_cli.az import Az
from dev.conformance.azure_cli.scenario import TASK_FILE, create_identity
from dev.conformance.world import ROOT, Option
from dev.sandbox import deployment
from dev.sandbox.cloud import BASE, BASE_IMAGE, REPOSITORY, TAG, base_image, registry_id
from dev.sandbox.world import NotYet, Unexpected

SELECTED = "--tags base-image-rebuilds=enabled"
CONTEXT = "https://github.com/Azure-Samples/acr-build-helloworld-node.git#main"
APP = "groundswell"
READS = ("listdetails/action", "schedulerun/action", "listlogsasurl/action")


class Company:
    """A world with Groundswell running in it, as the CLI's user sees it."""

    def __init__(self, az: Az, option: Option) -> None:
        """Work in the CLI's world."""
        self.az, self.option, self.cloud = az, option, az.world.cloud

    @property
    def user_assigned(self) -> bool:
        """Whether the policy names one identity for all."""
        return self.option is Option.USER_ASSIGNED

    async def deploy(self) -> None:
        """Create the base registry and what it holds, and start Groundswell with its roles, hearing no events yet."""
        await self.az.ask("login --identity")
        await self.az.ask("group create --name myResourceGroup --location eastus")
        await self.az.ask(f"acr create --resource-group myResourceGroup --name {BASE} --sku Standard")
        await self.az.ask(f"acr import --name {BASE} --source docker.io/library/node:15-alpine --image {BASE_IMAGE}")
        self.az.names["baseregID"] = registry_id(BASE)
        world = self.az.world
        world.app = await deployment.create_app(self.cloud)
        await deployment.assign_roles(self.cloud, world.app["principalId"])
        await world.start_host(0)

    async def wire(self, registry: str, file: str, options: str = "", *, abac: bool = False) -> None:
        """Do in a new registry by hand what Groundswell does, with this task file and these options for its task."""
        az, task = self.az, f"--registry {registry} --name helloworldtask"
        mode = " --role-assignment-mode rbac-abac" if abac else ""
        create = f"acr create --resource-group myResourceGroup --name {registry} --sku Standard {SELECTED}{mode}"
        await az(f"{create} --query tags", answer={"base-image-rebuilds": "enabled"})
        identity = az.names["resourceID"] if self.user_assigned else ""
        if abac:
            options += f" --source-acr-auth-id {identity or '[system]'}"
        create = f"acr task create {task} --context /dev/null --file {file} --assign-identity {identity} {options}"
        await az(f"{create} --query provisioningState", answer="Succeeded")
        if not self.user_assigned:
            query = f"acr task show {task} --query identity.principalId --output tsv"
            az.names["principalID"] = str(await az.ask(query)).strip()
        held = await az.ask(f"role assignment list --assignee {az.names['principalID']} --all")
        if not held:
            await az(f"role assignment create --assignee {az.names['principalID']} --scope {az.names['baseregID']} "
                     "--role acrpull", answer="role_assignment")  # fmt: skip
        if abac:
            await az(f"role assignment create --assignee {az.names['principalID']} --scope {registry_id(registry)} "
                     "--role 'Container Registry Repository Writer' --query principalId",
                     answer="{principalID}")  # fmt: skip
        whose = az.names["clientID"] if self.user_assigned else "[system]"
        await az(f"acr task credential add {task} --login-server {BASE}.azurecr.io --use-identity {whose}",
                 answer="credential_hidden")  # fmt: skip

    async def rebuild(self, registry: str, expected: list[str], what: str) -> None:
        """Ask Groundswell for a rebuild over HTTP and report what it wrote for it, and how the run ended."""
        since = (await self.cloud.control("GET", "/journal?method=NONE"))["last"]
        status, _, answer = await self.az.world.api("POST", f"/api/registries/{registry}/runs")
        found = []
        if status != 202:
            found.append(f"answered {status}: {answer}")
        else:
            run = await self.ended(registry, answer["runId"])
            if run["status"] != "Succeeded":
                found.append(f"run {run['runId']} ended as {run['status']}")
        writes = await self.writes(since)
        if writes != expected:
            found.append(f"Groundswell wrote {writes or 'nothing'}, expected {expected or 'nothing'}")
        self.az.report.add(self.az.client, f"POST /api/registries/{registry}/runs: {what}", found)

    async def writes(self, since: int) -> list[str]:
        """Return the changes that Groundswell asked Resource Manager for since an entry of the journal."""
        path = f"/journal?since={since}&caller={APP}&host=management.azure.com"
        entries = (await self.cloud.control("GET", path))["entries"]
        return [
            f"{entry['method']} {entry['operation'].partition('/')[2]}" for entry in entries
            if entry["method"] != "GET" and not entry["operation"].lower().endswith(READS)
        ]  # fmt: skip

    async def ended(self, registry: str, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run and return its properties."""

        async def over() -> dict[str, Any]:
            run = next((run for run in await self.cloud.runs(registry) if run["runId"] == run_id), None)
            if run is None or "finishTime" not in run:
                raise NotYet(f"run {run_id} goes on")
            return run

        return await self.az.world.until(f"run {run_id} of {registry} to end", over, 30)


async def play(az: Az, option: Option) -> None:
    """Let each side work on what the other has made."""
    company = Company(az, option)
    await company.deploy()
    (az.folder / "verbatim.yaml").write_text(TASK_FILE)
    shutil.copy(ROOT / "policy" / "tasks" / "helloworldtask.yaml", az.folder / "policy.yaml")
    if company.user_assigned:
        await create_identity(az)
    await _accepted(company)
    await _verbatim(company)
    await _onboarded(company)


async def _accepted(company: Company) -> None:
    values = {"contextUrl": CONTEXT, "image": "hello-world", "registryName": f"{BASE}.azurecr.io",
              "baseRepository": REPOSITORY, "baseTag": TAG, "baseDigest": ""}  # fmt: skip
    options = "".join(f" --set {name}={value}" for name, value in values.items())
    await company.wire("wiredbyhand", "policy.yaml", f"--base-image-trigger-enabled false{options}")
    await company.rebuild("wiredbyhand", [], "what the CLI wired as the policy says needs no write")
    await company.rebuild("wiredbyhand", [], "nor does it later")
    await company.wire("wiredabac", "policy.yaml", f"--base-image-trigger-enabled false{options}", abac=True)
    await company.rebuild("wiredabac", [], "nor does a registry with ABAC")


async def _verbatim(company: Company) -> None:
    az, task = company.az, "--registry verbatim --name helloworldtask"
    await company.wire("verbatim", "verbatim.yaml")
    await az(f"acr task show {task} --query trigger.baseImageTrigger.status", answer="Enabled")
    await company.rebuild("verbatim", ["PUT registries/tasks/write"],
                          "what the CLI wired word by word needs one write, of the task")  # fmt: skip
    await az(f"acr task show {task} --query trigger", answer="")
    await company.rebuild("verbatim", [], "and none later")


async def _onboarded(company: Company) -> None:
    """Let a registry be onboarded by its event, rebuild it by a push, and look at it with the CLI."""
    az, world = company.az, company.az.world
    await deployment.subscribe(company.cloud, world.host)
    before = {
        registry: len(await company.cloud.runs(registry)) for registry in ("wiredbyhand", "wiredabac", "verbatim")
    }
    await az(f"acr create --resource-group myResourceGroup --name onboarded --sku Standard {SELECTED} --query name",
             answer="onboarded")  # fmt: skip

    async def first_run() -> str:
        runs = await company.cloud.runs("onboarded")
        if not runs:
            raise NotYet("no run")
        return str(runs[0]["runId"])

    found = []
    try:
        run_id = await world.until("onboarded to get its first run", first_run, 30)
        run = await company.ended("onboarded", run_id)
        if run["status"] != "Succeeded":
            found.append(f"its first run ended as {run['status']}")
    except Unexpected as unexpected:
        found.append(str(unexpected))
    az.report.add(az.client, "its event lets Groundswell onboard it and start its first run", found)
    await _shown(company, str(run_id))
    await company.cloud.push_base_image("patched")
    await _one_rebuild_each(company, {**before, "onboarded": 1})


async def _shown(company: Company, run_id: str) -> None:
    """Look at a registry that Groundswell has onboarded with every `show` and `list`."""
    az, task = company.az, "--registry onboarded --name helloworldtask"
    kind = "user" if company.user_assigned else "system"
    az.names["runID"] = run_id
    if company.user_assigned:
        await az("identity show --resource-group myResourceGroup --name myACRTasksId", answer="identity")
    else:
        query = f"acr task show {task} --query identity.principalId --output tsv"
        az.names["principalID"] = str(await az.ask(query)).strip()
    await az(f"acr task show {task}", answer=f"groundswell_{kind}_task")
    await az("acr task list --registry onboarded --output table", says=[r"^helloworldtask +Linux +Enabled *$"])
    await az(f"acr task identity show {task}", answer=f"identity_{kind}")
    await az(f"acr task credential list {task}", answer=f"credential_{kind}")
    await az(f"role assignment list --scope {az.names['baseregID']} --query "
             f"\"[?principalId=='{az.names['principalID']}']\"", answer="role_assignments")  # fmt: skip
    await az(f"acr task list-runs {task}", answer="groundswell_runs")
    await az(f"acr task logs --registry onboarded --run-id {run_id}", says=[r"Run ID: \w+ was successful after \d+s"])
    await az("acr repository show-tags --name onboarded --repository hello-world", answer=[run_id])


async def _one_rebuild_each(company: Company, before: dict[str, int]) -> None:
    """Expect exactly one run more in each registry, whoever wired it, after a push."""
    digest = base_image("patched").digest

    async def built() -> dict[str, int]:
        now = {registry: await company.cloud.runs(registry) for registry in before}
        if not all(runs[-1:] and "finishTime" in runs[-1] and len(runs) > before[name] for name, runs in now.items()):
            raise NotYet(f"runs: { {name: len(runs) for name, runs in now.items()} }")
        return {name: len(runs) for name, runs in now.items()}

    found = []
    try:
        await company.az.world.until("each registry to be rebuilt", built, 30)
        await company.cloud.control("GET", "/idle?timeout=10")
        counts = await built()
        found = [
            f"{name} had {counts[name] - count} runs" for name, count in before.items() if counts[name] != count + 1
        ]
    except Unexpected as unexpected:
        found = [str(unexpected)]
    what = f"a push of {BASE_IMAGE} ({digest[:19]}…) rebuilds all four registries once"
    company.az.report.add(company.az.client, what, found)

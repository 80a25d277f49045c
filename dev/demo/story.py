"""The scenario, step by step. What each step must lead to is checked in Azure, never in Groundswell's own words."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dev.demo import words
from dev.demo.timeline import Actor, Timeline
from dev.demo.watch import ENDED, Watch
from dev.sandbox import deployment
from dev.sandbox.cloud import BASE, BASE_IMAGE, OTHER, SUBSCRIPTION, TASK, TEAM, Refused, base_image, registry_id
from dev.sandbox.world import NotYet, Option, Unexpected, World

T = TypeVar("T")
Calls = list[dict[str, Any]]

# ACR's own words when the token exchange refuses the task's identity.
REFUSED = "failed to get ACR refresh token, exchange API response code: 401"
REGISTRY_PATH = f"/api/registries/{TEAM}"


@dataclass
class Result:
    """What an option's story leaves for the summary.

    Attributes:
        calls: The app's calls to Resource Manager, as journal entries.
        first: Those of them that onboarded the registry, and started and followed its first run.
        rebuild: Those of a later rebuild.
        seconds: How long the story took.
    """

    option: Option
    calls: Calls = field(default_factory=list)
    first: Calls = field(default_factory=list)
    rebuild: Calls = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Story:
    """Plays the scenario in one world."""

    def __init__(self, world: World, timeline: Timeline, *, shows_log: bool = True) -> None:
        """Play in a world that has just started."""
        self.shows_log = shows_log
        self.world, self.cloud, self.timeline = world, world.cloud, timeline
        self.watch = Watch(world, timeline)
        self.result = Result(world.option)
        self._system_assigned = world.option is Option.SYSTEM_ASSIGNED
        self.grant: dict[str, Any] = {}
        self._pushed = base_image("")
        self._step_began = 0

    async def play(self) -> Result:
        """Play all steps.

        Raises:
            Unexpected: One did not go as it should.
        """
        started = time.monotonic()
        await self.begin()
        await self.push_same_again()
        await self.push_patched()
        await self.delete_grant()
        await self.push_and_repair()
        await self.ask_over_http()
        await self.watch.settle()
        self.result.calls = list(self.watch.calls.values())
        self.result.seconds = time.monotonic() - started
        return self.result

    async def begin(self, port: int = 0) -> None:
        """Play the steps up to the first run, the host listening on a port (0: any)."""
        await self.deploy(port)
        await self.onboard()
        await self.push_first()

    # -- steps -----------------------------------------------------------------------------------------------------

    async def deploy(self, port: int) -> None:
        """Create the base registry and deploy Groundswell beside it."""
        self._step("Deploy Groundswell beside the base registry")
        self._you(f"create resource group myResourceGroup and base registry {BASE}")
        await deployment.create_base(self.cloud)
        self.world.app = await deployment.create_app(self.cloud)
        principal = self.world.app["principalId"]
        roles = await deployment.assign_roles(self.cloud, principal)
        self._you(f"give the app's identity its {len(roles)} roles (infra/app-roles.json)")
        await self.world.start_host(port)
        functions = await deployment.subscribe(self.cloud, self.world.host)
        self._you("start the app and subscribe it to events (infra/event-subscriptions.json)")
        await self._works("the app's roles", roles[-1]["properties"]["updatedOn"])
        path = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments"
        held = (await self.cloud.arm("GET", path, **{"$filter": f"principalId eq '{principal}'"}))["value"]
        self.check(len(held) == len(roles), f"the app has {len(held)} role assignments and no other right",
                   f"{len(roles)} role assignments of the app", str(len(held)))  # fmt: skip
        found = await deployment.subscribed(self.cloud)
        self.check(found == functions, f"events reach {' and '.join(found)}",
                   f"event subscriptions for {functions}", str(found))  # fmt: skip

    async def onboard(self) -> None:
        """Create one registry that opts in and one that does not."""
        self._step("Create two team registries; one opts in")
        self._you(f"create registry {TEAM} with the tag base-image-rebuilds=enabled")
        await deployment.create_registry(self.cloud, TEAM, {"base-image-rebuilds": "enabled"})
        self._you(f"create registry {OTHER} without it")
        await deployment.create_registry(self.cloud, OTHER)
        self.grant = await self.until(f"{TEAM} to be onboarded", self._onboarded)
        await self._logged("rebuild handled")
        await self._logged("event ignored")
        await self.watch.settle()
        identity = "its own" if self._system_assigned else "myACRTasksId"
        self._good(f"{TEAM} has its identity ({identity}), task, grant and credential")
        self.check(await self._task(OTHER) is None, f"{OTHER} has no task", f"no task in {OTHER}", "a task")
        runs = await self.cloud.runs()
        self.check(not runs, "no run so far", "no run", words.plural(len(runs), "run"))
        await self._works("the grant", self.grant["properties"]["updatedOn"])

    async def push_first(self) -> None:
        """Push the first base image."""
        self._step(f"Push {BASE_IMAGE} to {BASE}")
        run = await self._push_and_rebuild("1")
        self.result.first = list(self.watch.calls.values())
        await self._check_image(run)

    async def push_same_again(self) -> None:
        """Push the same image again: nothing may be built."""
        self._step("Push the very same image again: nothing to rebuild")
        before, calls = len(await self.cloud.runs()), self._writes()
        await self._push("1")
        await self._logged("event ignored", reason="already-asked-for")
        await self.watch.settle()
        runs, writes = len(await self.cloud.runs()) - before, self._writes() - calls
        self.check(not runs, "no run was started", "no run", words.plural(runs, "run"))
        self.check(not writes, "nothing was written", "no write by the app", words.plural(writes, "write"))

    async def push_patched(self) -> None:
        """Push a patched base image."""
        self._step("Push a patched image: one rebuild")
        known = set(self.watch.calls)
        run = await self._push_and_rebuild("2")
        self.result.rebuild = [entry for number, entry in self.watch.calls.items() if number not in known]
        await self._check_image(run)

    async def delete_grant(self) -> None:
        """Take the task's right to pull away and run the task by hand."""
        self._step("Delete the grant and run the task by hand: it fails")
        if self._system_assigned:
            self._you("let grants work at once from here on, as they often do in Azure")
            await self.cloud.set_grant_delay(0)
        self._you(f"az role assignment delete … --role acrpull --scope …/{BASE}")
        await self.cloud.arm("DELETE", self.grant["id"])
        removed = await self.cloud.now()
        grants = await self.cloud.grants()
        self.check(not grants, "the grant is gone", "no role assignment of the task", str(len(grants)))
        await self._ask_for_conditions({"grant": "False"}, "Groundswell sees it")
        await self._works("the removal", removed)
        self._you(f"az acr task run --registry {TEAM} --name {TASK}")
        body = {"type": "TaskRunRequest", "taskId": f"{registry_id(TEAM)}/tasks/{TASK}"}
        scheduled = await self.cloud.arm("POST", f"{registry_id(TEAM)}/scheduleRun", body)
        run = await self._ended(scheduled["properties"]["runId"])
        line = words.error_line(await self.cloud.run_log(run["runId"]))
        self.check(run["status"] == "Failed" and REFUSED in line, "it failed with ACR's own error message",
                   f"a failed run whose log says '{REFUSED}'", f"{run['status']}: {line}")  # fmt: skip

    async def push_and_repair(self) -> None:
        """Push once more: the event repairs what was broken."""
        self._step("Push another patch: its event repairs the grant and rebuilds")
        run = await self._push_and_rebuild("3", refusals=not self._system_assigned)
        grants = await self.cloud.grants()
        self.check(len(grants) == 1, "the grant is back", "one grant", str(len(grants)))
        await self._check_image(run)

    async def ask_over_http(self) -> None:
        """Ask for a run, its status, its log and the registry's conditions over HTTP."""
        self._step("Ask for a run over HTTP")
        path = f"{REGISTRY_PATH}/runs"
        status, headers, answer = await self._ask(
            "POST", path, f"KEY='x-functions-key: …'  APP={self.world.host['url']}"
        )
        location = headers.get("Location", "")
        self.check(status == 202 and location.startswith(path), f"202 Accepted, Location: {location}",
                   "202 with a Location", f"{status} {answer}")  # fmt: skip
        run = await self._ended(answer["runId"])
        await self._check_image(run)
        status, _, shown = await self._ask("GET", location)
        self.check(status == 200 and shown["status"] == run["status"] == "Succeeded", "200, status Succeeded",
                   f"200 with status {run['status']}, as in Azure", f"{status} {shown}")  # fmt: skip
        await self._ask_for_conditions({}, "200, all conditions hold")
        status, _, log = await self._ask("GET", f"{location}/logs")
        kept = await self.cloud.run_log(run["runId"])
        self.check(status == 200 and log == kept, "200, the log as ACR keeps it", kept, f"{status} {log}")
        if self.shows_log:
            self.timeline.quote([*words.trimmed(log), "(lines that tell least are left out)"])
        self.result.tags = await self.cloud.tags()
        good = [run["runId"] for run in await self.cloud.runs() if run["status"] == "Succeeded"]
        self.check(self.result.tags == good, f"{TEAM} has {' '.join(f'hello-world:{t}' for t in self.result.tags)}",
                   f"one tag of hello-world for each run that succeeded: {good}", str(self.result.tags))  # fmt: skip

    # -- parts of steps --------------------------------------------------------------------------------------------

    async def until(self, expected: str, check: Callable[[], Awaitable[T]], seconds: float = 30) -> T:
        """Wait for something while the timeline goes on; see `World.until`."""

        async def look_and_check() -> T:
            await self.watch.look()
            return await check()

        with self.timeline.waiting(expected):
            return await self.world.until(expected, look_and_check, seconds)

    def check(self, good: bool, text: str, expected: str, seen: str) -> None:
        """Say that something is as it should be.

        Raises:
            Unexpected: It is not.
        """
        if not good:
            raise Unexpected(expected, seen)
        self._good(text)

    def _good(self, text: str) -> None:
        self.timeline.say(Actor.CHECK, text, good=True)

    def _you(self, text: str) -> None:
        self.timeline.say(Actor.YOU, text)

    def _step(self, title: str) -> None:
        self.timeline.heading(title)
        self._step_began = len(self.watch.records)

    async def _push(self, text: str) -> None:
        self._pushed = base_image(text)
        self._you(f"docker push {BASE_IMAGE}   {words.short(self._pushed.digest)}")
        await self.cloud.push_base_image(text)

    async def _push_and_rebuild(self, text: str, *, refusals: bool = False) -> dict[str, Any]:
        """Push a base image, wait for its rebuild, and return the run.

        Args:
            refusals: Runs may fail before one succeeds, because the grant is new.
        """
        before = set(self.watch.runs)
        await self._push(text)

        async def rebuilt() -> dict[str, Any]:
            runs = [run for run in self.watch.runs.values() if run["runId"] not in before]
            states = [run["status"] for run in runs]
            if not refusals and (len(runs) > 1 or set(states) & (ENDED - {"Succeeded"})):
                raise Unexpected("one run that succeeds", ", ".join(states))
            if not runs or states[-1] != "Succeeded":
                raise NotYet(f"runs: {', '.join(states) or 'none'}")
            return runs[-1]

        run = await self.until(f"the rebuild of {TEAM}", rebuilt, 60)
        await self._logged("run ended", run_id=run["runId"])
        await self.watch.settle()
        return run

    async def _ended(self, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run and return it."""

        async def ended() -> dict[str, Any]:
            run = self.watch.runs.get(run_id, {"status": "no such run"})
            if run["status"] not in ENDED:
                raise NotYet(run["status"])
            return run

        run = await self.until(f"run {run_id} to end", ended)
        await self.watch.settle()
        return run

    async def _check_image(self, run: dict[str, Any]) -> None:
        """Check that a run's image is in the team registry and stands on the base image that was pushed last."""
        base = self._pushed.document["layers"][0]["digest"]
        layers = await self.cloud.layers("hello-world", run["runId"], TEAM)
        self.check(base in layers, f"hello-world:{run['runId']} is built on {words.short(self._pushed.digest)}",
                   f"an image with the base's layer {base}", f"layers {layers}")  # fmt: skip

    async def _works(self, what: str, written: str) -> None:
        """Wait until role assignments that were written, or removed, at a moment have taken effect."""

        async def effective() -> None:
            if not await self.cloud.effective(written):
                raise NotYet("not yet")

        await self.until(f"{what} to take effect", effective)
        if self.cloud.grant_delay:
            self._good(f"{what} took effect ({self.cloud.grant_delay:g} s here, up to ten minutes in Azure)")

    async def _logged(self, text: str, **fields: str) -> None:
        """Wait until Groundswell has logged something in this step, which tells when to look, not what there is."""

        async def logged() -> None:
            for record in self.watch.records[self._step_began :]:
                if record["message"].startswith(text) and fields.items() <= words.fields(record).items():
                    return
            raise NotYet("nothing")

        await self.until(f"Groundswell's log to say '{text}'", logged)

    def _writes(self) -> int:
        return sum(entry["method"] != "GET" for entry in self.watch.calls.values())

    async def _ask(self, method: str, path: str, detail: str = "") -> tuple[int, dict[str, str], Any]:
        """Call Groundswell's HTTP API as somebody with curl would."""
        options = "" if method == "GET" else f"-X {method} "
        self.timeline.say(Actor.YOU, f'curl {options}-H "x-functions-key: $KEY" $URL{path}', detail=detail)
        answer = await self.world.api(method, path)
        await self.watch.settle()
        return answer

    async def _ask_for_conditions(self, wanted: dict[str, str], text: str) -> None:
        """Ask for the team registry's conditions; all must be True but for the wanted ones."""
        status, _, answer = await self._ask("GET", REGISTRY_PATH)
        found: list[dict[str, str]] = answer["tasks"][0]["conditions"] if status == 200 else []
        states = {condition["type"]: condition["status"] for condition in found}
        expected = dict.fromkeys(("identity", "task", "grant", "credential", "network", "values"), "True") | wanted
        self.timeline.say(Actor.GROUNDSWELL, words.conditions(found))
        self.check(states == expected, text, f"200 with {expected}", f"{status} {answer}")

    async def _task(self, registry: str) -> dict[str, Any] | None:
        try:
            return await self.cloud.arm("POST", f"{registry_id(registry)}/tasks/{TASK}/listDetails")
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def _onboarded(self) -> dict[str, Any]:
        """Return the role assignment of the team registry's task, if its identity, task and credential are right."""
        task = await self._task(TEAM)
        if task is None:
            raise NotYet(f"{TEAM} has no task {TASK}")
        if self._system_assigned:
            principal, named = task["identity"]["principalId"], "[system]"
        else:
            user = next(iter(task["identity"]["userAssignedIdentities"].values()))
            principal, named = user["principalId"], user["clientId"]
        credentials = task["properties"]["credentials"]["customRegistries"]
        if credentials != {f"{BASE}.azurecr.io": {"identity": named}}:
            raise NotYet(f"the task's credentials are {credentials}")
        for grant in await self.cloud.grants():
            if grant["properties"]["principalId"] == principal:
                return grant
        raise NotYet(f"the task's identity has no AcrPull on {BASE}")

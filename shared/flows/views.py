"""What people look at over HTTP: a registry, a run, a log, what fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.adapters.arm import Arm
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Ledger, RunRecord
from shared.adapters.run_logs import RunLogs
from shared.domain.conditions import Condition
from shared.domain.echo import quoted
from shared.domain.errors import GroundswellError, NotFound, NotSelected, TemporaryError
from shared.domain.policy import Policy, Selection, TaskPolicy, broken_task, select
from shared.domain.redaction import redacted
from shared.domain.registries import Registry
from shared.domain.runs import Run
from shared.domain.targets import Target
from shared.flows import inputs, lookup
from shared.flows.onboarding import Onboarding
from shared.logs import Log

log = Log("views")

_MOST_RUNS = 10
_STATUSES = {True: "True", False: "False", None: "Unknown"}


@dataclass(frozen=True, kw_only=True)
class Views:
    """Shows the state of things."""

    policy: Callable[[], Policy]
    onboarding: Onboarding
    fleet: Fleet
    arm: Arm
    run_logs: RunLogs
    ledger: Ledger

    def problems(self) -> list[dict[str, str]]:
        """Return which parts of the fleet failed when they were last tried, why, and what becomes of their requests."""
        failing = [("subscription", name, error) for name, error in self.fleet.unread.items()]
        failing += [("task", task.name, broken_task(task)) for task in self.policy().broken]
        return [
            {part: name, "reason": str(error), "requests": "wait" if isinstance(error, TemporaryError) else "set aside"}
            for part, name, error in failing
        ]

    async def registry(self, name: str) -> dict[str, Any]:
        """Return a registry's conditions for each task that the policy gives it, and its latest runs.

        Raises:
            NotFound: No such registry.
            NotSelected: It is the base registry.
        """
        policy = self.policy()
        base, error = await self.fleet.base_or_why_not(policy)
        team = await lookup.registry_now(self.fleet, name)
        if team.name.lower() == policy.base_name.lower():
            raise NotSelected(f"{team.name} is the base registry: it has no tasks of Groundswell's.")
        tasks = [await self._task(policy, task, team, base) for task in policy.tasks]
        runs = await self.ledger.runs(team.name)
        return {
            "registry": team.name,
            "id": team.id,
            "loginServer": team.login_server,
            "baseRegistry": base.login_server if base else policy.base_name,
            **({"problems": [f"The base registry cannot be read. {error}"]} if error else {}),
            "tasks": tasks,
            "runs": [_shown(run) for run in reversed(runs[-_MOST_RUNS:])],
        }

    async def _task(self, policy: Policy, task: TaskPolicy, team: Registry, base: Registry | None) -> dict[str, Any]:
        selection = select(policy, task, team.name, team.tags)
        shown: dict[str, Any] = {"name": task.name, "selection": selection.value}
        if selection is Selection.NOT_SELECTED and (problem := policy.opt_problem(team.tags)):
            shown["problems"] = [problem]
        if selection not in (Selection.SELECTED, Selection.PAUSED):
            return shown
        values = policy.values(task, team.tags)
        conditions: tuple[Condition, ...] = ()
        unknown = [task.problem] if task.problem else []
        if base and not unknown:
            try:
                conditions = (await self.onboarding.observe(Target(policy, task, team, base))).conditions
            except GroundswellError as error:
                log.warning("conditions not read", registry=team.name, task=task.name, reason=error)
                unknown = [str(error)]
        return shown | {
            "ready": bool(conditions) and all(condition.ready is not False for condition in conditions),
            "conditions": [
                {"type": c.kind.value, "status": _STATUSES[c.ready], "reason": c.reason, "message": c.message}
                for c in conditions
            ],
            "values": dict(values.values),
            "problems": [*unknown, *values.problems],
        }

    async def run(self, name: str, run_id: str) -> Run:
        """Return a run.

        Raises:
            NotFound: No such registry or run.
        """
        return await self._run(await lookup.registry(self.fleet, name), run_id)

    async def run_log(self, name: str, run_id: str) -> str:
        """Return the log of a run so far, without credentials.

        Raises:
            NotFound: No such registry, run or log.
        """
        team = await lookup.registry(self.fleet, name)
        await self._run(team, run_id)
        return redacted(await self.run_logs.read(team.address, run_id))

    async def _run(self, team: Registry, run_id: str) -> Run:
        run = await self.arm.get_run(team.address, _checked(run_id))
        if run is None:
            raise NotFound(f"Registry {team.name} has no run {quoted(run_id)}.")
        return run


def _shown(run: RunRecord) -> dict[str, Any]:
    return {
        "runId": run.id, "task": run.task, "cause": run.cause, "baseImage": run.image,
        "scheduledAt": run.scheduled.isoformat() if run.scheduled else None,
        "status": run.status, "reason": run.reason,
    }  # fmt: skip


def _checked(run_id: str) -> str:
    if not inputs.part_of_path(run_id, "run").isalnum() or len(run_id) > 50:
        raise NotFound(f"{quoted(run_id)} is no run id: ACR's look like cf10.")
    return run_id

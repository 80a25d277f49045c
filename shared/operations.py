"""What people ask for over HTTP: start a run, start all, look at a registry, a run, a log."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared import fanout, images, onboarding, telemetry
from shared.arm import Run
from shared.errors import InvalidInput, NotFound, NotSelected
from shared.images import BaseImage
from shared.logs import Log
from shared.messages import (
    FAN_OUTS,
    REBUILD_REQUESTS,
    RUN_CHECKS,
    Cause,
    FanOut,
    Image,
    RebuildRequest,
    RunCheck,
    decode,
)
from shared.onboarding import Target
from shared.policy import Policy, Selection, select, values_for
from shared.rebuilds import count, find_task, run_target
from shared.registries import Registry
from shared.services import Services

log = Log("operations")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RunBody(_Body):
    """Body of `POST /api/registries/{registry}/runs`; all of it may be left out."""

    task: str = Field(default="", max_length=50)
    base_image: str = Field(default="", alias="baseImage", max_length=500)


class FleetBody(_Body):
    """Body of `POST /api/runs`; all of it may be left out."""

    base_image: str = Field(default="", alias="baseImage", max_length=500)


_AnyBody = TypeVar("_AnyBody", bound=_Body)


@dataclass(frozen=True)
class Started:
    """A run that somebody asked for."""

    registry: str
    task: str
    run_id: str
    writes: tuple[str, ...]


def _read(kind: type[_AnyBody], body: bytes) -> _AnyBody:
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{field or 'The body'}: {first['msg']}.", field) from error


def _image(services: Services, policy: Policy, base: Registry, text: str) -> BaseImage | None:
    if not text:
        return None
    names = (base.login_server, f"{policy.base_name.lower()}.{services.settings.registry_suffix}")
    return images.parse(text, login_servers=names)


async def _team(services: Services, name: str) -> Registry:
    return _known(services, name, await services.fleet.find(name))


async def _team_now(services: Services, name: str) -> Registry:
    """Return a registry with its tags of this moment."""
    return _known(services, name, await services.fleet.find_now(name))


def _known(services: Services, name: str, registry: Registry | None) -> Registry:
    if registry is None:
        raise NotFound(
            f"There is no registry {name!r} in the subscriptions that Groundswell watches "
            f"({', '.join(services.settings.subscriptions)}), or it may not read it."
        )
    return registry


@telemetry.traced("start_run")
async def start_run(services: Services, name: str, body: bytes, idempotency_key: str = "") -> Started:
    """Rebuild one registry now.

    Args:
        idempotency_key: Repeats with the same key get the run of the first.

    Raises:
        InvalidInput: The body is wrong.
        NotFound: No such registry, task or base image.
        NotSelected: The policy does not give the registry the task.
    """
    wanted = _read(RunBody, body)
    policy = services.policy
    base = await services.base_registry(policy)
    image = _image(services, policy, base, wanted.base_image)
    team = await _team_now(services, name)
    task = find_task(policy, team, wanted.task)
    if image and not task.builds_on(image):
        raise InvalidInput(f"Task {task.name} does not build on {image.name}: it builds on "
                           f"{', '.join(task.rebuild_on)}.", "baseImage")  # fmt: skip
    request = RebuildRequest(
        id=(idempotency_key or str(uuid.uuid4()))[:100],
        registry=team.id,
        task=task.name,
        cause=Cause.MANUAL,
        image=Image.of(image) if image else None,
        requested_at=services.now(),
    )
    telemetry.note(registry=team.name, task=task.name)
    telemetry.rebuild("requested", registry=team.name, task=task.name, cause=request.cause)
    outcome = await run_target(services, Target(policy, task, team, base), request)
    await services.ledger.request(team.name, request, outcome.decision, outcome.run_id, services.now())
    count(services, request, outcome)
    if not outcome.run_id:
        raise NotFound(f"No run was started: {outcome.reason}.")
    return Started(team.name, task.name, outcome.run_id, outcome.writes)


@telemetry.traced("start_fleet")
async def start_fleet(services: Services, body: bytes) -> tuple[str, int]:
    """Return the message that asks for a rebuild of every selected registry, and how many those are.

    Raises:
        InvalidInput: The body is wrong or the policy knows no such base image.
    """
    wanted = _read(FleetBody, body)
    policy = services.policy
    image = _image(services, policy, await services.base_registry(policy), wanted.base_image)
    if image and not policy.builds_on(image):
        raise InvalidInput(f"No task of the policy builds on {image.name}.", "baseImage")
    return await fanout.whole_fleet(services, image, f"fleet-{uuid.uuid4()}")


async def replay(services: Services) -> dict[str, int]:
    """Put what was set aside back into the queues, as if it had just been asked for."""

    async def rebuild(body: bytes) -> bool:
        try:
            request = decode(RebuildRequest, body)
        except InvalidInput:
            return False
        again = request.model_copy(
            update={"attempts": 0, "waited": 0, "requested_at": services.now(), "failing_since": None}
        )
        await services.queues.send(REBUILD_REQUESTS, again)
        return True

    async def check(body: bytes) -> bool:
        try:
            check = decode(RunCheck, body).model_copy(update={"failing_since": None})
            await services.queues.send(RUN_CHECKS, check)
        except InvalidInput:
            return False
        return True

    async def fan_out(body: bytes) -> bool:
        try:
            message = decode(FanOut, body)
        except InvalidInput:
            return False
        again = message.model_copy(update={"attempts": 0, "requested_at": services.now(), "failing_since": None})
        await services.queues.send(FAN_OUTS, again)
        return True

    replayed = kept = 0
    for queue, put_back in ((FAN_OUTS, fan_out), (REBUILD_REQUESTS, rebuild), (RUN_CHECKS, check)):
        taken, left = await services.queues.take_poisoned(queue, put_back)
        replayed, kept = replayed + taken, kept + left
    log.info("poisoned messages replayed", replayed=replayed, kept=kept)
    return {"replayed": replayed, "kept": kept}


async def watch(services: Services) -> None:
    """Measure the queues and how long ago something was pushed; warn of messages that were set aside."""
    for queue in (FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS):
        for name in (queue, f"{queue}-poison"):
            length = await services.queues.length(name)
            telemetry.queue_length(name, length)
            if length and name != queue:
                log.warning("messages wait for somebody to look at them", queue=name, messages=length)
    if (newest := await services.ledger.newest_push()) is not None:
        telemetry.push_age((services.now() - newest).total_seconds())


async def show_registry(services: Services, name: str) -> dict[str, Any]:
    """Return a registry's conditions for each task that the policy gives it.

    Raises:
        NotFound: No such registry.
        NotSelected: It is the base registry.
    """
    policy = services.policy
    base = await services.base_registry(policy)
    team = await _team_now(services, name)
    if team.id.lower() == base.id.lower():
        raise NotSelected(f"{team.name} is the base registry: it has no tasks of Groundswell's.")
    tasks = []
    for task in policy.tasks:
        selection = select(policy, task, team.name, team.tags)
        shown: dict[str, Any] = {"name": task.name, "selection": selection.value}
        if selection in (Selection.SELECTED, Selection.PAUSED):
            state = await onboarding.observe(services, Target(policy, task, team, base))
            values = values_for(task, team.tags)
            shown |= {
                "ready": all(condition.ready is not False for condition in state.conditions),
                "conditions": [
                    {"type": c.kind.value, "status": {True: "True", False: "False", None: "Unknown"}[c.ready],
                     "reason": c.reason, "message": c.message}
                    for c in state.conditions
                ],
                "values": dict(values.values),
                "problems": list(values.problems),
            }  # fmt: skip
        tasks.append(shown)
    rows = await services.ledger.rows(team.name)
    runs = sorted(
        (row for row in rows if row["RowKey"].startswith("run|")), key=lambda row: str(row.get("scheduledAt"))
    )
    return {
        "registry": team.name,
        "id": team.id,
        "loginServer": team.login_server,
        "baseRegistry": base.login_server,
        "tasks": tasks,
        "runs": [
            {
                "runId": row["RowKey"].removeprefix("run|"), "task": row.get("task"), "cause": row.get("cause"),
                "baseImage": row.get("image"), "scheduledAt": _stamp(row.get("scheduledAt")),
                "status": row.get("status") or "Scheduled", "reason": row.get("reason") or "",
            }
            for row in reversed(runs[-10:])
        ],
    }  # fmt: skip


def _stamp(moment: Any) -> str | None:
    return moment.isoformat() if moment else None


async def show_run(services: Services, name: str, run_id: str) -> Run:
    """Return a run.

    Raises:
        NotFound: No such registry or run.
    """
    team = await _team(services, name)
    run = await services.arm.get_run(team, _checked(run_id))
    if run is None:
        raise NotFound(f"Registry {team.name} has no run {run_id!r}.")
    return run


async def run_log(services: Services, name: str, run_id: str) -> str:
    """Return the log of a run so far.

    Raises:
        NotFound: No such registry, run or log.
    """
    await show_run(services, name, run_id)
    return await services.arm.log(await _team(services, name), run_id)


def _checked(run_id: str) -> str:
    if not run_id.isalnum() or not run_id.isascii() or len(run_id) > 50:
        raise NotFound(f"{run_id!r} is no run id: ACR's look like cf10.")
    return run_id

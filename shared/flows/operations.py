"""What people ask for over HTTP: start a run, start all, look at a registry, a run, a log."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from shared import telemetry
from shared.adapters.messages import (
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
from shared.domain import images
from shared.domain.conditions import Condition
from shared.domain.echo import quoted
from shared.domain.errors import (
    ConfigurationError,
    GroundswellError,
    InvalidInput,
    NotFound,
    NotSelected,
    PermanentError,
    TemporaryError,
    all_of,
)
from shared.domain.images import BaseImage
from shared.domain.policy import Policy, Selection, TaskPolicy, broken_task, select
from shared.domain.redaction import redacted
from shared.domain.registries import Registry
from shared.domain.runs import Run
from shared.flows import fanout, inputs, onboarding
from shared.flows.inputs import Body
from shared.flows.onboarding import Target
from shared.flows.rebuilds import count, find_task, run_target
from shared.logs import Log
from shared.services import Services

log = Log("operations")


class RunBody(Body):
    """Body of `POST /api/registries/{registry}/runs`; all of it may be left out, but nothing be empty."""

    task: str = Field(default="", min_length=1, max_length=50)
    base_image: str = Field(default="", alias="baseImage", min_length=1, max_length=500)


class FleetBody(Body):
    """Body of `POST /api/runs`: one of the two."""

    all: bool = False
    base_image: str = Field(default="", alias="baseImage", min_length=1, max_length=500)


class ReplayBody(Body):
    """Body of `POST /api/rebuilds/replay`: nothing can be asked for in particular."""


@dataclass(frozen=True)
class Started:
    """A run that somebody asked for."""

    registry: str
    task: str
    run_id: str
    writes: tuple[str, ...]


def _image(services: Services, policy: Policy, base: Registry | None, text: str) -> BaseImage | None:
    if not text:
        return None
    known = (base.login_server,) if base else ()
    names = (*known, f"{policy.base_name.lower()}.{services.settings.registry_suffix}")
    return images.parse(text, registry=policy.base_name, login_servers=names)


async def _base(services: Services, policy: Policy) -> tuple[Registry | None, GroundswellError | None]:
    """Return the base registry, or why it cannot be read: much can be done and shown without it.

    Raises:
        ConfigurationError: There is no such registry.
    """
    try:
        return await services.base_registry(policy), None
    except (PermanentError, TemporaryError) as error:
        return None, error


def problems(services: Services) -> list[dict[str, str]]:
    """Return which parts of the fleet failed when they were last tried, why, and what becomes of their requests."""
    failing = [("subscription", name, error) for name, error in services.fleet.unread.items()]
    failing += [("task", task.name, broken_task(task)) for task in services.policy.broken]
    return [
        {part: name, "reason": str(error), "requests": "wait" if isinstance(error, TemporaryError) else "set aside"}
        for part, name, error in failing
    ]


async def _team(services: Services, name: str) -> Registry:
    return _known(name, await services.fleet.find(inputs.part_of_path(name, "registry")))


async def _team_now(services: Services, name: str) -> Registry:
    """Return a registry with its tags of this moment."""
    return _known(name, await services.fleet.find_now(inputs.part_of_path(name, "registry")))


def _known(name: str, registry: Registry | None) -> Registry:
    if registry is None:
        raise NotFound(
            f"There is no registry {quoted(name)} in the subscriptions that Groundswell watches, or it may not read it."
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
    wanted, key = inputs.body(RunBody, body), inputs.idempotency_key(idempotency_key)
    policy = services.policy
    base = await services.base_registry(policy)
    image = _image(services, policy, base, wanted.base_image)
    team = await _team_now(services, name)
    task = find_task(policy, team, wanted.task, image)
    if task.problem:
        raise ConfigurationError(f"Task {task.name} cannot run until its file is mended: {task.problem}")
    target = Target(policy, task, team, base)
    if target.refusal:
        raise NotSelected(f"Nothing is run for {team.name} until its tags are mended: {target.refusal}.")
    request = RebuildRequest(
        id=key or str(uuid.uuid4()),
        registry=team.id,
        task=task.name,
        cause=Cause.MANUAL,
        image=Image.of(image) if image else None,
        requested_at=services.now(),
    )
    telemetry.note(registry=team.name, task=task.name)
    telemetry.rebuild("requested", registry=team.name, task=task.name, cause=request.cause)
    outcome = await run_target(services, target, request)
    try:
        await services.ledger.request(team.name, request, outcome.decision, outcome.run_id, services.now())
    except GroundswellError as error:
        # Whoever asked must hear of the run all the same, or would ask for another.
        log.warning("request not recorded", registry=team.name, run_id=outcome.run_id, reason=error)
    count(services, request, outcome)
    log.info(
        "run asked for", request_id=request.id, registry=team.name, task=task.name, image=image,
        decision=outcome.decision, reason=outcome.reason, run_id=outcome.run_id,
    )  # fmt: skip
    if not outcome.run_id:
        raise NotFound(f"No run was started: {outcome.reason}.")
    return Started(team.name, task.name, outcome.run_id, outcome.writes)


@telemetry.traced("start_fleet")
async def start_fleet(services: Services, body: bytes) -> tuple[str, int]:
    """Return the message that asks for a rebuild of every selected registry, and how many those are.

    Raises:
        InvalidInput: The body is wrong or the policy knows no such base image.
    """
    wanted = inputs.body(FleetBody, body)
    if wanted.all == bool(wanted.base_image):
        raise InvalidInput(
            'Say what to rebuild: {"baseImage": "repository:tag"} for what builds on it, or {"all": true}.'
        )
    policy = services.policy
    base, _ = await _base(services, policy)
    image = _image(services, policy, base, wanted.base_image)
    if image and not policy.builds_on(image):
        raise InvalidInput(f"No task of the policy builds on {image.name}.", "baseImage")
    return await fanout.whole_fleet(services, image, f"fleet-{uuid.uuid4()}")


async def replay(services: Services, body: bytes = b"") -> dict[str, int]:
    """Put what was set aside back into the queues, as if it had just been asked for.

    Raises:
        InvalidInput: The body asks for something in particular.
    """
    inputs.body(ReplayBody, body)

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
    failed: dict[str, GroundswellError] = {}
    for queue, put_back in ((FAN_OUTS, fan_out), (REBUILD_REQUESTS, rebuild), (RUN_CHECKS, check)):
        with _apart(failed, "queue", queue):
            taken, left = await services.queues.take_poisoned(queue, put_back)
            replayed, kept = replayed + taken, kept + left
    log.info("poisoned messages replayed", replayed=replayed, kept=kept)
    if failed and not replayed:
        raise all_of("Nothing was put back.", failed)
    return {"replayed": replayed, "kept": kept}


@contextmanager
def _apart(failed: dict[str, GroundswellError], part: str, name: str) -> Iterator[None]:
    """Do something for one part of the whole; should it fail, note it and let the others go on."""
    try:
        yield
    except GroundswellError as error:
        failed[name] = error
        telemetry.part_failed(part, name, error)
        log.error(f"{part} fails", **{part: name}, reason=error)


@telemetry.traced("queues_watched")
async def watch(services: Services) -> None:
    """Measure what there is while nothing happens, and look whether every part of the fleet works.

    Raises:
        GroundswellError: A queue, the ledger or the policy cannot be read; everything else was looked at.
    """
    failed: dict[str, GroundswellError] = {}
    for queue in (FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS):
        for name in (queue, f"{queue}-poison"):
            with _apart(failed, "queue", name):
                length = await services.queues.length(name)
                telemetry.queue_length(name, length)
                if length and name != queue:
                    log.warning("messages wait for somebody to look at them", queue=name, messages=length)
    with _apart(failed, "ledger", services.settings.ledger_table):
        if (newest := await services.ledger.newest_push()) is not None:
            telemetry.push_age((services.now() - newest).total_seconds())
    await services.fleet.listing()  # counts and logs each subscription that fails
    with _apart(failed, "policy", str(services.settings.policy)):
        for task in services.policy.broken:
            telemetry.part_failed("task", task.name, broken_task(task))
            log.error("task is broken", task=task.name, reason=task.problem)
        _, error = await _base(services, services.policy)
        if error:
            telemetry.part_failed("base-registry", services.policy.base_name, error)
            log.error("base registry cannot be read", registry=services.policy.base_name, reason=error)
    if failed:
        raise all_of("Not everything could be watched.", failed)


async def show_registry(services: Services, name: str) -> dict[str, Any]:
    """Return a registry's conditions for each task that the policy gives it.

    Raises:
        NotFound: No such registry.
        NotSelected: It is the base registry.
    """
    policy = services.policy
    base, error = await _base(services, policy)
    team = await _team_now(services, name)
    if team.name.lower() == policy.base_name.lower():
        raise NotSelected(f"{team.name} is the base registry: it has no tasks of Groundswell's.")
    tasks = [await _show_task(services, policy, task, team, base) for task in policy.tasks]
    rows = await services.ledger.rows(team.name)
    runs = sorted(
        (row for row in rows if row["RowKey"].startswith("run|")), key=lambda row: str(row.get("scheduledAt"))
    )
    return {
        "registry": team.name,
        "id": team.id,
        "loginServer": team.login_server,
        "baseRegistry": base.login_server if base else policy.base_name,
        **({"problems": [f"The base registry cannot be read. {error}"]} if error else {}),
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


async def _show_task(
    services: Services, policy: Policy, task: TaskPolicy, team: Registry, base: Registry | None
) -> dict[str, Any]:
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
            conditions = (await onboarding.observe(services, Target(policy, task, team, base))).conditions
        except GroundswellError as error:
            log.warning("conditions not read", registry=team.name, task=task.name, reason=error)
            unknown = [str(error)]
    return shown | {
        "ready": bool(conditions) and all(condition.ready is not False for condition in conditions),
        "conditions": [
            {"type": c.kind.value, "status": {True: "True", False: "False", None: "Unknown"}[c.ready],
             "reason": c.reason, "message": c.message}
            for c in conditions
        ],
        "values": dict(values.values),
        "problems": [*unknown, *values.problems],
    }  # fmt: skip


def _stamp(moment: Any) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else None


async def show_run(services: Services, name: str, run_id: str) -> Run:
    """Return a run.

    Raises:
        NotFound: No such registry or run.
    """
    team = await _team(services, name)
    run = await services.arm.get_run(team.address, _checked(run_id))
    if run is None:
        raise NotFound(f"Registry {team.name} has no run {quoted(run_id)}.")
    return run


async def run_log(services: Services, name: str, run_id: str) -> str:
    """Return the log of a run so far.

    Raises:
        NotFound: No such registry, run or log.
    """
    await show_run(services, name, run_id)
    team = await _team(services, name)
    return redacted(await services.run_logs.read(team.address, run_id))


def _checked(run_id: str) -> str:
    if not inputs.part_of_path(run_id, "run").isalnum() or len(run_id) > 50:
        raise NotFound(f"{quoted(run_id)} is no run id: ACR's look like cf10.")
    return run_id

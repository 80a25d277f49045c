"""What people start over HTTP: a run of one registry, or the rebuild of all."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field

from shared import telemetry
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Ledger
from shared.adapters.messages import Cause, Image, RebuildRequest
from shared.domain import images
from shared.domain.echo import quoted
from shared.domain.errors import ConfigurationError, GroundswellError, InvalidInput, NotFound, NotSelected
from shared.domain.images import BaseImage
from shared.domain.moments import Clock
from shared.domain.policy import Policy, Selection, TaskPolicy, select
from shared.domain.registries import Registry
from shared.domain.targets import Target
from shared.flows import inputs, lookup
from shared.flows.fanout import FanOuts
from shared.flows.inputs import Body
from shared.flows.rebuilds import Rebuilds
from shared.logs import Log

log = Log("starts")


class RunBody(Body):
    """Body of `POST /api/registries/{registry}/runs`; all of it may be left out, but nothing be empty."""

    task: str = Field(default="", min_length=1, max_length=50)
    base_image: str = Field(default="", alias="baseImage", min_length=1, max_length=500)


class FleetBody(Body):
    """Body of `POST /api/runs`: one of the two."""

    all: bool = False
    base_image: str = Field(default="", alias="baseImage", min_length=1, max_length=500)


@dataclass(frozen=True)
class Started:
    """A run that somebody asked for.

    Attributes:
        writes: What had to be written before it.
    """

    registry: str
    task: str
    run_id: str
    writes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Starts what people ask for."""

    policy: Callable[[], Policy]
    fleet: Fleet
    rebuilds: Rebuilds
    fan_outs: FanOuts
    ledger: Ledger
    clock: Clock
    registry_suffix: str

    @telemetry.traced("start_run")
    async def start_run(self, name: str, body: bytes, idempotency_key: str = "") -> Started:
        """Rebuild one registry now.

        Args:
            idempotency_key: Repeats with the same key get the run of the first.

        Raises:
            InvalidInput: The body is wrong.
            NotFound: No such registry, task or base image.
            NotSelected: The policy does not give the registry the task.
        """
        wanted, key = inputs.body(RunBody, body), inputs.idempotency_key(idempotency_key)
        policy = self.policy()
        base = await self.fleet.base(policy)
        image = self._image(policy, base, wanted.base_image)
        team = await lookup.registry_now(self.fleet, name)
        task = find_task(policy, team, wanted.task, image)
        if task.problem:
            raise ConfigurationError(f"Task {task.name} cannot run until its file is fixed: {task.problem}")
        target = Target(policy, task, team, base)
        if target.refusal:
            raise NotSelected(f"Nothing is run for {team.name} until its tags are fixed: {target.refusal}.")
        request = RebuildRequest(
            id=key or str(uuid.uuid4()),
            registry=team.id,
            task=task.name,
            cause=Cause.MANUAL,
            image=Image.of(image) if image else None,
            requested_at=self.clock(),
        )
        telemetry.note(registry=team.name, task=task.name)
        telemetry.rebuild("requested", registry=team.name, task=task.name, cause=request.cause)
        outcome = await self.rebuilds.run_target(target, request)
        try:
            await self.ledger.request(team.name, request, outcome.decision, outcome.run_id, self.clock())
        except GroundswellError as error:
            # Whoever asked must hear of the run all the same, or would ask for another.
            log.warning("request not recorded", registry=team.name, run_id=outcome.run_id, reason=error)
        self.rebuilds.count(request, outcome)
        log.info(
            "run asked for", request_id=request.id, registry=team.name, task=task.name, image=image,
            decision=outcome.decision, reason=outcome.reason, run_id=outcome.run_id,
        )  # fmt: skip
        if not outcome.run_id:
            raise NotFound(f"No run was started: {outcome.reason}.")
        return Started(team.name, task.name, outcome.run_id, outcome.writes)

    @telemetry.traced("start_fleet")
    async def start_fleet(self, body: bytes) -> tuple[str, int]:
        """Return the message that asks for a rebuild of every selected registry, and how many those are.

        Raises:
            InvalidInput: The body is wrong or the policy knows no such base image.
        """
        wanted = inputs.body(FleetBody, body)
        if wanted.all == bool(wanted.base_image):
            raise InvalidInput(
                'Say what to rebuild: {"baseImage": "repository:tag"} for what builds on it, or {"all": true}.'
            )
        policy = self.policy()
        base, _ = await self.fleet.base_or_why_not(policy)
        image = self._image(policy, base, wanted.base_image)
        if image and not policy.builds_on(image):
            raise InvalidInput(f"No task of the policy builds on {image.name}.", "baseImage")
        return await self.fan_outs.whole_fleet(image, f"fleet-{uuid.uuid4()}")

    def _image(self, policy: Policy, base: Registry | None, text: str) -> BaseImage | None:
        """Read the base image that a caller names; one without a name is none."""
        if not text:
            return None
        known = (base.login_server,) if base else ()
        names = (*known, f"{policy.base_name.lower()}.{self.registry_suffix}")
        return images.parse(text, registry=policy.base_name, login_servers=names)


def find_task(policy: Policy, team: Registry, name: str, image: BaseImage | None = None) -> TaskPolicy:
    """Return the task that a manual run of a registry means: the one with this name, or that builds on this image.

    Without either it is the first that the policy gives the registry.

    Raises:
        NotFound: The policy has no such task.
        NotSelected: The policy gives the registry no task, or not this one.
        InvalidInput: None of them builds on the image, or several do.
    """
    wanted = [policy.task(name)] if name else list(policy.tasks)
    tasks = [task for task in wanted if task]
    if not tasks:
        known = ", ".join(task.name for task in policy.tasks)
        raise NotFound(f"The policy has no task {quoted(name)}; it has {known}.")
    selections = {task.name: select(policy, task, team.name, team.tags) for task in tasks}
    selected = [task for task in tasks if selections[task.name] is Selection.SELECTED]
    if not selected:
        raise NotSelected(_why_not(policy, team, tasks[0], selections[tasks[0].name]))
    if image is None:
        return selected[0]
    builders = [task for task in selected if task.builds_on(image)]
    if not builders:
        builds = ", ".join(_builds(task) for task in selected)
        if len(selected) == 1:
            text = f"Task {selected[0].name} does not build on {image.name}: it builds on {builds}."
        else:
            text = f"No task of {team.name} builds on {image.name}: they build on {builds}."
        raise InvalidInput(text, "baseImage")
    if len(builders) > 1:
        names = ", ".join(task.name for task in builders)
        raise InvalidInput(f"Several tasks of {team.name} build on {image.name}: name one of {names} as task.", "task")
    return builders[0]


def _builds(task: TaskPolicy) -> str:
    without = f" without {', '.join(map(str, task.exclude))}" if task.exclude else ""
    return f"{', '.join(map(str, task.rebuild_on))}{without}"


def _why_not(policy: Policy, team: Registry, task: TaskPolicy, selection: Selection) -> str:
    if selection is Selection.IS_BASE:
        return f"{team.name} is the base registry: only team registries are rebuilt."
    if selection is Selection.PAUSED:
        return f"{team.name} is paused by its tag base-image-rebuilds=paused: set it to enabled to go on."
    if selection is Selection.OPTED_OUT:
        return f"{team.name} has opted out by its tag base-image-rebuilds=disabled."
    if problem := policy.opt_problem(team.tags):
        return f"{team.name} is not selected: {problem}."
    tags = " and ".join(f"{key}={value}" for key, value in task.registries.tags.items())
    return f"The policy does not give {team.name} the task {task.name}: set the tag {tags} on the registry."

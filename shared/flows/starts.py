"""What people start over HTTP: a run of one registry, or the rebuild of all."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from shared import telemetry
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Ledger
from shared.adapters.messages import Cause, Image, RebuildRequest
from shared.domain.choosing import find_task
from shared.domain.errors import ConfigurationError, GroundswellError, InvalidInput, NotFound, NotSelected
from shared.domain.moments import Clock
from shared.domain.policy import Policy
from shared.domain.targets import Target
from shared.flows import inputs, lookup
from shared.flows.fanout import FanOuts
from shared.flows.rebuilds import Rebuilds
from shared.logs import Log

log = Log("starts")


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
        wanted, key = inputs.body(inputs.RunBody, body), inputs.idempotency_key(idempotency_key)
        policy = self.policy()
        base = await self.fleet.base(policy)
        image = inputs.base_image(wanted.base_image, policy, base, self.registry_suffix)
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
        wanted = inputs.fleet_body(body)
        policy = self.policy()
        base, _ = await self.fleet.base_or_why_not(policy)
        image = inputs.base_image(wanted.base_image, policy, base, self.registry_suffix)
        if image and not policy.builds_on(image):
            raise InvalidInput(f"No task of the policy builds on {image.name}.", "baseImage")
        return await self.fan_outs.whole_fleet(image, f"fleet-{uuid.uuid4()}")

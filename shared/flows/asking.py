"""What people ask for over HTTP: a run of one registry, or of all."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from shared import telemetry
from shared.adapters.fleet import Fleet
from shared.adapters.registry_images import RegistryImages
from shared.adapters.walk_messages import Ask, Call
from shared.domain.choosing import find_task
from shared.domain.errors import ConfigurationError, InvalidInput, NotFound, NotSelected, all_of
from shared.domain.images import BaseImage
from shared.domain.policy import Policy, Selection
from shared.domain.registries import Registry
from shared.domain.state.known import Asked, Known, asked
from shared.domain.targets import Target
from shared.flows import inputs, lookup
from shared.flows.visiting import Visiting
from shared.logs import Log

log = Log("asking")


@dataclass(frozen=True)
class Started:
    """A run that somebody asked for.

    Attributes:
        run_id: Its id, or "" while it waits.
        waits_for: The run that it waits for, or "".
    """

    registry: str
    task: str
    run_id: str
    waits_for: str = ""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Starts what people ask for."""

    policy: Callable[[], Policy]
    fleet: Fleet
    images: RegistryImages
    visiting: Visiting
    registry_suffix: str

    @telemetry.traced("start_run")
    async def start_run(self, name: str, body: bytes, idempotency_key: str = "") -> Started:
        """Rebuild one registry now.

        Args:
            idempotency_key: Repeats with the same key get the run of the first.

        Raises:
            InvalidInput: The body is wrong, or the base image has another digest.
            NotFound: No such registry, task or base image.
            NotSelected: The policy does not give the registry the task.
        """
        sent, key = inputs.body(inputs.RunBody, body), inputs.idempotency_key(idempotency_key)
        policy = self.policy()
        base = await self.fleet.base(policy)
        image = inputs.base_image(sent.base_image, policy, base, self.registry_suffix)
        team = await lookup.registry_now(self.fleet, name)
        task = find_task(policy, team, sent.task, image)
        if task.problem:
            raise ConfigurationError(f"Task {task.name} cannot run until its file is fixed: {task.problem}")
        target = Target(policy, task, team, base)
        if target.refusal:
            raise NotSelected(f"Nothing is run for {team.name} until its tags are fixed: {target.refusal}.")
        await self._check(base, image)
        telemetry.note(registry=team.name, task=task.name)
        request = key or str(uuid.uuid4())

        def ask(known: Known) -> Known:
            is_repeated = any(run.request == request for run in known.runs)
            return known if is_repeated else asked(known, Asked(request, "key", image.name if image else ""))

        visited = await self.visiting.visit(target, ask)
        run = next((run for run in reversed(visited.known.runs) if run.request == request), None)
        if run is None and visited.errors:
            raise visited.errors[0]
        if run is None and not visited.known.run:
            raise NotFound(f"No run was started: no base image of task {task.name} was ever pushed to {base.name}.")
        waits_for = visited.known.run.id if run is None and visited.known.run else ""
        log.info("run asked for", request_id=request, registry=team.name, task=task.name, image=image,
                 run_id=run.id if run else "", waits_for=waits_for)  # fmt: skip
        return Started(team.name, task.name, run.id if run else "", waits_for)

    @telemetry.traced("start_fleet")
    async def start_fleet(self, body: bytes) -> tuple[str, int]:
        """Return the message that asks for a run of every selected target, and how many those are.

        Raises:
            InvalidInput: The body is wrong or the policy knows no such base image.
        """
        sent = inputs.fleet_body(body)
        policy = self.policy()
        base, _ = await self.fleet.base_or_why_not(policy)
        image = inputs.base_image(sent.base_image, policy, base, self.registry_suffix)
        if image and not policy.builds_on(image):
            raise InvalidInput(f"No task of the policy builds on {image.name}.", "baseImage")
        if base:
            await self._check(base, image)
        listing = await self.fleet.listing(max_age=0)
        if not listing.read:
            raise all_of("No subscription could be read.", listing.unread)
        tasks = [task for task in (policy.builds_on(image) if image else policy.tasks) if not task.problem]
        count = sum(
            Target(policy, task, team, base or team).selection is Selection.SELECTED
            for team in listing.registries
            for task in tasks
        )
        ask = Ask(id=f"fleet-{uuid.uuid4()}", by="key", image=image.name if image else "")
        log.info("fleet rebuild asked for", event_id=ask.id, image=image, requests=count)
        return Call(ask=ask).encode().decode(), count

    async def _check(self, base: Registry, image: BaseImage | None) -> None:
        """See to it that a base image that a person names is what its tag points to: a run would pull that."""
        if image is None:
            return
        tag = await self.images.tag(base, image)
        if tag is None:
            raise NotFound(f"{image.name} does not exist in {base.name}: push it first.")
        if image.digest and tag.image.digest != image.digest:
            raise InvalidInput(
                f"{image.name} is {tag.image.digest} now, and a run builds on that: leave the digest out, or push the "
                "content that you mean under this tag first.", "baseImage",
            )  # fmt: skip

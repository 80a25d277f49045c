"""A rebuild: bring the registry to its desired state, then schedule its run, once for each base content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.cache import Cache
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Build, Busy, Claim, Ledger, Scheduled
from shared.adapters.messages import REBUILD_REQUESTS, RUN_CHECKS, Cause, Image, RebuildRequest, RunCheck
from shared.adapters.queues import Queues
from shared.adapters.registry_images import RegistryImages
from shared.domain import desired
from shared.domain.errors import GroundswellError, NotFound, PermanentError, TemporaryError
from shared.domain.images import BaseImage, is_digest
from shared.domain.moments import Clock
from shared.domain.pacing import OutOfBudget, Pacer
from shared.domain.policy import Policy, Selection, broken_task, select
from shared.domain.registries import RegistryId
from shared.domain.retries import next_delay
from shared.domain.targets import Target
from shared.flows.onboarding import Applied, Onboarding
from shared.logs import Log
from shared.together import both

log = Log("rebuilds")

# Clocks of the ledger's writer and of ACR differ a little.
_CLOCK_SKEW = timedelta(minutes=2)

_LOOKS = 4
"""How often a base registry that does not answer is asked what a tag points to, before a run is started without."""

_NEWEST_SECONDS = 2.0
"""How old what is known of the newest push may be."""

REGISTRY_GONE = "the registry does not exist any more"

_FULL_COST = 4
"""Writes that onboarding can take: identity, grant, task and the run."""


class Decision(StrEnum):
    """What became of a request."""

    SCHEDULED = "scheduled"
    ADOPTED = "adopted-orphan-run"
    ALREADY_SCHEDULED = "already-scheduled"
    NO_IMAGE = "no-base-image-yet"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
        reason: Why, in a word or a sentence; "" if there is nothing to add.
        writes: What had to be written to bring the registry to its desired state.
    """

    decision: Decision
    reason: str = ""
    run_id: str = ""
    writes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rebuilds:
    """Handles rebuild requests."""

    policy: Callable[[], Policy]
    onboarding: Onboarding
    fleet: Fleet
    arm: Arm
    images: RegistryImages
    ledger: Ledger
    queues: Queues
    pacer: Pacer
    clock: Clock
    subscriptions: tuple[str, ...]
    settling: timedelta
    follow_runs: Literal["all", "changed"]
    run_check_seconds: float
    _newest: Cache[tuple[str, datetime] | None] = field(default_factory=lambda: Cache(_NEWEST_SECONDS), init=False)

    async def rebuild(self, request: RebuildRequest) -> Outcome:
        """Handle a rebuild request and record what became of it.

        Raises:
            PermanentError: It cannot be done; the text says what to do.
            TemporaryError: It can be done later.
            ConfigurationError: The policy or a setting is broken.
        """
        name = RegistryId.parse(request.registry).name
        try:
            outcome = await self._rebuild(request)
        except OutOfBudget:
            raise
        except GroundswellError as error:
            await self.ledger.request(name, request, type(error).__name__, str(error), self.clock())
            raise
        await self.ledger.request(name, request, outcome.decision, outcome.reason or outcome.run_id, self.clock())
        self.count(request, outcome)
        log.info(
            "rebuild handled", event_id=request.event_id, registry=name, task=request.task, cause=request.cause,
            decision=outcome.decision, reason=outcome.reason, run_id=outcome.run_id,
        )  # fmt: skip
        return outcome

    def count(self, request: RebuildRequest, outcome: Outcome) -> None:
        """Count what became of a request."""
        started = outcome.decision in (Decision.SCHEDULED, Decision.ADOPTED)
        telemetry.rebuild("scheduled" if started else "settled", registry=request.registry, task=request.task,
                          cause=request.cause)  # fmt: skip
        telemetry.note(decision=outcome.decision, run_id=outcome.run_id)
        if started and request.pushed_at and request.cause is Cause.BASE_IMAGE_PUSHED:
            telemetry.push_to_run((self.clock() - request.pushed_at).total_seconds(), request.task)

    async def _rebuild(self, request: RebuildRequest) -> Outcome:
        policy = self.policy()
        task = policy.task(request.task)
        if task is None:
            return Outcome(Decision.SKIPPED, f"the policy has no task {request.task} any more")
        if task.problem:
            raise broken_task(task)
        subscription = RegistryId.parse(request.registry).subscription.lower()
        if subscription not in {known.lower() for known in self.subscriptions}:
            return Outcome(Decision.SKIPPED, f"subscription {subscription} is not in GROUNDSWELL_SUBSCRIPTIONS")
        team = await self.fleet.find(request.registry)
        selected = team and select(policy, task, team.name, team.tags) is Selection.SELECTED
        accepted = team and not policy.values(task, team.tags).problems
        if team and not (selected and accepted and request.created in ("", team.created)):
            # Opted in, mended, or made anew under its old name, after the fleet was listed?
            team = await self.fleet.find(request.registry, fresh=True)
        if team is None:
            return Outcome(Decision.SKIPPED, REGISTRY_GONE)
        selection = select(policy, task, team.name, team.tags)
        if selection is not Selection.SELECTED:
            return Outcome(Decision.SKIPPED, f"the policy says {selection}")
        target = Target(policy, task, team, await self.fleet.base(policy))
        if target.refusal:
            return Outcome(Decision.SKIPPED, f"values are refused: {target.refusal}")
        try:
            return await self.run_target(target, request)
        except PermanentError:
            # It may have been deleted since it was listed.
            if await self.fleet.find(request.registry, fresh=True):
                raise
            return Outcome(Decision.SKIPPED, REGISTRY_GONE)

    async def run_target(self, target: Target, request: RebuildRequest) -> Outcome:
        """Bring a target to its desired state and schedule the run that a request asks for."""
        image = request.image.to_domain() if request.image else None
        if request.cause is Cause.BASE_IMAGE_PUSHED:
            # Most repeats of an event end here, without a call to Resource Manager.
            run_id = await self.ledger.scheduled_run(_build(target, request, image))
            if run_id:
                return Outcome(Decision.ALREADY_SCHEDULED, run_id=run_id)
            # A claim of it must be settled: somebody may have scheduled its run without recording it.
            if run_id is None and image and await self._is_superseded(image, request.pushed_at):
                return Outcome(Decision.SUPERSEDED, f"something newer was pushed as {image.name}")
        repeated = request.cause is Cause.RETRY
        if image and await self._repeats_what_is_superseded(request, image):
            # What is newer has a run of its own. Should this content come back, it is still to be built.
            await self.ledger.reopen(_build(target, request, image), request.replaces)
            return Outcome(Decision.SUPERSEDED, f"something newer was pushed as {image.name}")
        applied = None if repeated else await self.onboarding.settled(target)
        if request.cause is Cause.MANUAL and not request.event_id:
            # Somebody waits for it.
            return await self._apply(target, request, image, applied)
        with self.pacer.permit(target.team.subscription, 1 if applied else _FULL_COST, has_turn=request.has_turn):
            return await self._apply(target, request, image, applied)

    async def _repeats_what_is_superseded(self, request: RebuildRequest, image: BaseImage) -> bool:
        if request.cause is not Cause.RETRY or not is_digest(request.build):
            return False
        # If no push asked for the failed run, its content is what the tag pointed to when it was started.
        return await self._is_superseded(image, request.pushed_at or request.refused_since)

    async def _is_superseded(self, image: BaseImage, pushed_at: datetime | None) -> bool:
        newest = await self._newest.get(image.name, lambda: self.ledger.newest(image))
        if newest is None or pushed_at is None or newest[0] == image.digest or newest[1] <= pushed_at:
            return False
        # Another tag may still stand for it, whose own event asked for nothing since this one did.
        return not await self.ledger.is_current(image.digest)

    async def _apply(
        self, target: Target, request: RebuildRequest, image: BaseImage | None, as_is: Applied | None
    ) -> Outcome:
        async def desired_state() -> Applied:
            fresh = request.cause is Cause.RETRY
            return as_is or await self.onboarding.ensure(target, newborn=request.newborn, fresh=fresh)

        # Registry and base image are looked at side by side: somebody may be waiting.
        applied, (image, found) = await both(desired_state(), self._resolve(target, request, image))
        if not found:
            if request.cause is Cause.MANUAL:
                raise NotFound(
                    f"{image.name if image else 'The base image'} does not exist in {target.base.name}: push it first."
                )
            text = (
                f"{image.name} was never pushed; its first push starts the run" if image else "only globs to build on"
            )
            return Outcome(Decision.NO_IMAGE, text, writes=applied.writes)
        build = _build(target, request, image)
        now = self.clock()
        claim = await self.ledger.claim(build, now, replaces=request.replaces)
        while isinstance(claim, Claim) and claim.build.key != build.key:
            await self._settle(target, request, claim)
            claim = await self.ledger.claim(build, now, replaces=request.replaces)
        if isinstance(claim, Scheduled):
            return Outcome(Decision.ALREADY_SCHEDULED, run_id=claim.run_id, writes=applied.writes)
        if isinstance(claim, Busy):
            # Most often the other worker is done in a moment; if it died, its claim runs out.
            wait = max(1.0, min((claim.until - now).total_seconds(), 5.0 * 2 ** min(request.attempts, 7)))
            raise TemporaryError(f"Another worker is scheduling this run of {target.team.name}.", wait)
        return await self._schedule(target, request, claim, applied)

    async def _resolve(
        self, target: Target, request: RebuildRequest, image: BaseImage | None
    ) -> tuple[BaseImage | None, bool]:
        """Find out what to build on when the request does not say; return it and whether it exists.

        A base registry that does not let the app look (a firewall, a missing role) is no reason not to build.
        """
        image = image or target.task.default_image
        if image is None or image.digest:
            return image, image is not None
        try:
            digest = await self.images.digest_of(target.base, image)
        except GroundswellError as error:
            if isinstance(error, TemporaryError) and request.cause is not Cause.MANUAL and request.attempts < _LOOKS:
                # Built without its digest, the same content would be built again when its push is known.
                raise
            log.warning("base image not looked up", registry=target.base.name, image=image, reason=error)
            return image, True
        return BaseImage(image.repository, image.tag, digest or ""), digest is not None

    async def _schedule(self, target: Target, request: RebuildRequest, claim: Claim, applied: Applied) -> Outcome:
        image = claim.build.image
        if claim.inherited and (run_id := await self._orphan(target, claim)):
            await self._record(target, request, claim, run_id)
            return Outcome(Decision.ADOPTED, run_id=run_id, writes=applied.writes)
        if claim.inherited and image and await self._is_superseded(image, request.pushed_at):
            await self.ledger.release(claim, self.clock(), unclear=False)
            return Outcome(Decision.SUPERSEDED, f"something newer was pushed as {image.name}", writes=applied.writes)
        try:
            try:
                run_id = await self._start(target, image, applied)
            except PermanentError:
                if applied.checked:
                    raise
                # The lists, by which the registry was as it must be, lag behind what happened to it.
                applied = await self.onboarding.ensure(target, fresh=True)
                run_id = await self._start(target, image, applied)
        except GroundswellError as error:
            # A temporary failure may hide a run that was started all the same.
            await self.ledger.release(claim, self.clock(), unclear=isinstance(error, TemporaryError))
            raise
        touched = bool(applied.writes) or request.cause in (Cause.RETRY, Cause.MANUAL)
        await self._record(target, request, claim, run_id, follow=touched or self.follow_runs == "all")
        return Outcome(Decision.SCHEDULED, run_id=run_id, writes=applied.writes)

    async def _start(self, target: Target, image: BaseImage | None, applied: Applied) -> str:
        body = desired.run_body(applied.task_id, target.base, image)
        return (await self.arm.schedule_run(target.team.address, body)).id

    async def _record(
        self, target: Target, request: RebuildRequest, claim: Claim, run_id: str, *, follow: bool = True
    ) -> None:
        """See to it that a run is followed, then record it: in this order, so that no run on record goes unwatched."""
        now = self.clock()
        if follow:
            # Should it be repeated, then with the content that it was started for.
            image = Image.of(claim.build.image) if claim.build.image else None
            started = request.model_copy(update={"image": image, "failing_since": None})
            check = RunCheck(request=started, run_id=run_id, build=claim.build.key, created=target.team.created,
                             scheduled_at=now)  # fmt: skip
            await self.queues.send(RUN_CHECKS, check, self.run_check_seconds)
        await self.ledger.schedule(claim.build, run_id, request, now)

    async def _settle(self, target: Target, request: RebuildRequest, claim: Claim) -> None:
        """Settle another build's claim that ran out: record the run that its holder scheduled, or give the build up.

        Its own request, which asks for it again, may be long in coming.
        """
        image = Image.of(claim.build.image) if claim.build.image else None
        other = request.model_copy(
            update={"image": image, "build": claim.build.key, "replaces": "", "logins_refused": 0}
        )
        if run_id := await self._orphan(target, claim):
            await self._record(target, other, claim, run_id)
        else:
            await self.ledger.release(claim, self.clock(), unclear=False)

    async def _orphan(self, target: Target, claim: Claim) -> str:
        """Return the run that an earlier holder of the claim scheduled and did not live to record, or ""."""
        known = await self.ledger.known_runs(claim.build)
        runs = await self.arm.runs_since(target.team.address, target.task.name, claim.since - _CLOCK_SKEW)
        unknown = [run for run in runs if run.id not in known]
        # Somebody may have started a run by hand shortly before.
        return min(unknown, key=lambda run: abs((run.created or claim.since) - claim.since)).id if unknown else ""

    async def put_back(self, request: RebuildRequest, error: GroundswellError) -> float | None:
        """Put a request back in the queue after a failure; return the delay in seconds, or None to give up.

        Waiting for its turn is no reason to give up.
        """
        delay = next_delay(request.attempts, error)
        if isinstance(error, OutOfBudget):
            again = request.model_copy(update={"waited": request.waited + 1, "has_turn": error.has_turn})
        else:
            failed = request.after_failure(error, self.clock(), self.settling)
            if failed is None:
                return None
            again = failed.model_copy(update={"attempts": request.attempts + 1, "has_turn": False})
        await self.queues.send(REBUILD_REQUESTS, again, delay)
        return delay


def _build(target: Target, request: RebuildRequest, image: BaseImage | None) -> Build:
    """Say what makes two requests the same build: the base content; a manual run is only ever the same as itself."""
    if request.build:
        key = request.build
    elif request.cause is Cause.MANUAL:
        key = f"manual-{request.id}"
    elif image and image.digest:
        key = image.digest
    elif request.cause is Cause.REGISTRY_CHANGED:
        key = "first"
    else:
        key = f"event-{request.event_id}"
    return Build(target.team.name, target.task.name, key, target.team.created, image)

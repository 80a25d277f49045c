"""Takes a step for one target: looks at its run, arms it, starts a run. Twice is as good as once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.run_logs import RunLogs
from shared.domain import desired, refusals, retries
from shared.domain.echo import shown
from shared.domain.errors import GroundswellError, PermanentError, TemporaryError
from shared.domain.grants import ever
from shared.domain.moments import Clock
from shared.domain.refusals import Refused
from shared.domain.runs import Run
from shared.domain.state import coverage, known
from shared.domain.state.bases import Base
from shared.domain.state.known import Armed, Claim, Failure, Known, Ran, Why
from shared.domain.state.steps import Do, Step, Wanted, next_step
from shared.domain.targets import Target, Verified
from shared.flows.leaving import revoke
from shared.flows.onboarding import Onboarding
from shared.logs import Log

log = Log("stepping")

_CLOCK_SKEW = timedelta(minutes=2)
"""Clocks of the app and of ACR differ a little."""

_LOSE_TRACK = timedelta(hours=24)
_READ_PATIENCE = timedelta(minutes=10)
_NEWBORN = timedelta(minutes=2)
_LONGEST_LOOK = timedelta(minutes=5)
_FIRST_AGAIN, _LONGEST_AGAIN = 15.0, 600.0

_LONGEST_PROBLEM = 1500
"""What Azure says can be long, and what to do about it stands at the end."""

CLAIM = timedelta(minutes=5)
"""How long whoever starts a run may take, be it dead or alive."""

_UNCLEAR = timedelta(minutes=1)
"""How long after an answer was lost the list of runs may still lag."""


@dataclass(frozen=True)
class Visit:
    """A target as a walk finds it.

    Attributes:
        usual: How long its runs usually take, or None.
        errors: What went wrong on the way, for whoever waits.
        seq: The number of the last change of a base image that was seen.
        by: The invocation.
    """

    target: Target
    wanted: Wanted
    seq: int
    by: str
    usual: timedelta | None = None
    errors: list[GroundswellError] = field(default_factory=list)


class _Remembered:
    """What is known of a target's credential, in the place of a ledger."""

    def __init__(self, armed: Armed) -> None:
        self.value = verified(armed)

    async def verified(self, registry: str, task: str) -> Verified | None:
        del registry, task
        return self.value

    async def set_verified(self, registry: str, task: str, verified: Verified) -> None:
        del registry, task
        self.value = verified


def verified(armed: Armed) -> Verified | None:
    """Return the task whose credential is known to be right."""
    return Verified(armed.spec, armed.modified) if armed.spec else None


@dataclass(frozen=True, kw_only=True)
class Stepping:
    """Takes steps."""

    onboarding: Onboarding
    arm: Arm
    run_logs: RunLogs
    clock: Clock
    first_look: timedelta

    def claimed(self, now: Known, visit: Visit, step: Step) -> Known:
        """Return what is known of a target once its run is claimed."""
        base = self._base(now, visit)
        claim = Claim(visit.by, self.clock(), self.clock() + CLAIM, step.why or Why.CHANGED, self._asked_by(now, step),
                      visit.seq, base.image.digest if base else "", now.asked.id if now.asked else "",
                      telemetry.current().get("traceparent", ""))  # fmt: skip
        return replace(now, claim=claim)

    @staticmethod
    def _asked_by(now: Known, step: Step) -> str:
        if now.asked is not None:
            return now.asked.by
        return "event" if step.why in (Why.CHANGED, Why.FIRST) else "timer"

    @staticmethod
    def _base(now: Known, visit: Visit) -> Base | None:
        bases = visit.wanted.bases
        if now.asked and (named := next((base for base in bases if base.image.name == now.asked.image), None)):
            return named
        default = visit.target.task.default_image
        moved = coverage.uncovered(now.run, now.built, bases)
        return coverage.to_build_on(moved, bases, default.name if default else "")

    async def visit(self, now: Known, visit: Visit, step: Step) -> Known:
        """Take a target's step, and start the run that follows from arming it."""
        if step.do is Do.LOOK_AT_TAGS:
            return now
        after = await self.take(now, visit, step)
        if step.do is not Do.ARM:
            return after
        after = replace(after, claim=None)
        armed = replace(visit.wanted, armed=not after.armed.problem, spec=after.armed.spec or visit.wanted.spec)
        following = next_step(after, armed, self.clock())
        if following.do is not Do.RUN or not following.due(self.clock()):
            return after
        visit = replace(visit, wanted=armed)
        return await self.take(self.claimed(after, visit, following), visit, following)

    async def take(self, now: Known, visit: Visit, step: Step) -> Known:
        """Take a step; return what is known then. A step that fails is taken again later."""
        steps = {Do.LOOK_AT_RUN: self._look_at_run, Do.LOOK_FOR_RUNS: self._look_for_runs, Do.ARM: self._arm,
                 Do.RUN: self._run}  # fmt: skip
        try:
            return await steps[step.do](now, visit)
        except (TemporaryError, PermanentError) as error:
            return self._later(now, visit, step, error)

    def _later(self, now: Known, visit: Visit, step: Step, error: GroundswellError) -> Known:
        visit.errors.append(error)
        asked = error.retry_after if isinstance(error, TemporaryError) else _LONGEST_AGAIN
        again = self.clock() + timedelta(seconds=asked or _FIRST_AGAIN)
        log.warning("step failed", registry=visit.target.team.name, task=visit.target.task.name, step=step.do,
                    reason=error)  # fmt: skip
        return replace(now, look=again, claim=replace(now.claim, until=again) if now.claim else None)

    # -- arm -----------------------------------------------------------------------------------------------------------

    async def _arm(self, now: Known, visit: Visit) -> Known:
        target, memory = visit.target, _Remembered(now.armed)
        onboarding = replace(self.onboarding, ledger=memory)
        try:
            applied = await onboarding.ensure(target, newborn=self._is_newborn(target), fresh=bool(now.armed.problem))
            former = now.armed.principal
            if former and former != applied.principal and target.policy.offboarding.action == "delete":
                # That identity went with a task or a registry that was deleted.
                await revoke(self.arm, former, ever(target.team.id, target.base.id))
        except (TemporaryError, PermanentError) as error:
            return self._not_armed(now, visit, error)
        seen = memory.value or Verified("", "")
        return replace(now, armed=Armed(seen.fingerprint, seen.modified, self.clock(), applied.principal))

    def _not_armed(self, now: Known, visit: Visit, error: GroundswellError) -> Known:
        visit.errors.append(error)
        moment, failures = self.clock(), now.armed.failures
        since = now.armed.since or moment
        wait = retries.come_back(failures, error, moment - since, visit.wanted.patience)
        log.warning("registry not in its desired state", registry=visit.target.team.name, task=visit.target.task.name,
                    reason=error, again=round(wait))  # fmt: skip
        again = moment + timedelta(seconds=wait)
        problem = shown(error, _LONGEST_PROBLEM)
        return replace(now, armed=replace(now.armed, problem=problem, failures=failures + 1, since=since, again=again))

    def _is_newborn(self, target: Target) -> bool:
        created = target.team.created_at
        return created is not None and self.clock() - created < _NEWBORN

    # -- run -----------------------------------------------------------------------------------------------------------

    async def _run(self, now: Known, visit: Visit) -> Known:
        target, claim = visit.target, now.claim
        assert claim is not None  # noqa: S101 - the walk has claimed it; this tells the type checker
        base = self._base(now, visit)
        body = desired.run_body(target.task_id, target.base, base.image if base else None)
        try:
            run = await self.arm.schedule_run(target.team.address, body)
        except TemporaryError as error:
            # The run may have been started all the same: it is looked for once lists must show it.
            log.warning(
                "unclear whether a run was started", registry=target.team.name, task=target.task.name, reason=error
            )
            visit.errors.append(error)
            wait = max(_UNCLEAR, timedelta(seconds=error.retry_after or 0))
            return replace(now, claim=replace(claim, until=self.clock() + wait))
        except PermanentError as error:
            return self._refused(now, visit, claim, error)
        log.info("run started", registry=target.team.name, task=target.task.name, run_id=run.id, why=claim.why)
        if base and claim.why is Why.CHANGED:
            telemetry.push_to_run((self.clock() - base.moved).total_seconds(), target.task.name)
        return self._started(now, visit, run, claim)

    def _started(self, now: Known, visit: Visit, run: Run, claim: Claim) -> Known:
        created = run.created or self.clock()
        ran = Ran(run.id, claim.why, claim.asked_by, claim.seq, claim.content, visit.wanted.spec, created,
                  claim.request, claim.trace, started=run.started)  # fmt: skip
        _count("scheduled", visit, ran)
        # What was written just before may not work yet: such a run fails within seconds.
        soon = now.was_just_seen or visit.usual is None
        first = self.first_look if soon else max(self.first_look, visit.usual or self.first_look)
        return known.started(now, ran, self.clock() + first)

    def _refused(self, now: Known, visit: Visit, claim: Claim, error: PermanentError) -> Known:
        """Look closely at what lists said was right; if that was done just before, the run has failed."""
        problem = shown(error, _LONGEST_PROBLEM)
        if not now.was_just_seen:
            return replace(now, claim=None, armed=replace(now.armed, problem=problem, again=None))
        visit.errors.append(error)
        moment = self.clock()
        ran = Ran("", claim.why, claim.asked_by, claim.seq, claim.content, visit.wanted.spec, moment,
                  claim.request, claim.trace, started=moment)  # fmt: skip
        _count("failed", visit, ran)
        after = known.started(now, ran, moment)
        end = replace(ran, ended=moment, failure=Failure.UNKNOWN, reason=problem)
        return known.ended(after, end, after.built)

    async def _look_for_runs(self, now: Known, visit: Visit) -> Known:
        """Adopt a run that is not on record: of a claim that ran out, or, if nothing is on record, the last one."""
        team, task, claim = visit.target.team, visit.target.task.name, now.claim
        if claim is None:
            if self._is_newborn(visit.target):
                return replace(now, adopted=True)
            last = await self.arm.last_run(team.address, task)
            return replace(now, adopted=True, run=_found(last) if last else None, look=None)
        runs = await self.arm.runs_since(team.address, task, claim.since - _CLOCK_SKEW)
        recorded = {run.id for run in now.runs}
        unknown = [run for run in runs if run.id not in recorded]
        if not unknown:
            return replace(now, claim=None, adopted=True)
        # Somebody may have started one by hand shortly before.
        run = min(unknown, key=lambda each: abs((each.created or claim.since) - claim.since))
        log.info("run adopted", registry=team.name, task=task, run_id=run.id)
        return self._started(now, visit, run, claim)

    # -- look ----------------------------------------------------------------------------------------------------------

    async def _look_at_run(self, now: Known, visit: Visit) -> Known:
        ran, team = now.run, visit.target.team
        assert ran is not None  # noqa: S101 - the step is for a run that is under way
        run = await self.arm.get_run(team.address, ran.id)
        moment = self.clock()
        if run is None or (not run.ended and moment - ran.created > _LOSE_TRACK):
            log.error("run lost", registry=team.name, task=visit.target.task.name, run_id=ran.id)
            _count("failed", visit, ran)
            end = replace(ran, ended=moment, failure=Failure.UNKNOWN, reason="the run cannot be found any more")
            return known.ended(now, end, now.built)
        ran = replace(ran, created=run.created or ran.created, started=run.started)
        if not run.ended:
            return replace(now, run=ran, look=self._next_look(ran, moment))
        end = replace(ran, ended=run.finished or moment)
        if run.status != "Succeeded":
            failure, reason = await self._why(visit, run)
            end = replace(end, failure=failure, reason=reason)
        write = log.info if end.succeeded else log.error
        write("run ended", registry=team.name, task=visit.target.task.name, run_id=ran.id, status=run.status,
              reason=end.reason, images=", ".join(run.images))  # fmt: skip
        image = run.images[0].partition("/")[2] if run.images else ""
        after = known.ended(now, end, known.Built(shown(image, 300)))
        repeated = end.failure is Failure.PASSING and next_step(after, visit.wanted, moment).do is Do.RUN
        _count("succeeded" if end.succeeded else "repeated" if repeated else "failed", visit, end)
        telemetry.run_ended(end.trace, run.status, run.created, run.finished, task=visit.target.task.name,
                            registry=team.name, run_id=run.id)  # fmt: skip
        return after

    def _next_look(self, ran: Ran, now: datetime) -> datetime:
        """Return when to look again: the longer a run takes, the less often."""
        return now + max(self.first_look, min((now - (ran.started or ran.created)) / 2, _LONGEST_LOOK))

    async def _why(self, visit: Visit, run: Run) -> tuple[Failure, str]:
        """Tell how a run failed.

        Raises:
            TemporaryError: Its log cannot be read at the moment, and it ended not long ago.
        """
        if run.status == "Canceled":
            return Failure.CANCELED, "it was canceled"
        try:
            text = await self.run_logs.read(visit.target.team.address, run.id)
        except GroundswellError as error:
            if self._may_recover(error, run.finished):
                raise  # Only the log tells whether the run is to be repeated.
            log.warning("log not read", registry=visit.target.team.name, run_id=run.id, reason=error)
            return Failure.UNKNOWN, run.error
        reason, refused = refusals.failure_line(text) or run.error, refusals.read(text)
        if refused is None:
            return Failure.UNKNOWN, reason
        judgement = await self._judge(visit, refused, run.finished or self.clock())
        return (Failure.PASSING if judgement.repeat else Failure.FINAL), f"{reason} {judgement.advice}".strip()

    async def _judge(self, visit: Visit, refused: Refused, at: datetime) -> refusals.Judgement:
        """Tell whether to repeat a run whose login was refused; a grant takes up to ten minutes.

        https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
        """
        target, patience = visit.target, visit.wanted.patience
        if refused.host not in ("", target.base.login_server, target.team.login_server):
            return refusals.Judgement(repeat=False)
        try:
            state = await self.onboarding.observe(target, fresh=True)
        except GroundswellError as error:
            if self._may_recover(error, at):
                raise
            log.warning("refused login not looked into", registry=target.team.name, task=target.task.name, reason=error)
            return refusals.Judgement(repeat=True)
        granted = state.observed.granted
        return refusals.judge(refused.by, target.network, state.mendable, granted, at=at, patience=patience)

    def _may_recover(self, error: GroundswellError, ended: datetime | None) -> bool:
        """Tell whether what cannot be read of a run may soon be; no end of a run waits long to be recorded."""
        return isinstance(error, TemporaryError) and ended is not None and self.clock() - ended < _READ_PATIENCE


def _count(outcome: str, visit: Visit, run: Ran) -> None:
    telemetry.rebuild(outcome, registry=visit.target.team.name, task=visit.target.task.name, cause=run.why)


def _found(run: Run) -> Ran:
    """Return a run that nobody recorded: what it covers is told by when it started."""
    now = run.created
    assert now is not None  # noqa: S101 - lists of runs have it
    failure = None if run.status == "Succeeded" or not run.ended else Failure.UNKNOWN
    return Ran(run.id, Why.FOUND, "", 0, "", "", now, started=run.started or run.created,
               ended=run.finished if run.ended else None, failure=failure, reason=run.error)  # fmt: skip

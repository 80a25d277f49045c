"""Follows a scheduled run to its end, and repeats one that could not log in because its grant did not work yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Build, Ledger
from shared.adapters.messages import REBUILD_REQUESTS, RUN_CHECKS, Cause, RebuildRequest, RunCheck
from shared.adapters.queues import Queues
from shared.adapters.run_logs import RunLogs
from shared.domain import refusals
from shared.domain.errors import GroundswellError, TemporaryError
from shared.domain.moments import Clock
from shared.domain.refusals import Refused
from shared.domain.registries import RegistryId
from shared.domain.runs import Run
from shared.flows.onboarding import Onboarding
from shared.flows.rebuilds import REGISTRY_GONE
from shared.logs import Log

log = Log("followup")

_LOSE_TRACK = timedelta(hours=24)
_READ_PATIENCE = timedelta(minutes=10)


class Verdict(StrEnum):
    """What a look at a run led to."""

    STILL_RUNNING = "still-running"
    ENDED = "ended"
    REPEATED = "login-refused-repeated"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class Followup:
    """Looks at runs until they have ended."""

    onboarding: Onboarding
    fleet: Fleet
    arm: Arm
    run_logs: RunLogs
    ledger: Ledger
    queues: Queues
    clock: Clock
    settling: timedelta
    run_check_seconds: float

    async def follow(self, check: RunCheck) -> Verdict:
        """Look at a run: if it goes on, look again later; if it ended, record how.

        Raises:
            TemporaryError: Azure could not be asked.
        """
        team = RegistryId.parse(check.request.registry)
        run = await self.arm.get_run(team, check.run_id)
        image = check.request.image.to_domain() if check.request.image else None
        build = Build(team.name, check.request.task, check.build, check.created, image)
        fields = {
            "event_id": check.request.event_id,
            "registry": team.name,
            "task": check.request.task,
            "run_id": check.run_id,
        }
        if run is None and await self.fleet.find(check.request.registry, fresh=True) is None:
            await self.ledger.ended(build, check.run_id, "Unknown", REGISTRY_GONE, self.clock())
            log.info("run went with its registry", **fields)
            return Verdict.LOST
        if run is None or (not run.ended and self.clock() - check.scheduled_at > _LOSE_TRACK):
            await self.ledger.ended(build, check.run_id, "Unknown", "the run cannot be found any more", self.clock())
            log.error("run lost", **fields)
            _count("failed", check)
            return Verdict.LOST
        # Whoever scheduled it may not have lived to record it.
        await self.ledger.schedule(build, run.id, check.request, check.scheduled_at)
        if not run.ended:
            await self.look_again(check)
            return Verdict.STILL_RUNNING
        reason, refused = await self._why(team, run)
        now = self.clock()
        since = check.request.refused_since or check.scheduled_at
        judgement = await self._judge(check.request, refused, since, run.finished or now)
        reason = f"{reason} {judgement.advice}".strip()
        if judgement.repeat:
            delay = min(15.0 * 2**check.request.logins_refused, 300.0)
            again = check.request.model_copy(
                update={"cause": Cause.RETRY, "replaces": run.id, "build": check.build, "attempts": 0,
                        "logins_refused": check.request.logins_refused + 1, "refused_since": since}
            )  # fmt: skip
            await self.queues.send(REBUILD_REQUESTS, again, delay)
            await self.ledger.ended(build, run.id, run.status, reason, run.finished or now, repeated=True)
            log.warning("run could not log in; repeating it", delay=delay, reason=reason, **fields)
            _count("repeated", check)
            telemetry.run_ended(check.traceparent, run.status, run.created, run.finished, **fields)
            return Verdict.REPEATED
        await self.ledger.ended(build, run.id, run.status, reason, run.finished or now)
        write = log.info if run.status == "Succeeded" else log.error
        write("run ended", status=run.status, reason=reason, images=", ".join(run.images), **fields)
        _count("succeeded" if run.status == "Succeeded" else "failed", check)
        telemetry.run_ended(check.traceparent, run.status, run.created, run.finished, **fields)
        return Verdict.ENDED

    async def _why(self, team: RegistryId, run: Run) -> tuple[str, Refused | None]:
        """Return why a run failed, and what refused its login if that is it.

        Raises:
            TemporaryError: The log cannot be read at the moment, and the run ended not long ago.
        """
        if run.status == "Succeeded":
            return "", None
        try:
            text = await self.run_logs.read(team, run.id)
        except GroundswellError as error:
            if self._may_recover(error, run.finished):
                raise  # Only the log tells whether the run is to be repeated.
            log.warning("log not read", registry=team.name, run_id=run.id, reason=error)
            return run.error, None
        return refusals.failure_line(text) or run.error, refusals.read(text)

    def _may_recover(self, error: GroundswellError, ended: datetime | None) -> bool:
        """Tell whether what cannot be read of a run may soon be; no end of a run waits long to be recorded."""
        return isinstance(error, TemporaryError) and ended is not None and self.clock() - ended < _READ_PATIENCE

    async def _judge(
        self, request: RebuildRequest, refused: Refused | None, since: datetime, at: datetime
    ) -> refusals.Judgement:
        """Tell whether to repeat a run; a grant takes up to ten minutes.

        https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
        """
        patience = self.settling
        if refused is None:
            return refusals.Judgement(repeat=False)
        in_time = at - since < patience
        try:
            target = await self.onboarding.find_target(request.registry, request.task)
            if target is None:
                return refusals.Judgement(in_time)
            if refused.host not in ("", target.base.login_server, target.team.login_server):
                return refusals.Judgement(repeat=False)
            state = await self.onboarding.observe(target, fresh=True)
        except GroundswellError as error:
            if self._may_recover(error, at):
                raise
            log.warning("refused login not looked into", registry=request.registry, task=request.task, reason=error)
            return refusals.Judgement(in_time)
        granted = state.observed.granted
        judgement = refusals.judge(refused.by, target.network, state.mendable, granted, at=at, patience=patience)
        return replace(judgement, repeat=judgement.repeat and in_time)

    async def put_back(self, check: RunCheck, error: GroundswellError) -> bool:
        """Come back to a run after a failure; tell whether it is worth it."""
        again = check.after_failure(error, self.clock(), self.settling)
        if again is None:
            return False
        await self.look_again(again, error)
        return True

    async def look_again(self, check: RunCheck, error: GroundswellError | None = None) -> None:
        """Come back to a run later: after the delay Azure asked for, or at a pace that slackens to five minutes."""
        pace = self.run_check_seconds * (1 + check.attempts // 10)
        asked = error.retry_after if isinstance(error, TemporaryError) else None
        since = check.failing_since if error else None
        again = check.model_copy(update={"attempts": check.attempts + 1, "failing_since": since})
        await self.queues.send(RUN_CHECKS, again, asked if asked is not None else min(pace, 300.0))


def _count(outcome: str, check: RunCheck) -> None:
    request = check.request
    telemetry.rebuild(outcome, registry=request.registry, task=request.task, cause=request.cause)

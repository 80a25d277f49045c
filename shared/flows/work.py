"""Handles queue messages: each is processed, put back for later, or set aside."""

from __future__ import annotations

from dataclasses import dataclass

from shared import telemetry
from shared.adapters.ledger import Ledger
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut, RebuildRequest, RunCheck, decode
from shared.adapters.queues import Queues
from shared.domain.errors import GroundswellError, InvalidInput, PermanentError, TemporaryError
from shared.domain.moments import Clock
from shared.domain.pacing import OutOfBudget
from shared.flows.fanout import FanOuts
from shared.flows.followup import Followup
from shared.flows.rebuilds import Rebuilds
from shared.logs import Log

log = Log("work")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Handles the messages of the queues."""

    fan_outs: FanOuts
    rebuilds: Rebuilds
    followup: Followup
    queues: Queues
    ledger: Ledger
    clock: Clock

    async def fan_out_requested(self, body: bytes) -> None:
        """Handle a message of the queue fan-outs. Known failures are put back or set aside; unknown ones are raised."""
        try:
            message = decode(FanOut, body)
        except InvalidInput as error:
            await self._set_aside(FAN_OUTS, body, error)
            return
        with telemetry.handling("fan_out_requested", message, event_id=message.id):
            try:
                parts = await self.fan_outs.fan_out(message)
            except (TemporaryError, PermanentError) as error:
                await self._fan_out_failed(message, error, body)
                return
            for part, reason in parts:
                await self._fan_out_failed(part, reason, part.encode().encode())

    async def _fan_out_failed(self, message: FanOut, error: GroundswellError, body: bytes) -> None:
        """Put a fan-out, or the part of it that failed, back for later or set it aside."""
        delay = await self.fan_outs.put_back(message, error)
        if delay is None:
            await self._set_aside(FAN_OUTS, body, error, message)
            return
        log.warning("fan-out put back", delay=round(delay, 1), reason=error, event_id=message.id,
                    subscriptions=_names(message.subscriptions), tasks=_names(message.tasks))  # fmt: skip

    async def rebuild_requested(self, body: bytes) -> None:
        """Handle a message of the queue rebuild-requests.

        What can never be done goes to the poison queue at once; what may be done later goes back with a delay. What
        fails in an unknown way is raised, so that the host tries again.
        """
        try:
            request = decode(RebuildRequest, body)
        except InvalidInput as error:
            await self._set_aside(REBUILD_REQUESTS, body, error)
            return
        fields = {"event_id": request.event_id, "registry": request.registry.rpartition("/")[2], "task": request.task}
        with telemetry.handling("rebuild_requested", request, **fields, cause=request.cause):
            try:
                await self.rebuilds.rebuild(request)
            except (TemporaryError, PermanentError) as error:
                delay = await self.rebuilds.put_back(request, error)
                if delay is None:
                    await self._set_aside(REBUILD_REQUESTS, body, error, request)
                    return
                write = log.info if isinstance(error, OutOfBudget) else log.warning
                write("rebuild put back", delay=round(delay, 1), reason=error, **fields)
            except Exception as error:
                # The host tries again and sets the message aside in the end: the reason must be on record by then.
                name, reason = fields["registry"], f"{type(error).__name__}: {error}"
                await self.ledger.request(name, request, "failed", reason, self.clock())
                raise

    async def run_check(self, body: bytes) -> None:
        """Handle a message of the queue run-checks."""
        try:
            check = decode(RunCheck, body)
        except InvalidInput as error:
            await self._set_aside(RUN_CHECKS, body, error)
            return
        request = check.request
        registry = request.registry.rpartition("/")[2]
        fields = {"event_id": request.event_id, "registry": registry, "task": request.task, "run_id": check.run_id}
        with telemetry.handling("run_followed", check, **fields):
            try:
                await self.followup.follow(check)
            except (TemporaryError, PermanentError) as error:
                if not await self.followup.put_back(check, error):
                    await self._set_aside(RUN_CHECKS, body, error, request, run_id=check.run_id)

    async def _set_aside(
        self,
        queue: str,
        body: bytes,
        error: Exception,
        message: FanOut | RebuildRequest | None = None,
        **fields: str,
    ) -> None:
        """Put a message into its poison queue, as it came; `message` is None if it cannot be read."""
        if isinstance(message, RebuildRequest):
            registry = message.registry.rpartition("/")[2]
            fields |= {"event_id": message.event_id, "registry": registry, "task": message.task}
        elif message:
            fields |= {
                "event_id": message.id,
                "subscriptions": _names(message.subscriptions),
                "tasks": _names(message.tasks),
            }
        log.error("message set aside", queue=f"{queue}-poison", reason=error, **fields)
        telemetry.failed(error)
        telemetry.rebuild("set-aside", registry=fields.get("registry", ""), task=fields.get("task", ""),
                          cause=message.cause if message else "")  # fmt: skip
        await self.queues.poison(queue, body)


def _names(names: tuple[str, ...] | None) -> str:
    return ", ".join(names or ())

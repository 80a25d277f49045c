"""Queue messages: what is done with each, and where those go that cannot be done."""

from __future__ import annotations

from shared import telemetry
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut, RebuildRequest, RunCheck, decode
from shared.domain.errors import GroundswellError, InvalidInput, PermanentError, TemporaryError
from shared.domain.pacing import OutOfBudget
from shared.flows import fanout, followup, rebuilds
from shared.logs import Log
from shared.services import Services

log = Log("work")


async def fan_out_requested(services: Services, body: bytes) -> None:
    """Handle a message of the queue fan-outs. What fails in an unknown way is raised, so that the host tries again."""
    try:
        message = decode(FanOut, body)
    except InvalidInput as error:
        await _set_aside(services, FAN_OUTS, body, error)
        return
    with telemetry.handling("fan_out_requested", message, event_id=message.id):
        try:
            parts = await fanout.fan_out(services, message)
        except (TemporaryError, PermanentError) as error:
            await _fan_out_failed(services, message, error, body)
            return
        for part, reason in parts:
            await _fan_out_failed(services, part, reason, part.encode().encode())


async def _fan_out_failed(services: Services, message: FanOut, error: GroundswellError, body: bytes) -> None:
    """Put a fan-out, or the part of it that failed, back for later or set it aside."""
    delay = await fanout.put_back(services, message, error)
    if delay is None:
        await _set_aside(services, FAN_OUTS, body, error, message)
        return
    log.warning("fan-out put back", delay=round(delay, 1), reason=error, event_id=message.id,
                subscriptions=_names(message.subscriptions), tasks=_names(message.tasks))  # fmt: skip


def _names(names: tuple[str, ...] | None) -> str:
    return ", ".join(names or ())


async def rebuild_requested(services: Services, body: bytes) -> None:
    """Handle a message of the queue rebuild-requests.

    What can never be done goes to the poison queue at once; what may be done later goes back with a delay. What fails
    in an unknown way is raised, so that the host tries again.
    """
    try:
        request = decode(RebuildRequest, body)
    except InvalidInput as error:
        await _set_aside(services, REBUILD_REQUESTS, body, error)
        return
    fields = {"event_id": request.event_id, "registry": request.registry.rpartition("/")[2], "task": request.task}
    with telemetry.handling("rebuild_requested", request, **fields, cause=request.cause):
        try:
            await rebuilds.rebuild(services, request)
        except (TemporaryError, PermanentError) as error:
            delay = await rebuilds.put_back(services, request, error)
            if delay is None:
                await _set_aside(services, REBUILD_REQUESTS, body, error, request)
                return
            write = log.info if isinstance(error, OutOfBudget) else log.warning
            write("rebuild put back", delay=round(delay, 1), reason=error, **fields)
        except Exception as error:
            # The host tries again and sets the message aside in the end: the reason must be on record by then.
            name, reason = fields["registry"], f"{type(error).__name__}: {error}"
            await services.ledger.request(name, request, "failed", reason, services.now())
            raise


async def run_check(services: Services, body: bytes) -> None:
    """Handle a message of the queue run-checks."""
    try:
        check = decode(RunCheck, body)
    except InvalidInput as error:
        await _set_aside(services, RUN_CHECKS, body, error)
        return
    request = check.request
    registry = request.registry.rpartition("/")[2]
    fields = {"event_id": request.event_id, "registry": registry, "task": request.task, "run_id": check.run_id}
    with telemetry.handling("run_followed", check, **fields):
        try:
            await followup.follow(services, check)
        except (TemporaryError, PermanentError) as error:
            if not await followup.put_back(services, check, error):
                await _set_aside(services, RUN_CHECKS, body, error, request, run_id=check.run_id)


async def _set_aside(
    services: Services,
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
    await services.queues.poison(queue, body)

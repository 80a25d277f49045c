"""Queue messages: what is done with each, and where those go that cannot be done."""

from __future__ import annotations

from shared import fanout, followup, rebuilds
from shared.errors import InvalidInput, PermanentError, TemporaryError
from shared.logs import Log
from shared.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS, FanOut, RebuildRequest, RunCheck, decode
from shared.pacing import OutOfBudget
from shared.services import Services

log = Log("work")


async def fan_out_requested(services: Services, body: bytes) -> None:
    """Handle a message of the queue fan-outs. What may work later is raised, so that the host tries again."""
    try:
        message = decode(FanOut, body)
    except InvalidInput as error:
        await _set_aside(services, FAN_OUTS, body, error)
        return
    try:
        await fanout.fan_out(services, message)
    except TemporaryError as error:
        delay = await fanout.put_back(services, message, error)
        if delay is None:
            await _set_aside(services, FAN_OUTS, body, error, event_id=message.id)
            return
        log.warning("fan-out put back", delay=round(delay, 1), reason=error, event_id=message.id)
    except PermanentError as error:
        await _set_aside(services, FAN_OUTS, body, error, event_id=message.id)


async def rebuild_requested(services: Services, body: bytes) -> None:
    """Handle a message of the queue rebuild-requests.

    What can never be done goes to the poison queue at once; what can be done later goes back with a delay. Anything
    else is raised, so that the host tries again.
    """
    try:
        request = decode(RebuildRequest, body)
    except InvalidInput as error:
        await _set_aside(services, REBUILD_REQUESTS, body, error)
        return
    fields = {"event_id": request.event_id, "registry": request.registry.rpartition("/")[2], "task": request.task}
    try:
        await rebuilds.rebuild(services, request)
    except TemporaryError as error:
        delay = await rebuilds.put_back(services, request, error)
        if delay is None:
            await _set_aside(services, REBUILD_REQUESTS, body, error, **fields)
            return
        write = log.info if isinstance(error, OutOfBudget) else log.warning
        write("rebuild put back", delay=round(delay, 1), reason=error, **fields)
    except PermanentError as error:
        await _set_aside(services, REBUILD_REQUESTS, body, error, **fields)
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
    try:
        await followup.follow(services, check)
    except TemporaryError as error:
        await followup.look_again(services, check, error)
    except PermanentError as error:
        await _set_aside(services, RUN_CHECKS, body, error, run_id=check.run_id)


async def _set_aside(services: Services, queue: str, body: bytes, error: Exception, **fields: str) -> None:
    log.error("message set aside", queue=f"{queue}-poison", reason=error, **fields)
    await services.queues.poison(queue, body)

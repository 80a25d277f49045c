"""HTTP: start runs and look at registries, runs and logs."""

import json
import logging
import math
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import azure.functions as func

blueprint = func.Blueprint()
logger = logging.getLogger("groundswell.runs_api")


def _json(body: Any, status: int = 200, location: str | None = None) -> func.HttpResponse:
    headers = {"Location": location} if location else None
    text = json.dumps(body, indent=2) + "\n"
    return func.HttpResponse(text, status_code=status, headers=headers, mimetype="application/json")


def _problem(error: Exception) -> func.HttpResponse:
    """Encode an error as application/problem+json (RFC 9457)."""
    from shared.domain import errors

    # The first class that fits decides.
    problems = (
        (errors.BodyLost, 411, "The request has no length"),
        (errors.InvalidInput, 400, "The request is wrong"),
        (errors.NotFound, 404, "Not found"),
        (errors.NotSelected, 409, "Not selected by the policy"),
        (errors.NotPermitted, 502, "Azure does not permit this to Groundswell"),
        (errors.TemporaryError, 503, "Azure asks to come back later"),
        (errors.ConfigurationError, 500, "Groundswell is not configured correctly"),
        (errors.PermanentError, 502, "Azure refused"),
    )
    status, title = next((status, title) for kind, status, title in problems if isinstance(error, kind))
    body = {"type": "about:blank", "title": title, "status": status, "detail": str(error)}
    if isinstance(error, errors.InvalidInput) and error.field:
        body["field"] = error.field
    headers = {}
    if isinstance(error, errors.TemporaryError):
        headers["Retry-After"] = str(math.ceil(error.retry_after or 15))
    text = json.dumps(body, indent=2) + "\n"
    return func.HttpResponse(text, status_code=status, headers=headers, mimetype="application/problem+json")


def _answer(handler: Callable[..., Awaitable[func.HttpResponse]]) -> Callable[..., Awaitable[func.HttpResponse]]:
    """Turn errors into answers that a person can act on."""

    @wraps(handler)
    async def answered(request: func.HttpRequest, **bindings: Any) -> func.HttpResponse:
        from shared.domain.errors import GroundswellError

        try:
            _check_body(request)
            return await handler(request, **bindings)
        except GroundswellError as error:
            logger.warning("%s refused: %s", handler.__name__, error)
            return _problem(error)

    return answered


def _check_body(request: func.HttpRequest) -> None:
    """Refuse a request whose body may have been lost: the Functions host drops one that comes in chunks.

    Nothing would tell it from a request without a body (https://github.com/Azure/azure-functions-host/issues/7930).
    """
    from shared.domain.errors import BodyLost

    if request.method != "POST":
        return
    lost = "Content-Type" in request.headers and not request.get_body()
    if lost or "Transfer-Encoding" in request.headers:
        raise BodyLost(
            "Azure Functions drops a body that is sent in chunks, and nothing was done. Send it with a Content-Length, "
            "without Transfer-Encoding (with curl: --data), or send neither body nor Content-Type."
        )


@blueprint.route(
    "registries/{registry}/runs", methods=["POST"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request"
)
@_answer
async def start_run(request: func.HttpRequest) -> func.HttpResponse:
    """Rebuild one registry now."""
    from shared.app import current

    started = await current().starts.start_run(
        request.route_params["registry"],
        request.get_body(),
        request.headers.get("Idempotency-Key", ""),
    )
    location = f"/api/registries/{started.registry}/runs/{started.run_id}"
    body = {"registry": started.registry, "task": started.task, "runId": started.run_id, "writes": started.writes}
    return _json({**body, "status": location, "log": f"{location}/logs"}, 202, location)


@blueprint.route("runs", methods=["POST"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request")
@blueprint.queue_output(arg_name="rebuilds", queue_name="fan-outs", connection="AzureWebJobsStorage")
@_answer
async def start_fleet(request: func.HttpRequest, rebuilds: func.Out[str]) -> func.HttpResponse:
    """Rebuild every registry that the policy selects; name the parts of the fleet that fail."""
    from shared.app import current

    message, count = await current().starts.start_fleet(request.get_body())
    rebuilds.set(message)
    problems = current().views.problems()
    return _json({"queued": count} | ({"problems": problems} if problems else {}), 202)


@blueprint.route("rebuilds/replay", methods=["POST"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request")
@_answer
async def replay(request: func.HttpRequest) -> func.HttpResponse:
    """Put messages that were set aside back into their queues."""
    from shared.app import current

    return _json(await current().replay.replay(request.get_body()), 202)


@blueprint.route(
    "registries/{registry}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request"
)
@_answer
async def show_registry(request: func.HttpRequest) -> func.HttpResponse:
    """Show a registry's conditions."""
    from shared.app import current

    return _json(await current().views.registry(request.route_params["registry"]))


@blueprint.route(
    "registries/{registry}/runs/{runId}",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
    trigger_arg_name="request",
)
@_answer
async def show_run(request: func.HttpRequest) -> func.HttpResponse:
    """Show a run."""
    from shared.app import current

    run = await current().views.run(request.route_params["registry"], request.route_params["runId"])
    return _json(
        {
            "runId": run.id,
            "status": run.status,
            "task": run.task,
            "createTime": run.created.isoformat() if run.created else None,
            "finishTime": run.finished.isoformat() if run.finished else None,
            "images": run.images,
            "error": run.error,
        }
    )


@blueprint.route(
    "registries/{registry}/runs/{runId}/logs",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
    trigger_arg_name="request",
)
@_answer
async def show_log(request: func.HttpRequest) -> func.HttpResponse:
    """Show the log of a run so far."""
    from shared.app import current

    text = await current().views.run_log(request.route_params["registry"], request.route_params["runId"])
    return func.HttpResponse(text, mimetype="text/plain", charset="utf-8")

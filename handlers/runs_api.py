"""HTTP: start runs and look at registries, runs and logs."""

import json
import logging
from collections.abc import Awaitable, Callable
from functools import wraps

# The worker accepts typing.List and not list here (Azure/azure-functions-python-worker#1176).
from typing import Any, List

import azure.functions as func

from shared import operations, services
from shared.errors import (
    ConfigurationError,
    GroundswellError,
    InvalidInput,
    NotFound,
    NotPermitted,
    NotSelected,
    PermanentError,
    TemporaryError,
)

blueprint = func.Blueprint()
logger = logging.getLogger("groundswell.runs_api")

# The first class that fits decides; titles are RFC 9457's "short, human-readable summary of the problem type".
_PROBLEMS: List[Any] = [
    (InvalidInput, 400, "The request is wrong"),
    (NotFound, 404, "Not found"),
    (NotSelected, 409, "Not selected by the policy"),
    (NotPermitted, 502, "Azure does not permit this to Groundswell"),
    (TemporaryError, 503, "Azure asks to come back later"),
    (ConfigurationError, 500, "Groundswell is not configured correctly"),
    (PermanentError, 502, "Azure refused"),
]


def _json(body: Any, status: int = 200, location: str | None = None) -> func.HttpResponse:
    headers = {"Location": location} if location else None
    text = json.dumps(body, indent=2) + "\n"
    return func.HttpResponse(text, status_code=status, headers=headers, mimetype="application/json")


def _problem(error: GroundswellError) -> func.HttpResponse:
    """Encode an error as application/problem+json (RFC 9457)."""
    status, title = next((status, title) for kind, status, title in _PROBLEMS if isinstance(error, kind))
    body = {"type": "about:blank", "title": title, "status": status, "detail": str(error)}
    if isinstance(error, InvalidInput) and error.field:
        body["field"] = error.field
    headers = {}
    if isinstance(error, TemporaryError):
        headers["Retry-After"] = str(int(error.retry_after or 15))
    text = json.dumps(body, indent=2) + "\n"
    return func.HttpResponse(text, status_code=status, headers=headers, mimetype="application/problem+json")


def _answer(handler: Callable[..., Awaitable[func.HttpResponse]]) -> Callable[..., Awaitable[func.HttpResponse]]:
    """Turn errors into answers that a person can act on."""

    @wraps(handler)
    async def answered(*args: Any, **kwargs: Any) -> func.HttpResponse:
        try:
            return await handler(*args, **kwargs)
        except GroundswellError as error:
            logger.warning("%s refused: %s", handler.__name__, error)
            return _problem(error)

    return answered


@blueprint.route(
    "registries/{registry}/runs", methods=["POST"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request"
)
@_answer
async def start_run(request: func.HttpRequest) -> func.HttpResponse:
    """Rebuild one registry now."""
    started = await operations.start_run(
        services.current(),
        request.route_params["registry"],
        request.get_body(),
        request.headers.get("Idempotency-Key", ""),
    )
    location = f"/api/registries/{started.registry}/runs/{started.run_id}"
    body = {"registry": started.registry, "task": started.task, "runId": started.run_id, "writes": started.writes}
    return _json({**body, "status": location, "log": f"{location}/logs"}, 202, location)


@blueprint.route("runs", methods=["POST"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request")
@blueprint.queue_output(arg_name="requests", queue_name="rebuild-requests", connection="AzureWebJobsStorage")
@_answer
async def start_fleet(request: func.HttpRequest, requests: func.Out[List[str]]) -> func.HttpResponse:
    """Rebuild every registry that the policy selects."""
    messages = await operations.start_fleet(services.current(), request.get_body())
    if messages:
        requests.set(messages)
    return _json({"queued": len(messages)}, 202)


@blueprint.route(
    "registries/{registry}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION, trigger_arg_name="request"
)
@_answer
async def show_registry(request: func.HttpRequest) -> func.HttpResponse:
    """Show a registry's conditions."""
    return _json(await operations.show_registry(services.current(), request.route_params["registry"]))


@blueprint.route(
    "registries/{registry}/runs/{runId}",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
    trigger_arg_name="request",
)
@_answer
async def show_run(request: func.HttpRequest) -> func.HttpResponse:
    """Show a run."""
    run = await operations.show_run(services.current(), request.route_params["registry"], request.route_params["runId"])
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
    text = await operations.run_log(services.current(), request.route_params["registry"], request.route_params["runId"])
    return func.HttpResponse(text, mimetype="text/plain", charset="utf-8")

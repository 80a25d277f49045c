"""Microsoft.ContainerRegistry/registries/runs and what schedules them.

https://learn.microsoft.com/rest/api/containerregistry/runs. A run shows `provisioningState: Succeeded` whatever
becomes of it; `status` tells.
"""

from __future__ import annotations

import re
import zlib
from functools import partial
from typing import Any

from dev.localazure import ids
from dev.localazure.agent.agent import RUN, Agent, whole_seconds
from dev.localazure.agent.definition import QUICK_RUNS, Definition, of_quick_run, of_task
from dev.localazure.agent.logs import location
from dev.localazure.arm import envelope, tasks
from dev.localazure.arm.groups import page
from dev.localazure.arm.registries import TYPE as REGISTRY
from dev.localazure.arm.runfilter import matcher
from dev.localazure.arm.task_properties import invalid, is_base64
from dev.localazure.blobs import Blobs
from dev.localazure.call import Answer, Call, Handler
from dev.localazure.clock import iso
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.registry.service import RegistryService
from dev.localazure.state import Resource, new_guid

_PAGE_SIZE = 100
_FIELDS = (
    "runId", "status", "lastUpdatedTime", "runType", "createTime", "startTime", "finishTime", "outputImages", "task",
    "platform", "agentConfiguration", "sourceRegistryAuth", "customRegistries", "runErrorMessage",
    "provisioningState", "isArchiveEnabled",
)  # fmt: skip
_SCHEDULED = ("runId", "status", "lastUpdatedTime", "provisioningState", "isArchiveEnabled")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def register(gateway: Gateway, agent: Agent) -> None:
    """Register the operations."""
    registry = f"/subscriptions/{{sub}}/resourceGroups/{{group}}/providers/{REGISTRY}/{{registry}}"
    run = f"{registry}/runs/{{run}}"

    def route(method: str, path: str, action: str, handler: Handler, scope: str | None = None) -> None:
        checked = envelope.supported(RUN, tasks.API_VERSIONS, handler)
        gateway.route(method, path, f"{REGISTRY}/{action}", checked, scope=scope)

    route("POST", f"{registry}/scheduleRun", "scheduleRun/action", partial(_schedule, agent))
    route(
        "POST", f"{registry}/listBuildSourceUploadUrl", "listBuildSourceUploadUrl/action", partial(_upload_url, agent)
    )
    route("GET", f"{registry}/runs", "runs/read", partial(_list, agent), registry)
    route("GET", run, "runs/read", _get)
    route("PATCH", run, "runs/write", _patch)
    route("POST", f"{run}/cancel", "runs/cancel/action", partial(_cancel, agent))
    route("POST", f"{run}/listLogSasUrl", "runs/listLogSasUrl/action", partial(_log_link, agent.blobs))


def view(run: Resource, fields: tuple[str, ...] = _FIELDS) -> dict[str, Any]:
    """Return a run as ACR shows it."""
    properties = {name: run.properties[name] for name in fields if name in run.properties}
    return {"type": RUN, "properties": properties, "id": run.id, "name": run.name, "systemData": run.system_data}


def _new_run_id(registries: RegistryService, registry: Resource) -> str:
    """Return the next id: a letter for the region, then the registry's counter to base 36 (`cf1`, `cfa`, `cf10`)."""
    content = registries.content(registry)
    number, text = content.next_run, ""
    content.next_run += 1
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return f"c{_DIGITS[10 + zlib.crc32(registry.location.encode()) % 26]}{text}"


async def _schedule(agent: Agent, call: Call) -> Answer:
    registry, body = call.resource(), call.object_body()
    _check_allowed(agent, call, registry)
    definition = _definition(call, registry, body)
    _check_platform(body)
    run_id, now = _new_run_id(agent.registries, registry), call.now
    source = definition["credentials"].get("sourceRegistry") or {}
    run = Resource(
        f"{registry.id}/runs/{run_id}", RUN, run_id,
        properties={
            "runId": run_id, "status": "Queued", "lastUpdatedTime": whole_seconds(now),
            "runType": "QuickBuild" if body["type"] == "DockerBuildRequest" else "QuickRun", "createTime": iso(now),
            **({"task": definition["task"]} if definition["task"] else {}),
            "platform": definition["platform"], "agentConfiguration": {"cpu": 2},
            **({"sourceRegistryAuth": "Default"} if source.get("loginMode") == "Default" else {}),
            "provisioningState": "Succeeded", "isArchiveEnabled": bool(body.get("isArchiveEnabled")),
            "_definition": definition,
        },
    )  # fmt: skip
    envelope.stamp(call, run)
    run.system_data = {name: value for name, value in (run.system_data or {}).items() if name.startswith("last")}
    call.core.state.put(run)
    agent.submit(run)
    return Answer(200, view(run, _SCHEDULED))


def _check_allowed(agent: Agent, call: Call, registry: Resource) -> None:
    """Refuse runs in subscriptions that may not have any, as free ones (https://aka.ms/azuresupport)."""
    subscription = call.params["sub"]
    if subscription.lower() in agent.forbidden:
        raise ArmError(
            400, "TasksOperationsNotAllowed",
            f"ACR Tasks requests for the registry {registry.name} and {subscription} are not permitted. Please file an "
            "Azure support request at http://aka.ms/azuresupport for assistance.",
            target="request",
        )  # fmt: skip


def _definition(call: Call, registry: Resource, body: dict[str, Any]) -> Definition:
    kind, caller = body.get("type"), call.principal.object_id
    if kind == "TaskRunRequest":
        task, override = _task(call, registry, body), body.get("overrideTaskStepProperties") or {}
        _check_variables(override)
        return of_task(task.name, task.properties, task.identity, override, caller)
    if kind not in QUICK_RUNS:
        raise invalid("runRequest", [f"Type:Invalid value '{kind}'. The supported values are (TaskRunRequest, "
                                     f"{', '.join(QUICK_RUNS)})"])  # fmt: skip
    required = {"FileTaskRunRequest": "taskFilePath", "EncodedTaskRunRequest": "encodedTaskContent"}.get(kind)
    if required and not body.get(required):
        raise invalid("runRequest", [f"{kind}:Missing required property '{required[0].upper()}{required[1:]}'."])
    if not (body.get("platform") or {}).get("os"):
        raise invalid("runRequest", [f"{kind}:Missing required property 'Platform'."])
    if kind == "EncodedTaskRunRequest" and not is_base64(body["encodedTaskContent"]):
        raise invalid("runRequest", [f"{kind}:The property 'EncodedTaskContent' is not base64 encoded."])
    _check_variables(body)
    return of_quick_run(body, caller)


def _check_variables(holder: Any) -> None:
    """Refuse `arguments` and `values` that are not lists of objects with a name."""
    lists = [holder.get(member) or [] for member in ("arguments", "values")] if isinstance(holder, dict) else [[None]]
    items = [item for found in lists for item in (found if isinstance(found, list) else [found])]
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        raise ArmError(400, "InvalidRequestContent",
                       "The request content was invalid and could not be deserialized: arguments and values must have "
                       "names.")  # fmt: skip


def _task(call: Call, registry: Resource, body: dict[str, Any]) -> Resource:
    """Return the task to run.

    Raises:
        ArmError: 400 for a task id that is not one of this registry, or a disabled task; 404 for a missing one. The
            code for a disabled task is not documented.
    """
    task_id = str(body.get("taskId") or "")
    try:
        parsed = ids.parse(task_id)
    except ValueError:
        parsed = None
    if parsed is None or parsed.type.lower() != tasks.TYPE.lower() or not ids.covers(registry.id, task_id):
        raise invalid("runRequest", [f"TaskId:'{task_id}' is not the id of a task of the registry {registry.name}"])
    task = call.resource(task_id)
    if task.properties["status"] != "Enabled":
        raise ArmError(400, "TaskDisabled", f"The task {task.name} is disabled: it cannot be run.", target="request")
    return task


def _check_platform(body: dict[str, Any]) -> None:
    if (body.get("agentConfiguration") or {}).get("cpu", 2) != 2:
        raise invalid("runRequest",
                      ["AgentProperties:Invalid value for CPU core count. The supported values are (2)"])  # fmt: skip
    if "timeout" in body and body["timeout"] not in range(300, 28_801):
        raise invalid("runRequest", ["Timeout:The value must be between 300 and 28800 seconds"])


async def _upload_url(agent: Agent, call: Call) -> Answer:
    """Hand out a link to upload a source to, for a quick run's `sourceLocation`."""
    registry = call.resource()
    relative = f"source/{call.now:%Y%m%d}0000/{new_guid().replace('-', '')}.tar.gz"
    host, _ = location(registry, "")
    link = agent.blobs.link(host, agent.source_path(registry, relative), permissions="rw")
    return Answer(200, {"relativePath": relative, "uploadUrl": link})


async def _list(agent: Agent, call: Call) -> Answer:
    """List runs, newest first, but for those that the list does not know yet; `$top` limits how many there are."""
    registry = call.resource("/".join(call.scope.split("/")[:9]))
    keep = matcher(call.query.get("$filter", ""))
    known = [run for run in call.core.state.of_type(RUN, registry.id) if agent.is_listed(run)]
    runs = [run for run in known if keep(run.properties)][::-1]
    if top := call.query.get("$top"):
        if not re.fullmatch(r"[1-9]\d*", top):
            raise ArmError(400, "InvalidQueryParameter", f"The value '{top}' of $top is not a positive integer.")
        runs = runs[: int(top)]
    return Answer(200, page(call, [view(run) for run in runs], _PAGE_SIZE))


async def _get(call: Call) -> Answer:
    return Answer(200, view(call.resource()))


async def _patch(call: Call) -> Answer:
    run, body = call.resource(), call.object_body()
    if isinstance(body.get("isArchiveEnabled"), bool):
        run.properties["isArchiveEnabled"] = body["isArchiveEnabled"]
    run.properties["lastUpdatedTime"] = whole_seconds(call.now)
    # ACR knows nobody as the run's creator until somebody updates it.
    run.system_data = run.system_data if "createdBy" in (run.system_data or {}) else None
    envelope.stamp(call, run)
    return Answer(200, view(run))


async def _cancel(agent: Agent, call: Call) -> Answer:
    await agent.cancel(call.resource())
    return Answer(200)


async def _log_link(blobs: Blobs, call: Call) -> Answer:
    run = call.resource()
    registry = call.resource(run.id.rpartition("/runs/")[0])
    return Answer(200, {"logLink": blobs.link(*location(registry, run.name))})

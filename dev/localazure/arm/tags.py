"""Tags of a registry as a resource of their own: what the portal and `az tag` write.

https://learn.microsoft.com/rest/api/resources/tags. The registry itself is not written, and its write event not raised.
"""

from __future__ import annotations

from typing import Any

from dev.localazure.arm import envelope
from dev.localazure.arm.registries import TYPE
from dev.localazure.call import Answer, Call
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.state import Resource

_TAGS = "Microsoft.Resources/tags"


def register(gateway: Gateway) -> None:
    """Register the operations."""
    registry = f"/subscriptions/{{sub}}/resourceGroups/{{group}}/providers/{TYPE}/{{registry}}"
    path = f"{registry}/providers/{_TAGS}/default"
    for method, verb in (("GET", "read"), ("PUT", "write"), ("PATCH", "write")):
        gateway.route(method, path, f"{_TAGS}/{verb}", _answer, scope=registry)


async def _answer(call: Call) -> Answer:
    registry = call.resource()
    if call.request.method != "GET":
        body = call.object_body()
        given = envelope.tags_in(envelope.object_in(body, "properties"), {}) or {}
        operation = str(body.get("operation", "")).lower() if call.request.method == "PATCH" else "replace"
        registry.tags = _changed(registry, operation, given)
    return Answer(body=_view(registry))


def _changed(registry: Resource, operation: str, given: dict[str, str]) -> dict[str, str]:
    names = {name.lower() for name in given}
    others = {name: value for name, value in (registry.tags or {}).items() if name.lower() not in names}
    if operation == "replace":
        return given
    if operation == "merge":
        return {**others, **given}
    if operation == "delete":
        return others
    raise ArmError(400, "InvalidTagPatchOperation", "The operation must be Merge, Replace or Delete.")


def _view(registry: Resource) -> dict[str, Any]:
    return {"id": f"{registry.id}/providers/{_TAGS}/default", "name": "default", "type": _TAGS,
            "properties": {"tags": registry.tags or {}}}  # fmt: skip

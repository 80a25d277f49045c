"""The `properties` of a task: what ACR checks, fills in, merges, and the order it shows them in.

Limits: https://learn.microsoft.com/rest/api/containerregistry/tasks/create and
https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from dev.localazure.arm import envelope
from dev.localazure.errors import ArmError

TIMEOUTS = range(300, 28_801)
_OBJECTS = ("platform", "agentConfiguration", "step", "trigger", "credentials")
_READ_ONLY = ("provisioningState", "creationDate")
_ORDER = (
    "provisioningState", "creationDate", "status", "platform", "agentConfiguration", "agentPoolName", "timeout",
    "step", "trigger", "credentials", "logTemplate", "isSystemTask",
)  # fmt: skip
_STEP_ORDER = (
    "type", "imageNames", "isPushEnabled", "noCache", "dockerFilePath", "target", "taskFilePath", "valuesFilePath",
    "encodedTaskContent", "encodedValuesContent", "arguments", "values", "baseImageDependencies", "contextPath",
    "contextAccessToken",
)  # fmt: skip
_TRIGGER_ORDER = ("baseImageTriggerType", "updateTriggerEndpoint", "updateTriggerPayloadType", "status", "name")

# Step type → its name in error messages and the properties that it must have.
_STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Docker": ("DockerBuildStep", ("imageNames", "dockerFilePath")),
    "FileTask": ("FileTaskStep", ("taskFilePath",)),
    "EncodedTask": ("EncodedTaskStep", ("encodedTaskContent",)),
}


def invalid(what: str, errors: list[str]) -> ArmError:
    """Return ACR's answer to bad properties; `what` is `taskCreateParameters` or `taskUpdateParameters`."""
    return ArmError(400, "InvalidInputValue",
                    f"Some of the properties of '{what}' are invalid.. InnerErrors: {', '.join(errors)}")  # fmt: skip


def normalize(sent: dict[str, Any], api_version: str, what: str) -> dict[str, Any]:
    """Return the properties to store for a PUT: nulls and read-only members left out, defaults filled in.

    Raises:
        ArmError: 400 `InvalidInputValue`.
    """
    _check_shape(sent)
    # This drops nulls, null credentials among them: a PUT made from a GET loses what the GET hid.
    properties = envelope.merge({}, _known(sent, api_version))
    for name in _READ_ONLY:
        properties.pop(name, None)
    if not properties.get("credentials"):
        properties.pop("credentials", None)
    if step := properties.get("step"):
        step.pop("baseImageDependencies", None)
        if step.get("type") == "Docker":
            properties["step"] = {"isPushEnabled": True, "noCache": False, **step}
    properties = {"status": "Enabled", "timeout": 3600, **properties}
    if not properties.get("agentPoolName"):
        properties["agentConfiguration"] = {"cpu": 2, **properties.get("agentConfiguration", {})}
    if properties.get("platform"):
        properties["platform"].setdefault("architecture", "amd64")
    _check(properties, what)
    return properties


def _check_shape(sent: dict[str, Any]) -> None:
    """Refuse JSON that does not deserialize, wherever the rest of this module would trip over it."""
    members = {name: envelope.object_in(sent, name) for name in _OBJECTS}
    for name in ("arguments", "values"):
        _check_list(name, members["step"].get(name))
    for name, value in members["trigger"].items():
        if name != "baseImageTrigger":
            _check_list(name, value)
    envelope.object_in(members["trigger"], "baseImageTrigger")
    envelope.object_in(members["credentials"], "sourceRegistry")
    hosts = envelope.object_in(members["credentials"], "customRegistries")
    for host in hosts:
        envelope.object_in(hosts, host)


def _check_list(name: str, value: Any) -> None:
    for item in value if isinstance(value, list) else [value]:
        envelope.object_in({name: item}, name)


def _known(sent: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Leave out what the api-version does not know: `sourceRegistry.identity` came with 2025-03-01-preview."""
    source = (sent.get("credentials") or {}).get("sourceRegistry") or {}
    if api_version < "2025" and "identity" in source:
        source = {name: value for name, value in source.items() if name != "identity"}
        return {**sent, "credentials": {**sent["credentials"], "sourceRegistry": source}}
    return sent


def _check(properties: dict[str, Any], what: str) -> None:
    errors = [*_check_settings(properties), *_check_step(properties.get("step", {}))]
    if errors:
        raise invalid(what, errors)


def _check_settings(properties: dict[str, Any]) -> list[str]:
    errors = []
    if properties["status"] not in ("Enabled", "Disabled"):
        errors.append(f"Status:Invalid value '{properties['status']}'. The supported values are (Enabled, Disabled)")
    system = str(properties.get("platform", {}).get("os", "")).lower()
    if not system:
        errors.append("Task:Missing required property 'Platform'.")
    elif system not in ("linux", "windows"):
        errors.append("Platform:Invalid value for OS. The supported values are (Linux, Windows)")
    if properties.get("agentConfiguration", {}).get("cpu", 2) != 2:
        errors.append("AgentProperties:Invalid value for CPU core count. The supported values are (2)")
    timeout = properties["timeout"]
    if not isinstance(timeout, int) or timeout not in TIMEOUTS:
        errors.append(f"Timeout:The value must be between {TIMEOUTS.start} and {TIMEOUTS.stop - 1} seconds")
    return errors


def _check_step(step: dict[str, Any]) -> list[str]:
    if not step:
        return ["Task:Missing required property 'Step'."]
    kind = step.get("type")
    if kind not in _STEPS:
        return [f"Step:Invalid value '{kind}' for the type. The supported values are ({', '.join(_STEPS)})"]
    label, required = _STEPS[kind]
    errors = [f"{label}:Missing required property '{_title(name)}'." for name in required if not step.get(name)]
    encoded = [name for name in ("encodedTaskContent", "encodedValuesContent") if step.get(name)]
    bad = [name for name in encoded if not is_base64(step[name])]
    return errors + [f"{label}:The property '{_title(name)}' is not base64 encoded." for name in bad]


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


def is_base64(text: Any) -> bool:
    """Tell whether this is text in base64."""
    try:
        base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        return False
    return True


def merge(stored: dict[str, Any], sent: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Return the properties after a PATCH.

    Members not sent stay, empty objects and nulls change nothing, lists are replaced, and the step must repeat its
    type (another type replaces the step). Triggers of a list are merged by name. A credential is replaced as a
    whole, and null removes it: `{"customRegistries": {"host": null}}`; null also clears a member of `sourceRegistry`.

    Raises:
        ArmError: 400 `InvalidInputValue`.
    """
    what = "taskUpdateParameters"
    _check_shape(sent)
    patch = {name: value for name, value in _known(sent, api_version).items() if name not in _READ_ONLY}
    step, trigger, credentials = patch.pop("step", None), patch.pop("trigger", None), patch.pop("credentials", None)
    properties = envelope.merge(stored, patch)
    if step:
        if not step.get("type"):
            raise invalid(what, ["Step:Missing required property 'Type'."])
        step = {name: value for name, value in step.items() if name != "baseImageDependencies"}
        same = step["type"] == stored["step"]["type"]
        properties["step"] = envelope.merge(stored["step"] if same else {}, step)
    if trigger:
        properties["trigger"] = _merge_triggers(stored.get("trigger", {}), trigger)
    if credentials:
        merged = _merge_credentials(stored.get("credentials", {}), credentials)
        properties.pop("credentials", None)
        if merged:
            properties["credentials"] = merged
    _check(properties, what)
    return properties


def _merge_triggers(stored: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    merged = dict(stored)
    for name, value in sent.items():
        if isinstance(value, list):
            by_name = {trigger.get("name"): trigger for trigger in stored.get(name, [])}
            for trigger in value:
                by_name[trigger.get("name")] = envelope.merge(by_name.get(trigger.get("name"), {}), trigger)
            merged[name] = list(by_name.values())
        elif isinstance(value, dict):
            merged[name] = envelope.merge(stored.get(name, {}), value)
    return merged


def _merge_credentials(stored: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    merged = dict(stored)
    if source := sent.get("sourceRegistry"):
        kept = {**stored.get("sourceRegistry", {}), **source}
        merged["sourceRegistry"] = {name: value for name, value in kept.items() if value is not None}
        if not merged["sourceRegistry"]:
            del merged["sourceRegistry"]
    if hosts := sent.get("customRegistries"):
        kept = {**stored.get("customRegistries", {}), **hosts}
        merged["customRegistries"] = {host: value for host, value in kept.items() if value is not None}
    return merged


def _sort(value: dict[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    first = {name: value[name] for name in order if name in value}
    return {**first, **value}


def ordered(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties in the order in which ACR shows them."""
    shown = _sort(properties, _ORDER)
    shown["step"] = _sort(shown["step"], _STEP_ORDER)
    trigger = shown.get("trigger", {})
    if "baseImageTrigger" in trigger:
        trigger["baseImageTrigger"] = _sort(trigger["baseImageTrigger"], _TRIGGER_ORDER)
    return shown

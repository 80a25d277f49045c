"""What the host reads before it loads the app: ``host.json`` and the app settings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

MAX_BATCH_SIZE = 32
MIN_POLLING_INTERVAL = timedelta(milliseconds=100)

OVERRIDES = "AzureFunctionsJobHost"

_TIME_SPAN = re.compile(
    r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2}(?:\.\d+)?))?"
)
_SETTING_REFERENCE = re.compile(r"%([^%]*)%")


class SettingsError(Exception):
    """A settings file is missing, unreadable or holds a value that the host refuses; the text names file and field."""


class UnresolvedSettingError(Exception):
    """A binding refers to an app setting that does not exist."""


@dataclass(frozen=True)
class QueueOptions:
    """``extensions.queues`` of host.json.

    See https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json.
    ``max_polling_interval`` defaults to two seconds, the default of local development; it is a minute in Azure.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: timedelta = timedelta(0)
    max_polling_interval: timedelta = timedelta(seconds=2)
    base64: bool = True


@dataclass(frozen=True)
class HostJson:
    """The parts of host.json that the host obeys."""

    route_prefix: str = "api"
    queues: QueueOptions = field(default_factory=QueueOptions)
    function_timeout: timedelta | None = timedelta(minutes=30)
    functions: frozenset[str] | None = None
    """Names of the functions to load; None loads all."""
    log_levels: Mapping[str, str] = field(default_factory=dict)
    open_telemetry: bool = False


def parse_time_span(text: str) -> timedelta:
    """Read a .NET time span such as ``00:01:30``, ``1.00:00:00`` or ``00:00:00.500``.

    Raises:
        ValueError: the text is no time span.
    """
    match = _TIME_SPAN.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a time span like 00:01:30")
    parts = {name: float(value) for name, value in match.groupdict(default="0").items()}
    if parts["hours"] > 23 or parts["minutes"] > 59 or parts["seconds"] >= 60:
        raise ValueError(f"'{text}' is not a time span like 00:01:30")
    return timedelta(**parts)


def load_host_json(app_dir: Path, settings: AppSettings | None = None) -> HostJson:
    """Read ``host.json``, which must lie at the root of the app.

    A setting ``AzureFunctionsJobHost__section__name`` stands for a value of the file:
    https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values.

    Raises:
        SettingsError: the file is missing, is no JSON, or a value is out of its range.
    """
    document = _read_json_object(app_dir / "host.json")
    try:
        for name, value in (settings.below(OVERRIDES) if settings else {}).items():
            _override(document, name.split("__"), value)
        return _parse_host_json(document)
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"host.json: {error}") from error


def load_app_settings(path: Path) -> list[str]:
    """Put the ``Values`` of a local.settings.json into the environment and return the names that were skipped.

    As with Azure Functions Core Tools, a variable that is already set wins over the file.
    See https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file.

    Raises:
        SettingsError: the file is unreadable, encrypted, or a value is not a scalar.
    """
    document = _read_json_object(path)
    if document.get("IsEncrypted"):
        raise SettingsError(f"{path.name}: encrypted settings cannot be read; run 'func settings decrypt'")
    values = document.get("Values", {})
    if not isinstance(values, dict):
        raise SettingsError(f"{path.name}: Values must be an object")
    skipped = []
    for name, value in values.items():
        if isinstance(value, dict | list) or value is None:
            raise SettingsError(f"{path.name}: Values.{name} must be a string")
        if name in os.environ:
            skipped.append(name)
        else:
            os.environ[name] = value if isinstance(value, str) else json.dumps(value)
    return skipped


class AppSettings:
    """Read access to the app settings, with the look-up rules of .NET configuration.

    Names are compared without case, and ``:`` and ``__`` both separate sections.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._values = {_canonical(name): value for name, value in environment.items()}

    def get(self, name: str) -> str | None:
        """Return the value of a setting, or None when it is missing or empty."""
        return self._values.get(_canonical(name)) or None

    def below(self, section: str) -> dict[str, str]:
        """Return the settings of a section by their names in it."""
        prefix = _canonical(section) + "__"
        found = {name: value for name, value in self._environment.items() if _canonical(name).startswith(prefix)}
        return {name.replace(":", "__")[len(prefix) :]: value for name, value in found.items()}

    def resolve(self, text: str) -> str:
        """Replace each ``%NAME%`` in a binding property by the value of that setting.

        Raises:
            UnresolvedSettingError: a setting is missing or empty.
        """

        def value_of(match: re.Match[str]) -> str:
            value = self.get(match[1])
            if value is None:
                raise UnresolvedSettingError(f"'%{match[1]}%' does not resolve to a value")
            return value

        return _SETTING_REFERENCE.sub(value_of, text)


def _canonical(name: str) -> str:
    return name.replace(":", "__").upper()


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SettingsError(f"no {path.name} in {path.parent}") from error
    except ValueError as error:
        raise SettingsError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path.name} must hold a JSON object")
    return document


def _override(document: dict[str, Any], path: list[str], text: str) -> None:
    """Put a value into a document, whose names are compared without case."""
    name = next((name for name in document if name.lower() == path[0].lower()), path[0])
    if len(path) > 1:
        _override(document.setdefault(name, {}), path[1:], text)
    else:
        document[name] = int(text) if text.isdecimal() else text


def _parse_host_json(document: dict[str, Any]) -> HostJson:
    if document.get("version") != "2.0":
        raise ValueError('"version" must be "2.0"')
    extensions = document.get("extensions", {})
    timeout = document.get("functionTimeout", "00:30:00")
    allowed = document.get("functions")
    return HostJson(
        route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
        queues=_parse_queues(extensions.get("queues", {})),
        function_timeout=None if timeout == "-1" else parse_time_span(timeout),
        functions=None if allowed is None else frozenset(allowed),
        log_levels=dict(document.get("logging", {}).get("logLevel", {})),
        open_telemetry=str(document.get("telemetryMode", "")).lower() == "opentelemetry",
    )


def _parse_queues(section: dict[str, Any]) -> QueueOptions:
    default = QueueOptions()
    batch_size = _integer(section, "batchSize", default.batch_size)
    if not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise ValueError(f"extensions.queues.batchSize must be 1 to {MAX_BATCH_SIZE}, not {batch_size}")
    threshold = _integer(section, "newBatchThreshold", batch_size // 2 * (os.cpu_count() or 1))
    if threshold < 0:
        raise ValueError("extensions.queues.newBatchThreshold must not be negative")
    max_dequeue_count = _integer(section, "maxDequeueCount", default.max_dequeue_count)
    if max_dequeue_count < 1:
        raise ValueError("extensions.queues.maxDequeueCount must be at least 1")
    polling = _time_span(section, "maxPollingInterval", default.max_polling_interval)
    if polling < MIN_POLLING_INTERVAL:
        raise ValueError("extensions.queues.maxPollingInterval must be at least 00:00:00.100")
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        raise ValueError(f"extensions.queues.messageEncoding must be base64 or none, not '{encoding}'")
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=threshold,
        max_dequeue_count=max_dequeue_count,
        visibility_timeout=_time_span(section, "visibilityTimeout", default.visibility_timeout),
        max_polling_interval=polling,
        base64=encoding == "base64",
    )


def _integer(section: dict[str, Any], name: str, default: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"extensions.queues.{name} must be an integer, not {value!r}")
    return value


def _time_span(section: dict[str, Any], name: str, default: timedelta) -> timedelta:
    if name not in section:
        return default
    try:
        return parse_time_span(str(section[name]))
    except ValueError as error:
        raise ValueError(f"extensions.queues.{name}: {error}") from error

"""Log lines of the host and of the app, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

HOST_LOGGER = __package__

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "function", "invocation"}


class InvocationLog:
    """Knows which function each running invocation belongs to, so that a log record can name it.

    The host itself runs none: its records name their invocation themselves.
    """

    def __init__(self, current_invocation_id: Callable[[], str | None] = lambda: None) -> None:
        self._current_invocation_id = current_invocation_id
        self._functions: dict[str, str] = {}

    def started(self, invocation_id: str, function: str) -> None:
        """Remember a running invocation."""
        self._functions[invocation_id] = function

    def finished(self, invocation_id: str) -> None:
        """Forget an invocation."""
        self._functions.pop(invocation_id, None)

    def attach(self, record: logging.LogRecord) -> bool:
        """Write function and invocation id into a record; usable as a logging filter."""
        if not hasattr(record, "invocation"):
            invocation_id = self._current_invocation_id() or ""
            record.invocation = invocation_id
            record.function = self._functions.get(invocation_id, "")
        return True


class LevelFilter:
    """Applies ``logging.logLevel`` of host.json: the longest category that is a prefix of the record's decides.

    Categories are ``Function.<name>.User`` for the app's own records and ``Function.<name>`` or ``Host`` for the
    host's. See https://learn.microsoft.com/azure/azure-functions/configure-monitoring#configure-log-levels.
    """

    def __init__(self, log_levels: Mapping[str, str]) -> None:
        self._levels = {
            name.lower(): _LEVELS[level.lower()] for name, level in log_levels.items() if level.lower() in _LEVELS
        }

    def allows(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be written; usable as a logging filter."""
        own = record.name.startswith(HOST_LOGGER)
        function = getattr(record, "function", "")
        category = f"Function.{function}" if function else "Host"
        if not own:
            category = f"Function.{function}.User" if function else "Worker"
        candidate = category.lower()
        while candidate:
            if candidate in self._levels:
                return record.levelno >= self._levels[candidate]
            candidate = candidate.rpartition(".")[0]
        return record.levelno >= self._levels.get("default", logging.INFO)


class TextFormatter(logging.Formatter):
    """One readable line for each record: time, level, function and short invocation id, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        function, invocation = getattr(record, "function", ""), getattr(record, "invocation", "")
        where = f"{function} {invocation[:8]}  " if function else ""
        source = "" if record.name.startswith(HOST_LOGGER) else f"{record.name}: "
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {where}{source}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object for each record, with the attributes that the app passed as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON text."""
        document: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "function": getattr(record, "function", ""),
            "invocationId": getattr(record, "invocation", ""),
            "message": record.getMessage(),
        }
        document |= {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def configure_logging(*, as_json: bool, invocations: InvocationLog, log_levels: Mapping[str, str], debug: bool) -> None:
    """Send every record of the process to standard error, as the worker's root handler does.

    Args:
        as_json: write JSON lines instead of text.
        invocations: names the invocation of a record.
        log_levels: ``logging.logLevel`` of host.json.
        debug: let the app's debug records through (``PYTHON_ENABLE_DEBUG_LOGGING`` in Azure).
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    handler.addFilter(invocations.attach)
    handler.addFilter(LevelFilter(log_levels).allows)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    # The host's own storage client is not the app's business; the app can still raise the level of its own loggers.
    logging.getLogger(HOST_LOGGER).setLevel(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.WARNING)

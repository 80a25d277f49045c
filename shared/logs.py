"""Structured logs: a sentence for people and the same facts as fields for programs.

Callers name the fields one by one, so nothing that was not meant for a log (a token, an event's claims) gets in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from shared.domain.echo import shown as fit

# The SDKs log every request at INFO, which drowns the decisions, and the exporter would export that it exported.
for _name in ("azure.core.pipeline.policies.http_logging_policy", "azure.identity", "azure.monitor.opentelemetry"):
    logging.getLogger(_name).setLevel(logging.WARNING)


_common: ContextVar[Mapping[str, Any]] = ContextVar("common", default=MappingProxyType({}))


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Let all records of a block carry these fields, e.g. the id of the event that it handles."""
    token = _common.set({**_common.get(), **fields})
    try:
        yield
    finally:
        _common.reset(token)


class Log:
    """A logger whose records carry fields, e.g. `log.info("run scheduled", registry=…, run_id=…)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"groundswell.{name}")

    def info(self, text: str, **fields: Any) -> None:
        """Log what happened."""
        self._write(logging.INFO, text, fields)

    def warning(self, text: str, **fields: Any) -> None:
        """Log what somebody may want to look at."""
        self._write(logging.WARNING, text, fields)

    def error(self, text: str, **fields: Any) -> None:
        """Log what somebody has to act on."""
        self._write(logging.ERROR, text, fields)

    def _write(self, level: int, text: str, fields: dict[str, Any]) -> None:
        fields = {**_common.get(), **fields}
        kept = {name: _plain(value) for name, value in fields.items() if value not in (None, "")}
        shown = " ".join(f"{name}={_show(value)}" for name, value in kept.items())
        # A prefix keeps the fields clear of the attributes that log records have of their own.
        extra = {f"groundswell.{name}": value for name, value in kept.items()}
        self._logger.log(level, "%s %s", text, shown, extra=extra)


def _plain(value: object) -> bool | int | float | str:
    """Return a value as one that OpenTelemetry accepts in an attribute."""
    return value if isinstance(value, bool | int | float) else fit(value, 4000)


def _show(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text

"""What host and worker process say to each other, besides invocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.functionshost.model import Function, InvocationResult


@dataclass(frozen=True)
class Start:
    """The host's first message: which app to run, and how."""

    app_dir: Path
    kind: str
    log_json: bool
    log_levels: Mapping[str, str]
    debug: bool


@dataclass(frozen=True)
class Indexed:
    """The worker's first message: its name and the app's functions, or why there are none."""

    worker: str
    functions: list[Function]
    error: str = ""
    details: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of an invocation."""

    invocation: str
    result: InvocationResult

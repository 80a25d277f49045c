"""Runs of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.echo import shown
from shared.domain.moments import moment

TERMINAL = frozenset({"Succeeded", "Failed", "Canceled", "Error", "Timeout"})
"""Run statuses that stay (https://learn.microsoft.com/rest/api/containerregistry/runs/get)."""


@dataclass(frozen=True)
class Run:
    """A run of a task.

    Attributes:
        status: ACR's word: Queued, Started, Running, Succeeded, Failed, Canceled, Error or Timeout.
        created, started, finished: When, or None.
        images: What it pushed, as `registry/repository:tag@digest`.
        error: ACR's `runErrorMessage`, or "".
    """

    id: str
    status: str
    task: str = ""
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    images: tuple[str, ...] = ()
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether the status will not change any more."""
        return self.status in TERMINAL


def from_arm(resource: Mapping[str, Any]) -> Run:
    """Read a run from ARM's JSON.

    Raises:
        KeyError, TypeError, AttributeError: It is none.
    """
    properties: Mapping[str, Any] = resource.get("properties") or {}
    return Run(
        id=str(properties.get("runId") or resource["name"]),
        status=str(properties.get("status") or "Queued"),
        task=str(properties.get("task") or ""),
        created=moment(properties.get("createTime")),
        started=moment(properties.get("startTime")),
        finished=moment(properties.get("finishTime")),
        images=tuple(
            f"{i.get('registry')}/{i.get('repository')}:{i.get('tag')}@{i.get('digest')}"
            for i in properties.get("outputImages") or []
            if isinstance(i, Mapping)
        ),
        error=shown(properties.get("runErrorMessage") or "", 1000),
    )

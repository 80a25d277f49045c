"""Moments: who tells them, and how Azure writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Tells the present moment, in UTC."""


def moment(text: object) -> datetime | None:
    """Read an ISO 8601 moment with its offset; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None

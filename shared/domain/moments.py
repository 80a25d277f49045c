"""Moments as Azure writes them."""

from __future__ import annotations

from datetime import datetime


def moment(text: object) -> datetime | None:
    """Read an ISO 8601 moment with its offset; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None

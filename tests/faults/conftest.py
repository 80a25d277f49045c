"""Storage for the tests under faults, and how long these run."""

from __future__ import annotations

from tests.integration.conftest import azurite, world

__all__ = ["azurite", "world"]

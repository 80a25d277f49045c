"""The fixtures that all tests below share."""

from dev.testing.azure import azure, owner, session

__all__ = ["azure", "owner", "session"]

"""The fixtures that all tests below share."""

from dev.testing.azure import azure, owner, session
from dev.testing.usual_ports import usual_ports

__all__ = ["azure", "owner", "session", "usual_ports"]

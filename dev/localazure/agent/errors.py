"""How a run ends when it does not succeed."""

from __future__ import annotations


class RunFailed(Exception):
    """The run cannot go on; the message is what the agent prints last, in the words of ACR or docker."""


class TimedOut(Exception):
    """The run used up the task's timeout."""

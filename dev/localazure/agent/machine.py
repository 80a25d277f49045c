"""What a run finds on ACR's build agents: how fast they work, where they stand and what they reach."""

from __future__ import annotations

from dev.localazure.agent.context import Contexts
from dev.localazure.agent.logs import location
from dev.localazure.blobs import Blobs
from dev.localazure.core import Core
from dev.localazure.registry.service import RegistryService
from dev.localazure.state import Resource


class Machine:
    """The machines that runs work on.

    Attributes:
        pace: Seconds on Azure's clock that one piece of work takes (a login, a scan, a push, …); a run of two steps
            has six to eight of them. For a timeline like Azure's, use about 3.
        address: From where registries see the agents, which have public addresses of their own.
        contexts: Which local folder stands for which git repository.
    """

    def __init__(self, core: Core, registries: RegistryService, blobs: Blobs) -> None:
        """Reach these registries, and the storage account for logs and uploaded sources."""
        self.clock, self.state = core.clock, core.state
        self.registries, self.blobs = registries, blobs
        self.pace = 0.2
        self.address = "203.0.113.9"
        self.contexts = Contexts()

    def source_path(self, registry: Resource, relative: str) -> str:
        """Return container and path of a source that was uploaded for a registry."""
        return f"{location(registry, '')[1].partition('/')[0]}/{relative}"

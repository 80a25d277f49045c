"""What every service of a local Azure rests on: its clock and state, who may do what, and the way in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from dev.localazure.clock import Clock, iso
from dev.localazure.front import Front
from dev.localazure.identity import Identity
from dev.localazure.journal import Journal
from dev.localazure.proxy import Proxy
from dev.localazure.rbac import OWNER, ROLE_ASSIGNMENT, Rbac
from dev.localazure.replicas import Replicas
from dev.localazure.restrictions import Restrictions
from dev.localazure.state import DEFAULT_SUBSCRIPTION, SUBSCRIPTION, App, Resource, State, new_guid
from dev.localazure.throttle import Throttle
from dev.localazure.tls import Authority
from dev.localazure.tokens import Tokens


class Core:
    """The bottom of one local Azure. Services take it; it knows none of them.

    Attributes:
        owner: The workload that set this Azure up: it is Owner of everything, as the person who creates a
            subscription is.
        on_forget: What services do when a resource is removed.
    """

    def __init__(self, clock: Clock | None = None, authority: Authority | None = None) -> None:
        """Begin with an empty state.

        Args:
            clock: Azure's clock (default: real time).
            authority: The certificate authority. Clients read its bundle once, when their HTTP library is imported,
                so tests that share a process make it first and hand it to every Azure.
        """
        self.clock = clock or Clock()
        self.state = State()
        self.journal = Journal()
        self.tokens = Tokens(self.clock, self.state.tenant)
        self.rbac = Rbac(self.state, self.clock)
        self.identity = Identity(self.state, self.clock, self.tokens)
        self.throttle = Throttle(self.clock)
        self.restrictions = Restrictions()
        self.replicas = Replicas(self.clock)
        self.authority = authority or Authority()
        self.front = Front(self.clock, self.journal, self.identity, self.authority)
        self.proxy = Proxy(0)
        self.on_forget: list[Callable[[Resource], None]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.owner = self._create_world()

    def _create_world(self) -> App:
        self.create_subscription(DEFAULT_SUBSCRIPTION, "Local subscription")
        owner = self.identity.create_app("owner")
        assert owner.system_assigned  # noqa: S101 - create_app always makes one
        self.grant(owner.system_assigned, OWNER, "/")
        return owner

    def create_subscription(self, subscription: str, name: str) -> Resource:
        """Create an empty subscription."""
        resource_id = f"/subscriptions/{subscription}"
        return self.state.put(Resource(resource_id, SUBSCRIPTION, subscription, properties={"displayName": name}))

    def grant(self, object_id: str, role: str, scope: str) -> Resource:
        """Assign a role at once, past ARM and with no delay (for setting the scene)."""
        name, now = new_guid(), iso(self.clock.now())
        prefix = "" if scope == "/" else scope
        return self.state.put(
            Resource(
                f"{prefix}/providers/{ROLE_ASSIGNMENT}/{name}", ROLE_ASSIGNMENT, name,
                properties={
                    "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
                    "principalId": object_id, "principalType": "ServicePrincipal", "scope": scope,
                    "condition": None, "conditionVersion": None, "createdOn": now, "updatedOn": now,
                    "effectiveAt": now,
                },
            )
        )  # fmt: skip

    def forget(self, resource: Resource) -> None:
        """Clean up behind a removed resource: its principals, data plane, … (services add to `on_forget`)."""
        self.identity.delete_principals_of(resource.id)
        for clean_up in self.on_forget:
            clean_up(resource)

    @property
    def ca_bundle(self) -> Path:
        """Where the CA certificate lies while servers run."""
        if self._folder is None:
            raise RuntimeError("localazure is not running")
        return Path(self._folder.name) / "ca.pem"

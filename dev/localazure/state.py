"""Everything localazure knows, as plain data: what a directory given to `--data` keeps between two starts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dev.localazure import ids

DEFAULT_SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
SUBSCRIPTION = "Microsoft.Resources/subscriptions"
DEFAULT_TENANT = "00000000-0000-4000-8000-00000000000a"


@dataclass
class Resource:
    """One ARM resource of any type, with its full properties (secrets included: views leave them out).

    Attributes:
        id: The id in the casing ARM shows.
        properties: What the resource provider keeps under `properties`.
        identity: The managed identity block as ARM shows it, or None.
        system_data: `createdBy`, `createdAt` and so on, or None where the provider shows none.
    """

    id: str
    type: str
    name: str
    location: str = ""
    tags: dict[str, str] | None = None
    sku: dict[str, str] | None = None
    identity: dict[str, Any] | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    system_data: dict[str, Any] | None = None


@dataclass
class Principal:
    """A service principal or user that tokens are issued to.

    Attributes:
        object_id: The principal id, which role assignments name.
        app_id: The client id, which credentials name.
        kind: `ServicePrincipal` or `User`.
        resource_id: The Azure resource that it is the identity of ("" for a person).
        explicit: True for a user-assigned identity.
        visible_at: When the directory starts to know it (ISO 8601), for PrincipalNotFound right after creation.
        created_at: When it was made (ISO 8601).
    """

    object_id: str
    app_id: str
    name: str
    kind: str = "ServicePrincipal"
    resource_id: str = ""
    explicit: bool = False
    visible_at: str = ""
    created_at: str = ""


@dataclass
class App:
    """A workload with a managed-identity endpoint of its own: an `IDENTITY_HEADER` and the identities behind it."""

    name: str
    header: str
    system_assigned: str | None = None
    user_assigned: list[str] = field(default_factory=list)


@dataclass
class Manifest:
    """A pushed manifest or index."""

    digest: str
    media_type: str
    body: bytes
    created: str


@dataclass
class Tag:
    """A tag and what it points to."""

    name: str
    digest: str
    created: str
    updated: str


@dataclass
class Repository:
    """Manifests and tags of one repository."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)


@dataclass
class RegistryContent:
    """The data plane of one registry, found by its login server.

    Attributes:
        replicas: Further regions that it is copied to, by the replications' names.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    next_run: int = 1
    replicas: dict[str, str] = field(default_factory=dict)


@dataclass
class Blob:
    """A blob of the storage account behind run logs and uploaded sources."""

    body: bytearray = field(default_factory=bytearray)
    metadata: dict[str, str] = field(default_factory=dict)
    modified: str = ""


@dataclass
class Delivery:
    """Events that Event Grid still has to bring to an event subscription's destination, in one request.

    Attributes:
        subscription: Resource id of the event subscription.
        events: The events in EventGridSchema; more than one only if the subscription asks for batches.
        published: When they came in (ISO 8601); their time to live counts from here.
        due: When the next step is due: an attempt, or the writing of the dead letter.
        attempts: How many attempts were made.
        outcome: Event Grid's word for how the last attempt ended.
        dead: Why Event Grid gave up ("" while it has not).
    """

    subscription: str
    events: list[dict[str, Any]]
    published: str
    due: str
    attempts: int = 0
    attempted: str = ""
    outcome: str = ""
    dead: str = ""


@dataclass
class State:
    """All of localazure's data.

    Attributes:
        resources: ARM resources by lower-case id; subscriptions and resource groups are resources too.
        principals: Directory objects by object id.
        apps: Managed-identity endpoints by their header secret.
        content: Registry data planes by login server.
        blobs: Blobs by `container/path`.
        deliveries: What Event Grid has not delivered yet, by an id of its own.
    """

    tenant: str = DEFAULT_TENANT
    resources: dict[str, Resource] = field(default_factory=dict)
    principals: dict[str, Principal] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    content: dict[str, RegistryContent] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)

    def get(self, resource_id: str) -> Resource | None:
        """Return the resource with this id, in any casing."""
        return self.resources.get(resource_id.rstrip("/").lower())

    def put(self, resource: Resource) -> Resource:
        """Store a resource under its id."""
        self.resources[resource.id.rstrip("/").lower()] = resource
        return resource

    def remove(self, resource_id: str) -> list[Resource]:
        """Remove a resource and everything below it; return what was removed."""
        gone = [key for key in self.resources if ids.covers(resource_id, key)]
        return [self.resources.pop(key) for key in gone]

    def of_type(self, kind: str, scope: str = "/") -> Iterator[Resource]:
        """Yield the resources of one type (any casing) at or below a scope, in order of creation."""
        for key, resource in list(self.resources.items()):
            if resource.type.lower() == kind.lower() and ids.covers(scope, key):
                yield resource

    def principal_by_app_id(self, app_id: str) -> Principal | None:
        """Return the principal whose client id this is."""
        return next((p for p in self.principals.values() if p.app_id.lower() == app_id.lower()), None)


def new_guid() -> str:
    """Return a fresh GUID as text."""
    return str(uuid.uuid4())

"""Azure resource ids: `/subscriptions/{s}/resourceGroups/{g}/providers/{Namespace}/{type}/{name}/…`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceId:
    """A parsed resource id. Azure compares ids without regard to case; `key` is the form to compare."""

    subscription: str
    group: str
    namespace: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def type(self) -> str:
        """The full resource type, e.g. `Microsoft.ContainerRegistry/registries/tasks`."""
        return "/".join((self.namespace, *self.types))

    @property
    def name(self) -> str:
        """The resource's own name (the last segment)."""
        return self.names[-1] if self.names else self.group

    def __str__(self) -> str:
        """Return the id as ARM writes it."""
        text = f"/subscriptions/{self.subscription}"
        if self.group:
            text += f"/resourceGroups/{self.group}"
        if self.namespace:
            text += f"/providers/{self.namespace}"
            for kind, name in zip(self.types, self.names, strict=True):
                text += f"/{kind}/{name}"
        return text

    @property
    def key(self) -> str:
        """The id in lower case: what stores and comparisons use."""
        return str(self).lower()


def parse(text: str) -> ResourceId:
    """Parse a resource id.

    Raises:
        ValueError: The text is not a resource id.
    """
    parts = text.strip("/").split("/")
    if len(parts) < 2 or parts[0].lower() != "subscriptions":
        raise ValueError(f"not a resource id: {text!r}")
    subscription, rest = parts[1], parts[2:]
    group = ""
    if rest[:1] and rest[0].lower() == "resourcegroups" and len(rest) > 1:
        group, rest = rest[1], rest[2:]
    if not rest:
        return ResourceId(subscription, group, "", (), ())
    if rest[0].lower() != "providers" or len(rest) < 4 or len(rest) % 2:
        raise ValueError(f"not a resource id: {text!r}")
    return ResourceId(subscription, group, rest[1], tuple(rest[2::2]), tuple(rest[3::2]))


def covers(scope: str, target: str) -> bool:
    """Tell whether `scope` is `target` or one of its ancestors (`/` covers everything)."""
    scope, target = scope.rstrip("/").lower(), target.rstrip("/").lower()
    return target == scope or target.startswith(scope + "/")

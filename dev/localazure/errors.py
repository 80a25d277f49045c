"""The errors that Azure answers with, in ARM's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ArmError(Exception):
    """A refusal that becomes ARM's error body `{"error": {"code", "message"}}`.

    Attributes:
        status: HTTP status code.
        code: ARM's machine-readable error code, e.g. `ResourceNotFound`.
        message: The sentence for people.
        headers: Extra response headers (`Retry-After`, `x-ms-failure-cause`, …).
        gateway: True when the gateway itself refuses, before a resource provider is reached.
        additional_info: What policies add to the error.
        extra: Members beside `error` in the body (ACR puts a `status` there).
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        gateway: bool = False,
        target: str | None = None,
        additional_info: list[dict[str, Any]] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """See the class for the meaning of each argument."""
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})
        self.gateway = gateway
        self.target = target
        self.additional_info = additional_info
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        if self.additional_info is not None:
            error["additionalInfo"] = self.additional_info
        return {"error": error, **self.extra}


def resource_not_found(kind: str, name: str, group: str) -> ArmError:
    """Return ARM's answer for a resource that does not exist, e.g. kind `Microsoft.ContainerRegistry/registries`."""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )

"""The errors of the OCI distribution API, with Azure Container Registry's texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


class RegistryError(Exception):
    """A refusal that becomes `{"errors": [{"code", "message", "detail"}]}`.

    Codes: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes.

    Attributes:
        status: HTTP status code.
        code: The specification's error code, e.g. `MANIFEST_UNKNOWN`.
        message: The sentence for people.
        detail: Anything JSON can hold; None becomes null.
        headers: Extra response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """See the class for the meaning of each argument."""
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.detail = status, code, message, detail
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """Return the answer to the client."""
        body = {"errors": [{"code": self.code, "message": self.message, "detail": self.detail}]}
        return json_response(body, self.status, self.headers)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer as the registry writes it: compact, with a newline at the end."""
    text = json.dumps(body, separators=(",", ":")) + "\n"
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


class PageNotFound(RegistryError):
    """A path that ACR's router does not know: the one refusal that is plain text."""

    def __init__(self) -> None:
        super().__init__(404, "NOT_FOUND", "404 page not found")

    def response(self) -> web.Response:
        """Return the answer to the client."""
        return web.Response(status=404, text="404 page not found\n")


def manifest_unknown(reference: str) -> RegistryError:
    """Return the answer for a tag or digest that does not exist."""
    if reference.startswith("sha256:"):
        return RegistryError(
            404, "MANIFEST_UNKNOWN", f"manifest {reference} is not found", {"name": "", "revision": reference}
        )
    return RegistryError(404, "MANIFEST_UNKNOWN", f'manifest tagged by "{reference}" is not found', {"Tag": reference})


def name_unknown(repository: str) -> RegistryError:
    """Return the answer for a repository that does not exist."""
    return RegistryError(404, "NAME_UNKNOWN", "repository name not known to registry", {"name": repository})

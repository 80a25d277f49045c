"""Access keys of the host: who may call what.

See https://learn.microsoft.com/azure/azure-functions/function-keys-how-to.
"""

from __future__ import annotations

import enum
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aiohttp import web

EVENT_GRID_KEY = "eventgrid_extension"
DEFAULT_KEY = "default"
MASTER_KEY = "_master"


class AccessLevel(enum.Enum):
    """What a key that came with a request proves."""

    ANONYMOUS = "anonymous"
    FUNCTION = "function"
    SYSTEM = "system"
    ADMIN = "admin"


@dataclass(frozen=True)
class Proof:
    """What a request has proved; ``name`` is that of a system key."""

    level: AccessLevel
    name: str = ""

    def opens(self, required: AccessLevel, name: str = "") -> bool:
        """Tell whether that is enough: admin opens all, otherwise level and name must be equal."""
        if required is AccessLevel.ANONYMOUS or self.level is AccessLevel.ADMIN:
            return True
        return self.level is required and self.name == name

    def refusal(self) -> web.Response:
        """Return the answer of the host's own endpoints: 403 to a valid key of another kind, 401 to any other."""
        if self.level is AccessLevel.ANONYMOUS:
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        return web.Response(status=403)


def new_key() -> str:
    """Return a random key; like Azure's it ends in characters that a URL must escape."""
    return secrets.token_urlsafe(39) + "=="


@dataclass(frozen=True)
class Keys:
    """All keys of a host: the master key, host keys for every function, system keys for extensions, function keys."""

    master: str = field(default_factory=new_key)
    host: dict[str, str] = field(default_factory=lambda: {DEFAULT_KEY: new_key()})
    system: dict[str, str] = field(default_factory=lambda: {EVENT_GRID_KEY: new_key()})
    functions: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def add_functions(self, names: Iterable[str]) -> None:
        """Give each function a key of its own; as in Azure it is called default."""
        for name in names:
            self.functions.setdefault(name, {DEFAULT_KEY: new_key()})

    def proof(self, request: web.BaseRequest, *, function: str = "") -> Proof:
        """Tell what the key of a request proves.

        The header ``x-functions-key`` wins over ``?code=``, even when it is empty: see AuthenticationLevelHandler in
        https://github.com/Azure/azure-functions-host.

        Args:
            request: the request that may carry a key.
            function: the function that is called; its own keys count besides the host keys.
        """
        given = request.headers.get("x-functions-key")
        if given is None:
            given = query_value(request, "code")
        if not given:
            return Proof(AccessLevel.ANONYMOUS)
        if _equal(given, self.master):
            return Proof(AccessLevel.ADMIN)
        if any(_equal(given, key) for key in self._function_level_keys(function)):
            return Proof(AccessLevel.FUNCTION)
        names = (name for name, key in self.system.items() if _equal(given, key))
        name = next(names, "")
        return Proof(AccessLevel.SYSTEM if name else AccessLevel.ANONYMOUS, name)

    def _function_level_keys(self, function: str) -> Iterator[str]:
        yield from self.host.values()
        yield from self.functions.get(function, {}).values()


def query_value(request: web.BaseRequest, name: str) -> str:
    """Return the first value of a query parameter, whose name is compared without case; empty if it is missing."""
    return next((value for key, value in request.query.items() if key.lower() == name.lower()), "")


def _equal(given: str, key: str) -> bool:
    return bool(key) and hmac.compare_digest(given.encode(), key.encode())

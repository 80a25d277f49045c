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

    def level_of(self, request: web.BaseRequest, *, function: str = "", system_key: str = "") -> AccessLevel:
        """Tell what the key of a request proves. The ``x-functions-key`` header wins over ``?code=``.

        Args:
            request: the request that may carry a key.
            function: the function that is called; its own keys count besides the host keys.
            system_key: the name of the one system key that counts.
        """
        given = request.headers.get("x-functions-key") or request.query.get("code")
        if not given:
            return AccessLevel.ANONYMOUS
        if _equal(given, self.master):
            return AccessLevel.ADMIN
        if any(_equal(given, key) for key in self._function_level_keys(function)):
            return AccessLevel.FUNCTION
        if system_key and _equal(given, self.system.get(system_key, "")):
            return AccessLevel.SYSTEM
        return AccessLevel.ANONYMOUS

    def _function_level_keys(self, function: str) -> Iterator[str]:
        yield from self.host.values()
        yield from self.functions.get(function, {}).values()


def allows(required: AccessLevel, given: AccessLevel) -> bool:
    """Tell whether a key of one level opens what requires another: admin opens all, the rest must be equal."""
    return required is AccessLevel.ANONYMOUS or given in (AccessLevel.ADMIN, required)


def _equal(given: str, key: str) -> bool:
    return bool(key) and hmac.compare_digest(given.encode(), key.encode())

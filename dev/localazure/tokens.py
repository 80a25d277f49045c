"""Tokens: JWTs bound to a principal, checked on every call, worth nothing outside this process."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

import jwt

from dev.localazure.clock import Clock
from dev.localazure.state import Principal, new_guid

ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
GRAPH_AUDIENCES = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
REGISTRY_AUDIENCES = ("https://containerregistry.azure.net", *ARM_AUDIENCES)


class InvalidToken(Exception):
    """The bearer token is missing, malformed, expired, forged or meant for somebody else."""


class Tokens:
    """Issues and checks tokens with a key that exists only in this process."""

    def __init__(self, clock: Clock, tenant: str) -> None:
        """Make a signing key."""
        self._clock, self._tenant = clock, tenant
        self._key = secrets.token_bytes(32)

    def sign(self, claims: dict[str, Any], lifetime: timedelta) -> str:
        """Sign claims, adding `iat`, `nbf`, `exp` and `jti`."""
        now = self._clock.now()
        stamps = {"iat": now, "nbf": now - timedelta(seconds=300), "exp": now + lifetime, "jti": new_guid()}
        return jwt.encode({**claims, **stamps}, self._key, algorithm="HS256")

    def verify(self, token: str, audience: tuple[str, ...] | str) -> dict[str, Any]:
        """Return the claims of a token made here for this audience.

        Raises:
            InvalidToken: It was not made here, is out of date or names another audience.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(f"The access token is invalid: {error}") from error
        if claims["exp"] <= self._clock.now().timestamp():
            raise InvalidToken("The access token expiry UTC time is earlier than current UTC time.")
        wanted = (audience,) if isinstance(audience, str) else audience
        if str(claims.get("aud", "")).rstrip("/") not in {a.rstrip("/") for a in wanted}:
            raise InvalidToken("The access token has been obtained for the wrong audience or resource.")
        return claims

    def for_principal(self, principal: Principal, resource: str) -> tuple[str, datetime]:
        """Return an Entra access token for a resource and the moment it expires."""
        lifetime = timedelta(hours=24 if principal.kind == "ServicePrincipal" else 1)
        claims = {
            "aud": resource, "iss": f"https://sts.windows.net/{self._tenant}/", "tid": self._tenant,
            "oid": principal.object_id, "sub": principal.object_id, "appid": principal.app_id, "ver": "1.0",
            "idtyp": "app" if principal.kind == "ServicePrincipal" else "user", "xms_mirid": principal.resource_id,
        }  # fmt: skip
        return self.sign(claims, lifetime), self._clock.now() + lifetime

"""How an agent logs in: each credential of a task becomes a login, or the run ends before its first step."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from dev.localazure.agent.definition import Definition
from dev.localazure.agent.docker import UNAUTHORIZED, Login
from dev.localazure.agent.errors import RunFailed
from dev.localazure.agent.machine import Machine
from dev.localazure.registry import network
from dev.localazure.registry.errors import RegistryError
from dev.localazure.state import Principal, Resource


def resolve(machine: Machine, registry: Resource, definition: Definition) -> dict[str, Login]:
    """Return the login for each registry host that a run has a credential for.

    The source registry needs no credential in its own run, unless it is in ABAC mode: then ACR's own token is worth
    nothing, and `credentials.sourceRegistry.identity` must name an identity with rights
    (https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions).
    An identity's rights are looked at here only as far as ACR does it: without any, the token exchange answers 401. A
    firewall that keeps the agent out answers 403 before that, even to a login that it would find good; only the
    task's system-assigned identity passes it, where the registry lets tasks pass
    (https://github.com/Azure/azure-cli/issues/28151). A credential for the source registry is used in place of ACR's
    own token, which never passes.

    Raises:
        RunFailed: An identity is unknown, or the token exchange refuses it.
    """
    logins: dict[str, Login] = {}
    login_server = registry.properties["loginServer"]
    source: dict[str, Any] = definition["credentials"].get("sourceRegistry") or {}
    identity = source.get("identity") or ""
    if identity and identity.lower() != "none":
        logins[login_server] = _with_identity(machine, login_server, identity, definition)
    elif source.get("loginMode") != "None":
        abac = registry.properties.get("roleAssignmentMode") == "AbacRepositoryPermissions"
        logins[login_server] = Login(None, refused=_denied(machine, registry) or (UNAUTHORIZED if abac else ""))
    for host, credential in (definition["credentials"].get("customRegistries") or {}).items():
        if credential.get("userName") or credential.get("password"):
            logins[host] = _with_password(machine, host, credential)
        else:
            logins[host] = _with_identity(machine, host, credential.get("identity") or "", definition)
    return logins


def _with_identity(machine: Machine, host: str, identity: str, definition: Definition) -> Login:
    principal = _principal(machine, identity, definition)
    if principal is None:
        raise RunFailed(
            "failed to resolve secrets: unable to get ARM token: adal: Refresh request failed. Status Code = '400'. "
            'Response body: {"error":"invalid_request","error_description":"Identity not found"}'
        )
    target = machine.registries.find(host)
    if target is None:
        raise RunFailed(
            "failed to resolve secrets: unable to send the request to get ACR refresh token: "
            f'Post "https://{host}/oauth2/exchange": dial tcp: lookup {host}: no such host'
        )
    passes = identity.lower() == "[system]" and network.lets_tasks_pass(target)
    try:
        if denied := "" if passes else _denied(machine, target):
            raise RegistryError(403, "DENIED", denied)
        machine.registries.exchange(principal, target)
    except RegistryError as error:
        status = f"{error.status} {HTTPStatus(error.status).phrase}"
        raise RunFailed(
            f"failed to resolve secrets: failed to get ACR refresh token, exchange API response code: {status}"
        ) from error
    return Login(principal, passes=passes)


def _denied(machine: Machine, registry: Resource) -> str:
    """Return what a registry's firewall says to the agent, or "" if it admits it."""
    address = machine.address
    return "" if network.admits(registry, address) else f"denied: {network.denial(address)}"


def _principal(machine: Machine, identity: str, definition: Definition) -> Principal | None:
    """Return the principal that a credential's identity stands for, if the run may use it."""
    if identity.lower() == "[system]":
        return machine.state.principals.get(definition["identity"].get("principalId") or "")
    if identity.lower() == "[caller]":
        return machine.state.principals.get(definition["caller"])
    assigned = (definition["identity"].get("userAssignedIdentities") or {}).values()
    if identity and any((user.get("clientId") or "").lower() == identity.lower() for user in assigned):
        return machine.state.principal_by_app_id(identity)
    return None


def _with_password(machine: Machine, host: str, credential: dict[str, Any]) -> Login:
    user, password = credential.get("userName") or {}, credential.get("password") or {}
    if "vaultsecret" in (str(user.get("type")).lower(), str(password.get("type")).lower()):
        raise RunFailed("failed to resolve secrets: localazure has no Key Vault to read from")
    target = machine.registries.find(host)
    if target is None:
        return Login(None, refused=UNAUTHORIZED)
    if denied := _denied(machine, target):
        return Login(None, refused=denied)
    try:
        return Login(machine.registries.auth.log_in(user.get("value") or "", password.get("value") or "", target))
    except RegistryError:
        return Login(None, refused=UNAUTHORIZED)

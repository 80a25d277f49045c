"""What Azure's SDKs raise, turned into a permanent or a temporary failure; `shared.adapters.answers` tells which."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from shared.adapters import answers
from shared.adapters.answers import Meaning, Verdict
from shared.domain.echo import shown
from shared.domain.errors import GroundswellError, NotFound, NotPermitted, PermanentError, TemporaryError

NONSENSE = (AttributeError, KeyError, TypeError, ValueError)
"""What reading an answer raises that is not Azure's: a proxy's on the way, or half of one."""

_Answer = TypeVar("_Answer")
_KINDS = {Verdict.REFUSED: PermanentError, Verdict.DENIED: NotPermitted, Verdict.MISSING: NotFound}


def code_of(error: HttpResponseError) -> str:
    """Return Azure's error code, e.g. `RoleAssignmentExists`, or ""."""
    return next(iter(_codes(error)), "")


def is_missing(error: HttpResponseError) -> bool:
    """Tell whether an answer says that what was asked for does not exist; a 404 can also mean something else."""
    return answers.meaning_of(error.status_code or 0, _codes(error)).verdict is Verdict.MISSING


def from_azure(error: AzureError, what: str) -> GroundswellError:
    """Turn an SDK error into a permanent or a temporary one.

    Args:
        error: What the SDK raised.
        what: What was being done, to complete "Could not …".
    """
    if _is_sign_in(error):
        said = _brief(error)
        return _made(answers.meaning_of_sign_in(said), f"Could not {what}: no token for the app's identity ({said}).")
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return _made(answers.NO_ANSWER, f"Could not {what}: no usable answer ({_brief(error)}).")
    status, codes = error.status_code, _codes(error)
    meaning = answers.meaning_of(status, codes, str(error))
    if meaning is answers.NO_ANSWER:
        # An answer that could not be read keeps the status of its success.
        return _made(meaning, f"Could not {what}: no usable answer ({_brief(error)}).")
    text = f"Could not {what}: {status} {shown(next(iter(codes), '') or error.reason or '')}: {_brief(error)}"
    if names := _policy_assignments(error):
        text += f" Azure Policy assignment: {shown(', '.join(names), 1000)}."
    return _made(meaning, text, _retry_after(error))


def from_link(status: int, code: str, what: str) -> GroundswellError:
    """Turn what a signed link answered into a permanent or a temporary error; the app's rights play no part there."""
    meaning = replace(answers.meaning_of(status), advice="")
    return _made(meaning, f"Could not {what}: {status} {shown(code)}".rstrip() + ".")


def _made(meaning: Meaning, text: str, delay: float | None = None) -> GroundswellError:
    text = f"{text} {meaning.advice}".rstrip()
    kind = _KINDS.get(meaning.verdict)
    made = kind(text) if kind else TemporaryError(text, delay)
    made.patience = meaning.patience
    return made


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn what is raised within into a permanent or a temporary failure.

    Args:
        what: What is being done, to complete "Could not …".

    Raises:
        GroundswellError: Azure refused, did not answer, or its answer cannot be read.
    """
    try:
        yield
    except AzureError as error:
        raise from_azure(error, what) from error
    except NONSENSE as error:
        raise TemporaryError(f"Could not {what}: no usable answer ({type(error).__name__}).") from error


async def or_none(answer: Awaitable[_Answer]) -> _Answer | None:
    """Return an answer, or None if Azure says of what was asked for, in so many words, that it does not exist.

    A 404 without such a code may be that of a proxy on the way.
    """
    try:
        return await answer
    except ResourceNotFoundError as error:
        if is_missing(error) and code_of(error).upper().endswith(("NOTFOUND", "_UNKNOWN")):
            return None
        raise


def _retry_after(error: HttpResponseError) -> float | None:
    """Return the delay in seconds that the answer asks for, or None."""
    return seconds(getattr(error.response, "headers", {}).get("Retry-After"))


def seconds(header: str | None) -> float | None:
    """Read a `Retry-After` header in its seconds form; None if it is missing or something else."""
    try:
        asked = float(header or "nan")
    except ValueError:
        return None
    return max(0.0, asked) if math.isfinite(asked) else None


# -- reading -----------------------------------------------------------------------------------------------------------

_TOKEN_ENDPOINTS = re.compile(r"/(msi|metadata/identity/oauth2|oauth2/v2\.0)/token/?")


def _is_sign_in(error: AzureError) -> bool:
    """Tell whether the app's identity got no token. The SDKs raise the same class when a service refuses one."""
    if not isinstance(error, ClientAuthenticationError):
        return False
    url = str(getattr(getattr(error.response, "request", None), "url", ""))
    return error.status_code is None or _TOKEN_ENDPOINTS.fullmatch(urlsplit(url).path) is not None


def _codes(error: HttpResponseError) -> list[str]:
    """Return the codes of an answer, the outermost first."""
    found = [str(part["code"]) for part in _parts(_body(error)) if isinstance(part.get("code"), str)]
    if found:
        return found
    # Storage names its code in a header; an operation that failed later has no body of this form.
    known = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return [str(getattr(known, "value", known))] if known else []


def _body(error: HttpResponseError) -> Any:
    try:
        return json.loads(error.response.text())  # type: ignore[union-attr]
    except Exception:
        # There is none, or it is no JSON.
        return None


def _parts(body: Any) -> Iterator[Mapping[str, Any]]:
    """Yield an error of ARM's form, or of a registry's, and those within it.

    https://github.com/Azure/azure-resource-manager-rpc/blob/master/v1.0/common-api-details.md#error-response-content
    """
    if not isinstance(body, dict):
        return
    if "code" in body:
        yield body
    for name in ("error", "errors", "details", "innererror"):
        inner = body.get(name)
        for part in inner if isinstance(inner, list) else [inner]:
            yield from _parts(part)


def _policy_assignments(error: HttpResponseError) -> list[str]:
    """Return the policy assignments that an answer names, each as `name (id)`.

    They stand in the message, or, where that has no room for them, in the error's details:
    https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy.
    """
    found: dict[str, str] = {}
    for part in _parts(_body(error)):
        for item in part.get("additionalInfo") or []:
            info = item.get("info") if isinstance(item, dict) else None
            if isinstance(info, dict) and (assignment := str(info.get("policyAssignmentId") or "")):
                name = info.get("policyAssignmentDisplayName") or info.get("policyAssignmentName")
                found[assignment.lower()] = _named(str(name or ""), assignment)
        for match in re.finditer(r'"policyAssignment":\s*(\{[^{}]*\})', str(part.get("message") or "")):
            try:
                told = json.loads(match[1])
            except ValueError:
                continue
            assignment = str(told.get("id") or "")
            found.setdefault(assignment.lower(), _named(str(told.get("name") or ""), assignment))
    return list(found.values())


def _named(name: str, assignment: str) -> str:
    return f"{name or assignment.rpartition('/')[2]} ({assignment})"


def _brief(error: AzureError) -> str:
    # The SDK's own text says ARM's code and message twice over.
    said = str(getattr(getattr(error, "error", None), "message", None) or error.message or error)
    # Of a chain of credentials only those count that were tried in earnest.
    tried = [line for line in said.splitlines() if "Credential: " in line and "EnvironmentCredential" not in line]
    # ARM names the action that is missing on a linked resource some 500 characters into its message.
    return shown(" ".join(tried or [said]), 700)

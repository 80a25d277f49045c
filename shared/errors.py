"""The two kinds of failure, and how Azure's answers become one of them.

GroundswellError
├── PermanentError      trying again changes nothing: says what to do, is never retried
│   ├── NotFound        what was asked for does not exist
│   ├── NotSelected     the policy does not give this registry the task
│   ├── InvalidInput    the caller's input is wrong, and which field
│   └── NotPermitted    Azure refused; says which right is missing
├── TemporaryError      trying again later may work; carries the delay Azure asked for
└── ConfigurationError  settings or policy are broken: loud, and retried until somebody mends them
"""

from __future__ import annotations

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

_TRANSIENT = {408, 409, 412, 423, 425, 429}


class GroundswellError(Exception):
    """Base of every error that Groundswell raises on purpose; the text is for people and says what to do."""


class PermanentError(GroundswellError):
    """Trying again changes nothing."""


class NotFound(PermanentError):
    """What was asked for does not exist."""


class NotSelected(PermanentError):
    """The policy does not give this registry the task."""


class InvalidInput(PermanentError):
    """The caller's input is wrong.

    Attributes:
        field: Name of the member that is wrong ("" for the whole).
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotPermitted(PermanentError):
    """Azure refused for want of a right."""


class TemporaryError(GroundswellError):
    """Trying again later may work.

    Attributes:
        retry_after: Seconds that Azure asked to wait, or None if it named none.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigurationError(GroundswellError):
    """Settings or policy are broken; the text names the setting or the field."""


def code_of(error: HttpResponseError) -> str:
    """Return ARM's error code, e.g. `RoleAssignmentExists`, or ""."""
    return str(getattr(error.error, "code", "") or "")


def from_azure(error: AzureError, doing: str) -> GroundswellError:
    """Turn an SDK error into a permanent or a temporary one.

    Args:
        error: What the SDK raised.
        doing: What was being done, to complete "Could not …".
    """
    # An answer that could not be read keeps the status of its success.
    if not isinstance(error, HttpResponseError) or error.status_code is None or error.status_code < 400:
        if isinstance(error, ClientAuthenticationError):
            return TemporaryError(f"Could not {doing}: no token for the app's identity ({_brief(error)}).")
        return TemporaryError(f"Could not {doing}: no usable answer ({_brief(error)}).")
    status, code = error.status_code, code_of(error)
    text = f"Could not {doing}: {status} {code or error.reason or ''}: {_brief(error)}"
    if status == 403 and "https://aka.ms/acr/firewall" in str(error):
        return NotPermitted(
            f"{text} Let the app's address through the registry's firewall, or lead a private endpoint there: "
            'docs/deployment.md, "A registry behind a firewall".'
        )
    if status in (401, 403):
        return NotPermitted(f"{text} Give the app's identity the role named in infra/app-roles.json for this scope.")
    if status in _TRANSIENT or status >= 500:
        return TemporaryError(text, retry_after(error))
    if status == 404:
        return NotFound(text)
    return PermanentError(text)


def retry_after(error: HttpResponseError) -> float | None:
    """Return the delay in seconds that the answer asks for, or None."""
    header: str | None = getattr(error.response, "headers", {}).get("Retry-After")
    return seconds(header)


def seconds(header: str | None) -> float | None:
    """Read a `Retry-After` header in its seconds form; None if it is missing or something else."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None


def _brief(error: AzureError) -> str:
    # The SDK's own text says ARM's code and message twice over.
    said = str(getattr(getattr(error, "error", None), "message", None) or error.message or error)
    # Of a chain of credentials only those count that were tried in earnest.
    tried = [line for line in said.splitlines() if "Credential: " in line and "EnvironmentCredential" not in line]
    # ARM names the action that is missing on a linked resource some 500 characters into its message.
    return " ".join(" ".join(tried or [said]).split())[:700]

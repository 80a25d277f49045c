"""What may become a value of a task: it is spliced as text into a command line, and shown to everybody who may look."""

from __future__ import annotations

import re

from shared.domain.redaction import holds_credential

# A colon at the end would turn the line that it ends into a YAML mapping.
_CHARACTERS = re.compile(r"[A-Za-z0-9_./:@][A-Za-z0-9_./:@#+~%=-]{0,255}(?<!:)")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_PATH = r"[A-Za-z0-9_./+~%=-]"
_BRANCH = rf"(?:\#(?:{_PATH}|[:@\#])*)?"
_IMAGE = r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
# What ACR takes as a context; it knows neither ssh:// nor schemes in capitals:
# https://github.com/Azure/acr-builder/blob/main/util/url.go
_FORMS = re.compile(
    rf"""(?:{_PATH}|\#)+                          # a word: a name, a tag, a path
    | (?:{_HOST}(?::[0-9]+)?/)?{_IMAGE}           # an image
    | oci://{_HOST}(?::[0-9]+)?/{_IMAGE}
    | https://{_HOST}(?::[0-9]+)?/(?:{_PATH}|:)*{_BRANCH}
    | git@{_HOST}:{_PATH}+{_BRANCH}
    | github\.com/{_PATH}+{_BRANCH}""",
    re.VERBOSE,
)


def refusal(value: str) -> str:
    """Say why a value is refused, to follow its name, or return "". The value itself is not repeated: it may be secret.

    ACR warns that contexts with credentials are logged:
    https://learn.microsoft.com/azure/container-registry/container-registry-tasks-overview.
    """
    if holds_credential(value):
        return "names a user or holds a credential, which everybody could read in tasks and logs: leave it out"
    if not _CHARACTERS.fullmatch(value):
        return "holds characters that no image reference or git URL can hold, or is empty or longer than 256"
    if not _FORMS.fullmatch(value):
        return "is neither a word nor an image, and of URLs ACR takes https://host/…, git@host:… and oci://host/… alone"
    return ""

"""What must never be repeated: credentials in URLs and tokens that can be known by their form."""

from __future__ import annotations

import re
from urllib.parse import unquote

# https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
# https://docs.gitlab.com/security/tokens/#token-prefixes
_TOKEN = re.compile(r"\b(?:gh[a-z]_|github_pat_|gl[a-z]{2,6}-)[A-Za-z0-9_-]{20,}")
_DIGEST = re.compile(r"@sha(256|384|512):[0-9a-f]+\Z")
# Signs may be percent-encoded, once or more.
_AT, _AND, _IS = r"(?:@|%(?:25)*40)", r"(?:[?&;]|%(?:25)*(?:3f|26|3b))", r"(?:=|%(?:25)*3d)"
_NAMED = "(?:token|secret|passw|pwd|pat|key|sig|auth|code)"
_SHOWN = (
    # scheme://user:password@host, user:password@host, ?token=…: lengths are limited so that long logs take no time.
    (re.compile(rf"(://)[^\s/\"'<>]{{1,1000}}{_AT}", re.IGNORECASE), r"\1…@"),
    (
        re.compile(
            rf"(?<![\w.~%+-])[\w.~%+-]{{1,100}}:[^\s/@:\"'<>]{{1,500}}{_AT}(?!sha(?:256|384|512):)", re.IGNORECASE
        ),
        "…@",
    ),
    (re.compile(rf"({_AND}[^\s=&;]{{0,50}}?{_NAMED}[^\s=&;]{{0,50}}?{_IS})[^\s&;#\"']+", re.IGNORECASE), r"\1…"),
    (_TOKEN, "…"),
)


def redacted(text: str) -> str:
    """Return a text without the credentials that can be seen in it."""
    for pattern, shown in _SHOWN:
        text = pattern.sub(shown, text)
    return text


def holds_credential(value: str) -> bool:
    """Tell whether an image reference or git URL names a user or carries a token: `user@`, `user:password@`, `?token=`.

    Only the `git@` of `git@host:path` is none, as it is the same for everybody.
    """
    while (decoded := unquote(value)) != value:
        value = decoded
    if _TOKEN.search(value):
        return True
    # What stands behind # is a branch and a folder, and sent to nobody.
    sent = _DIGEST.sub("", re.sub(r"\Agit@(?=[A-Za-z0-9.-]+:)", "", value.partition("#")[0]))
    return "@" in sent or "?" in sent

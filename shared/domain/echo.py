"""What others wrote (callers, teams, Azure, builds), made fit to be repeated in an answer, a log or the ledger.

Short, printable, and without credentials.
"""

from __future__ import annotations

import re

from shared.domain.redaction import redacted

# Colours and cursor movements of terminals.
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# A credential has to be seen whole to be known.
_AHEAD = 2000


def shown(text: object, limit: int = 100) -> str:
    """Return a text on one line, without credentials and what cannot be printed, cut to `limit` characters."""
    whole = str(text)
    read = 4 * limit + _AHEAD
    start = _ESCAPE.sub("", redacted(whole[:read]))
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in start).split())
    is_cut = len(words) > limit or len(whole) > read
    return f"{words[: limit - 1]}…" if is_cut else words


def quoted(something: object, limit: int = 100) -> str:
    """Return a text in quotation marks, without credentials, with escapes for what cannot be printed, cut to `limit`.

    What is no text is written as Python writes it.
    """
    if not isinstance(something, str):
        return shown(repr(something), limit)
    text = redacted(something[: limit + _AHEAD])
    return repr(text if len(text) <= limit else f"{text[: limit - 1]}…")

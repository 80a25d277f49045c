"""Which tags a glob stands for, and whether others leave any of them."""

from __future__ import annotations

import re
import string
from fnmatch import fnmatchcase

_FIRST = f"{string.ascii_letters}{string.digits}_"
_CHARACTERS = f"{_FIRST}.-"
_LENGTH = 128
_TOKEN = re.compile(r"\*+|\[!?\]?[^\]]*\]|.")
# Globs that people write are done within a few hundred; what would take longer counts as not empty.
_STEPS = 3_000

_Places = frozenset[int]
"""How far into a glob the characters so far may have led."""


def is_empty(glob: str, without: tuple[str, ...] = ()) -> bool:
    """Tell whether no tag fits a glob, or none that no glob of `without` fits.

    Walks through all tags that fit, a character at a time, and treats alike what leads to the same places.
    """
    tokens = [tuple(_TOKEN.findall(text)) for text in (glob, *without)]
    # Fewer characters may begin a tag than go on, so to be back at the start is something new.
    seen: set[tuple[_Places, ...]] = set()
    reached = [tuple(_closure(each, {0}) for each in tokens)]
    for length in range(_LENGTH):
        following: list[tuple[_Places, ...]] = []
        for places in reached:
            for character in _CHARACTERS if length else _FIRST:
                after = tuple(_step(each, at, character) for each, at in zip(tokens, places, strict=True))
                fits, *others = (len(each) in at for each, at in zip(tokens, after, strict=True))
                if (fits and not any(others)) or len(seen) > _STEPS:
                    return False
                if after[0] and after not in seen:
                    seen.add(after)
                    following.append(after)
        reached = following
    return True


def _step(tokens: tuple[str, ...], places: _Places, character: str) -> _Places:
    found = set()
    for place in places:
        if place < len(tokens) and fnmatchcase(character, tokens[place]):
            found.add(place if tokens[place][0] == "*" else place + 1)
    return _closure(tokens, found)


def _closure(tokens: tuple[str, ...], places: set[int]) -> _Places:
    """Add the places that are reached without a character: those behind a `*`."""
    for place in sorted(places):
        while place < len(tokens) and tokens[place][0] == "*":
            place += 1
            places.add(place)
    return frozenset(places)

"""Globs of tags: what fits them, and what others leave."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain import globs
from shared.domain.images import is_tag

GLOBS = st.text(alphabet="a1-.*?[]!", min_size=1, max_size=8)
TAGS = st.text(alphabet="a1-.Z_", min_size=1, max_size=8).filter(is_tag)


@pytest.mark.parametrize(
    "glob", ["15-alpine", "15-*", "*", "?", "*-alpine", "*.*", "[0-9]*", "[!0-9]*", "x" * 128, "**-a"]
)
def test_glob_that_some_tag_fits_is_not_empty(glob: str) -> None:
    assert not globs.is_empty(glob)


@pytest.mark.parametrize("glob", ["-*", ".*", "15-[a", "[z-a]", "15-[!!-~]", "?" * 129, "[]"])
def test_glob_that_no_tag_fits_is_empty(glob: str) -> None:
    assert globs.is_empty(glob)


@pytest.mark.parametrize(
    ("glob", "without"),
    [
        ("15-*", ["*-amd64", "*-buildcache"]),
        ("15-*", ["15-a*", "15-b*"]),
        ("15-*", ["15-?*"]),
        ("*", ["[!_]*"]),
        ("*a*b*c*d*e*f*g*h*", ["*h*g*f*e*d*c*b*a*"]),
        ("?" * 64 + "*", ["*a" + "?" * 20]),
    ],
)
def test_others_leave_something_of_a_glob(glob: str, without: list[str]) -> None:
    assert not globs.is_empty(glob, tuple(without))


@pytest.mark.parametrize(
    ("glob", "without"),
    [
        ("15-alpine", ["*"]),
        ("15-*", ["15-?*", "15-"]),
        ("*", ["[a-zA-Z]*", "[0-9_]*"]),
        ("1[56]-*", ["15-*", "16*"]),
        ("*-amd64", ["*-*"]),
    ],
)
def test_others_leave_nothing_of_a_glob(glob: str, without: list[str]) -> None:
    assert globs.is_empty(glob, tuple(without))


@given(GLOBS, st.lists(GLOBS, max_size=2), TAGS)
def test_glob_that_counts_as_empty_is_fitted_by_no_tag(glob: str, without: list[str], tag: str) -> None:
    assume(globs.is_empty(glob, tuple(without)))

    assert not fnmatchcase(tag, glob) or any(fnmatchcase(tag, other) for other in without)


@given(TAGS)
def test_glob_is_not_empty_if_it_is_a_tag(tag: str) -> None:
    assert not globs.is_empty(tag)

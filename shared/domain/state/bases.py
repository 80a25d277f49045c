"""What the tags of the base registry point to, and pointed to of late. Pure functions.

The tag is the truth, an event only a hint to look at it. A change is a new digest under a tag: a tag that is deleted,
or the same digest pushed again, is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.images import BaseImage
from shared.domain.state.stacks import NOTHING_KNOWN, Stack

KEPT = timedelta(days=30)
"""How long a content is remembered that no tag points to any more."""

_MOST_EARLIER = 20
"""Contents that are remembered of a tag, however often it moves."""

_YOUNG = timedelta(minutes=10)
_AGAIN = (5.0, 15.0, 60.0)


@dataclass(frozen=True)
class Tag:
    """A tag as the registry tells it.

    Attributes:
        image: What it points to, with its digest.
        updated: When it was last pushed (`lastUpdateTime`), be it with the digest that it had.
    """

    image: BaseImage
    updated: datetime


@dataclass(frozen=True)
class Content:
    """What a tag pointed to earlier, until then."""

    digest: str
    until: datetime
    stack: Stack = NOTHING_KNOWN


@dataclass(frozen=True)
class Base:
    """What is known of a tag.

    Attributes:
        image: What it points to, with its digest.
        moved: When it came to point there, by the registry's clock.
        touched: When it was last pushed, as far as anybody looked.
        seq: The number of its last change, from one counter for all tags.
        earlier: What it pointed to before, oldest first.
        confirmed: The registry says so; otherwise only an event does.
    """

    image: BaseImage
    moved: datetime
    touched: datetime
    seq: int
    earlier: tuple[Content, ...] = ()
    stack: Stack = NOTHING_KNOWN
    confirmed: bool = True

    @property
    def contents(self) -> tuple[tuple[str, Stack], ...]:
        """Digest and stack of what it points to, and of what it pointed to earlier."""
        return (self.image.digest, self.stack), *((each.digest, each.stack) for each in self.earlier)


@dataclass(frozen=True)
class Hint:
    """A push that an event tells of."""

    image: BaseImage
    pushed_at: datetime


def changed(known: Mapping[str, Base], tags: Iterable[Tag], seq: int) -> tuple[Base, ...]:
    """Return what a look at the registry changes in what is known of tags. All changes of a look have one number.

    Args:
        known: By `repository:tag`.
        seq: The number that changes get.
    """
    found = (_seen(known.get(tag.image.name), tag, seq) for tag in tags)
    return tuple(base for base in found if base is not None)


def _seen(base: Base | None, tag: Tag, seq: int) -> Base | None:
    if base is None:
        return Base(tag.image, tag.updated, tag.updated, seq)
    if base.image.digest == tag.image.digest:
        touched = max(base.touched, tag.updated)
        return None if base.confirmed and touched == base.touched else replace(base, touched=touched, confirmed=True)
    if tag.updated < base.moved and any(each.digest == tag.image.digest for each in base.earlier):
        # A replica that lags behind still shows what was there before.
        return None
    return _moved(base, tag, seq)


def _moved(base: Base, tag: Tag, seq: int) -> Base:
    left = Content(base.image.digest, tag.updated, base.stack)
    others = (each for each in base.earlier if each.digest not in (left.digest, tag.image.digest))
    earlier = tuple(each for each in others if tag.updated - each.until < KEPT)
    # A tag that comes back to an earlier content has its stack again.
    stack = next((each.stack for each in base.earlier if each.digest == tag.image.digest), NOTHING_KNOWN)
    return Base(tag.image, tag.updated, tag.updated, seq, (*earlier, left)[-_MOST_EARLIER:], stack)


def hinted(base: Base | None, hint: Hint, seq: int) -> Base | None:
    """Return what is to be believed if the registry cannot be asked; None: the event tells nothing new."""
    if not hint.image.digest or (base and (base.touched >= hint.pushed_at or base.image.digest == hint.image.digest)):
        return None
    tag = Tag(hint.image, hint.pushed_at)
    return replace(_moved(base, tag, seq) if base else Base(tag.image, tag.updated, tag.updated, seq), confirmed=False)


def look_again(base: Base | None, hint: Hint, looks: int, now: datetime) -> float | None:
    """Tell in how many seconds to look once more, because the registry does not show yet what an event tells.

    Args:
        looks: How often it was looked at for this event.
    """
    if not hint.image.digest or looks > len(_AGAIN) or now - hint.pushed_at > _YOUNG:
        return None
    if base and (base.image.digest == hint.image.digest or base.touched > hint.pushed_at):
        return None
    return _AGAIN[looks - 1]

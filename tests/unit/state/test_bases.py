"""What tags point to: a look at the registry is the truth, an event a hint."""

from __future__ import annotations

import pytest

from shared.domain.images import BaseImage
from shared.domain.state.bases import Base, Hint, Tag, changed, hinted, look_again
from shared.domain.state.stacks import Stack
from tests.unit.state.plain import at, base, digest


def image(content: str, tag: str = "15") -> BaseImage:
    return BaseImage("baseimages/node", tag, digest(content))


def look(before: Base | None, content: str, updated: float, seq: int = 2) -> Base | None:
    """Look at a tag; return what changes, or None."""
    known = {before.image.name: before} if before else {}
    return next(iter(changed(known, [Tag(image(content), at(updated))], seq)), None)


def test_new_digest_is_a_change_with_a_number_of_its_own() -> None:
    after = look(base(), "B", -60)
    assert after
    assert (after.image.digest, after.moved, after.touched, after.seq) == (digest("B"), at(-60), at(-60), 2)
    assert [content.digest for content in after.earlier] == [digest("A")]


def test_all_changes_of_one_look_have_one_number() -> None:
    tags = [Tag(image("B", tag), at(-60)) for tag in ("15", "15.1", "latest")]
    assert [each.seq for each in changed({}, tags, 7)] == [7, 7, 7]


def test_same_digest_pushed_again_is_no_change() -> None:
    after = look(base(), "A", -60)
    assert after
    assert (after.seq, after.moved, after.touched) == (1, base().moved, at(-60))
    assert after.earlier == ()


def test_look_that_shows_nothing_new_changes_nothing() -> None:
    assert look(base(moved=-60), "A", -60) is None


def test_tag_that_is_not_there_is_no_change() -> None:
    assert changed({"baseimages/node:15": base()}, [], 2) == ()


def test_replica_that_lags_behind_takes_nothing_back() -> None:
    moved = look(base(moved=-600), "B", -60)
    assert look(moved, "A", -600, seq=3) is None


def test_roll_back_is_a_change() -> None:
    moved = look(base(moved=-600), "B", -60)
    back = look(moved, "A", -10, seq=3)
    assert back
    assert (back.seq, back.image.digest) == (3, digest("A"))
    assert [content.digest for content in back.earlier] == [digest("B")]


def test_tag_that_comes_back_to_a_content_has_its_stack_again() -> None:
    stack = Stack(("a",), ("from a",))
    moved = look(base(moved=-600, stack=stack), "B", -60)
    back = look(moved, "A", -10, seq=3)
    assert moved
    assert back
    assert moved.stack == Stack()
    assert back.stack == stack


def test_earlier_contents_are_remembered_for_thirty_days_and_are_few() -> None:
    tag: Base | None = base(moved=0)
    for day in range(40):
        tag = look(tag, chr(ord("B") + day), 86_400 * (day + 1), seq=day + 2)
    assert tag
    assert len(tag.earlier) == 20
    old = look(base(moved=0), "B", 86_400)
    after = look(old, "C", 86_400 * 40, seq=3)
    assert after
    assert [content.digest for content in after.earlier] == [digest("B")]


# -- events ------------------------------------------------------------------------------------------------------------


def test_event_is_believed_while_the_registry_cannot_be_asked() -> None:
    after = hinted(base(moved=-600), Hint(image("B"), at(-60)), 2)
    assert after
    assert (after.image.digest, after.seq, after.confirmed) == (digest("B"), 2, False)
    confirmed = look(after, "B", -60.5, seq=3)
    assert confirmed
    assert (confirmed.confirmed, confirmed.seq) == (True, 2)


@pytest.mark.parametrize("pushed", [-600, -700])
def test_late_event_takes_nothing_back(pushed: float) -> None:
    assert hinted(base(moved=-600), Hint(image("B"), at(pushed)), 2) is None


def test_event_without_a_digest_or_of_what_is_known_tells_nothing() -> None:
    assert hinted(base(), Hint(BaseImage("baseimages/node", "15"), at(-60)), 2) is None
    assert hinted(base(), Hint(image("A"), at(-60)), 2) is None


def test_registry_that_lags_behind_its_event_is_looked_at_three_times_more() -> None:
    hint = Hint(image("B"), at(-1))
    assert [look_again(base(), hint, looks, at(0)) for looks in (1, 2, 3, 4)] == [5, 15, 60, None]


def test_registry_is_not_looked_at_again_once_it_shows_the_push_or_a_later_one_or_the_event_is_old() -> None:
    assert look_again(base(content="B", moved=-2), Hint(image("B"), at(-1)), 1, at(0)) is None
    assert look_again(base(content="C", moved=0), Hint(image("B"), at(-1)), 1, at(0)) is None
    assert look_again(base(), Hint(image("B"), at(-601)), 1, at(0)) is None

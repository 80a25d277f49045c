"""What an image is built on, told from its layers and its history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.state.coverage import sits_on
from shared.domain.state.stacks import Stack, from_config
from tests.unit.state.plain import base, built, digest

A = Stack(("a",), ("a1", "a2"))
PATCHED = Stack(("a", "patch"), ("a1", "a2", "patch"))
OTHER_ENV = Stack(("a",), ("a1", "a2", "env"))


def on(stack: Stack) -> Stack:
    return Stack((*stack.layers, "app"), (*stack.history, "copy app"))


@pytest.mark.parametrize("newer", [PATCHED, OTHER_ENV], ids=["one layer more", "another ENV"])
@pytest.mark.parametrize("below", ["A", "B"])
def test_content_below_an_image_is_the_longest_that_fits(newer: Stack, below: str) -> None:
    tag = base(content="B", was="A", stack=newer)
    tag = replace(tag, earlier=(replace(tag.earlier[0], stack=A),))
    found = sits_on(built(on(newer if below == "B" else A)), [tag])
    assert found
    assert (found.digest, found.older) == (digest(below), below == "A")


def test_earlier_content_that_another_tag_has_now_is_not_older() -> None:
    tag = base(content="B", was="A", stack=PATCHED)
    tag = replace(tag, earlier=(replace(tag.earlier[0], stack=A),))
    found = sits_on(built(on(A)), [tag, base("15.1", "A", stack=A)])
    assert found
    assert not found.older


def test_image_on_none_of_the_known_contents_and_one_that_nobody_looked_at_sit_on_nothing_known() -> None:
    assert sits_on(built(Stack(("z",), ("z",))), [base(stack=A)]) is None
    assert sits_on(built(), [base(stack=A)]) is None
    assert sits_on(built(on(A)), [base()]) is None


def test_stack_is_read_from_an_images_configuration() -> None:
    config = {
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
        "history": [{"created": "2026-01-01", "created_by": "ADD"}, {"created_by": "ENV A=1", "empty_layer": True}],
    }
    below = {
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        "history": [{"created": "2026-01-01", "created_by": "ADD"}],
    }
    assert from_config(below).lies_below(from_config(config))
    assert not from_config(config).lies_below(from_config(below))
    other = {**below, "history": [{"created": "2026-01-02", "created_by": "ADD"}]}
    assert not from_config(other).lies_below(from_config(config))
    assert len(from_config({"rootfs": {"diff_ids": ["sha256:1"]}}).layers[0]) == 12

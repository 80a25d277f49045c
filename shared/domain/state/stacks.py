"""What an image is stacked up from, to tell which base image lies below it. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SHORT = 12
"""Characters of a hash that are kept: enough to tell apart what ever stood under a few tags."""


@dataclass(frozen=True)
class Stack:
    """An image's layers and the steps of its history, lowest first, as short hashes.

    Layers alone cannot tell images apart that differ in their configuration only.
    """

    layers: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """How much there is to compare."""
        return len(self.layers) + len(self.history)

    def lies_below(self, image: Stack) -> bool:
        """Tell whether an image may be built on this one. An empty stack, of which nothing is known, lies nowhere."""
        return (
            self.height > 0
            and image.layers[: len(self.layers)] == self.layers
            and image.history[: len(self.history)] == self.history
        )


NOTHING_KNOWN = Stack()


def from_config(config: Mapping[str, Any]) -> Stack:
    """Read an image's configuration (https://github.com/opencontainers/image-spec/blob/main/config.md).

    Raises:
        KeyError, TypeError, AttributeError: It is none.
    """
    layers = config["rootfs"]["diff_ids"]
    history = config.get("history") or []
    return Stack(_short(layers), _short(json.dumps([step.get("created"), step.get("created_by")]) for step in history))


def _short(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(text.encode()).hexdigest()[:_SHORT] for text in texts)

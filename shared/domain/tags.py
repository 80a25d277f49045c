"""What ARM takes for a tag: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources."""

from __future__ import annotations

import re

LONGEST_VALUE = 256
"""How many characters the value of a tag can have."""

_NAME = re.compile(r"[^<>%&\\?/\x00-\x1f\x7f]{1,512}")


def is_name(text: str) -> bool:
    """Tell whether a tag can have this name."""
    return _NAME.fullmatch(text) is not None and text == text.strip()

"""One part that fails stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared import telemetry
from shared.domain.errors import GroundswellError
from shared.logs import Log

log = Log("parts")


@contextmanager
def apart(failed: dict[str, GroundswellError], part: str, name: str) -> Iterator[None]:
    """Do something for one part of the whole; should it fail, note it in `failed` and let the others go on."""
    try:
        yield
    except GroundswellError as error:
        failed[name] = error
        telemetry.part_failed(part, name, error)
        log.error(f"{part} fails", **{part: name}, reason=error)

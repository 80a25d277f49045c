"""A worker's cold start, which needs no Azure."""

from __future__ import annotations

import statistics
import sys

from dev.bench.table import Row, at_most
from dev.bench.worlds import Worlds
from dev.conformance.world import ROOT, run

_TIMES = 9


async def _import_seconds(module: str) -> float:
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    output = await run([sys.executable, "-c", code], folder=ROOT)
    if output.status:
        raise RuntimeError(f"import {module}: {output.last_words}")
    return float(output.out)


async def rows(worlds: Worlds) -> list[Row]:
    """Compare what a worker imports at its start with azure.functions alone; the two take turns."""
    await worlds.none()
    app, library = list[float](), list[float]()
    for _ in range(_TIMES):
        library.append(await _import_seconds("azure.functions"))
        app.append(await _import_seconds("function_app"))
    mine, theirs = statistics.median(app), statistics.median(library)
    return [at_most("Cold start: importing function_app.py", f"{mine * 1000:.0f} ms",
                    f"{theirs * 1000:.0f} ms: azure.functions (medians of {_TIMES})", mine / theirs, 1.5)]  # fmt: skip

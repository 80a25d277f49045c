"""Answers that Azure gave, recorded in public, and whether localazure answers the same.

The recordings are data of our own making: what was asked and what is fixed in the answer, each with the name of the
public recording that shows it. Ids, times and signatures are masked.
"""

from __future__ import annotations

from dev.conformance.recorded.replay import Story, left_out, read, replay_all
from dev.conformance.report import Report
from dev.conformance.world import azure

CLIENT = "recorded"


async def run(report: Report) -> None:
    """Replay everything in a world of its own."""
    async with azure() as world:
        async for result in replay_all(world.cloud.environment):
            what = f"{result.story.about}: {result.exchange.name}"
            report.add(CLIENT, what, result.differences)


def table() -> str:
    """Return the differences that are meant, with their reasons, as a table in Markdown."""
    stories = read()
    everywhere = "Every answer of Resource Manager"
    rows: dict[tuple[str, str], list[str]] = {}
    for place, why in stories[0].common.items():
        rows.setdefault((everywhere, why), []).append(place)
    for story in stories:
        for differs in (story.differs, *(exchange.differs for exchange in story.exchanges)):
            for place, why in differs.items():
                rows.setdefault((story.about, why), []).append(place)
    lines = ["| What | Where it differs | Why |", "|---|---|---|"]
    for (what, why), places in rows.items():
        lines.append(f"| {what} | {', '.join(f'`{place}`' for place in dict.fromkeys(places))} | {why} |")
    return "\n".join([*lines, *(f"| {what} | not replayed | {why} |" for what, why in left_out().items())]) + "\n"


__all__ = ["Story", "run", "table"]

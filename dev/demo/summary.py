"""What is said before and after the story, and when it goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dev.demo.story import Calls, Result
from dev.demo.timeline import Actor, Timeline
from dev.sandbox.world import GRANT_DELAY, Unexpected

# Requests to Resource Manager that the walk-through's nine commands make (identity create and three times show, task
# create, acr show, role assignment create, task credential add, task run). Counted in localazure's journal: start
# `make up`, run them with azure-cli 2.91.0 on a registry of their own, and read /control/journal.
SCRIPT_CALLS, SCRIPT_WRITES = 21, 8
RUN_CALLS, RUN_WRITES = 5, 3
_LOG_LINES = 15


def introduce(timeline: Timeline) -> None:
    """Say what is real and what is not, and who appears."""
    show = timeline.console.print
    show(Text("Groundswell rebuilds team images when their base image is pushed.", "bold"))
    show("Real here: the app in a Functions host, the Azure SDKs, HTTP and TLS, queues and tables in Azurite.")
    show("Simulated: Azure. localazure plays Resource Manager, Entra ID, Event Grid and Container Registry")
    show("on 127.0.0.1; its build agents resolve, pull, build and push images, but skip RUN steps.")
    show(f"Role assignments take {GRANT_DELAY:g} s to work; in Azure up to ten minutes.")
    legend = Text("\n")
    notes = {Actor.YOU: "", Actor.EVENT_GRID: " delivers", Actor.GROUNDSWELL: " decides",
             Actor.ARM: " applies", Actor.RUN: " builds"}  # fmt: skip
    for actor, note in notes.items():
        legend.append_text(actor.label).append(f"{note} · ")
    show(legend.append("✓", "bold green").append(" checked in Azure"))


def failed(timeline: Timeline, unexpected: Unexpected, log: Path) -> None:
    """Say what was expected, what was seen, and what the Functions host said last."""
    timeline.flush()
    show = timeline.console.print
    show()
    show(Text("✗ Not as expected", "bold red"))
    show(Text(f"  expected  {unexpected.expected}"), Text(f"  seen      {unexpected.seen}"), sep="\n")
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    if lines:
        show(Text("\nThe Functions host's last words:", "bold"))
    for line in lines:
        show(Text(_readable(line), "dim"), soft_wrap=True)


def _readable(line: str) -> str:
    try:
        record = json.loads(line)
        text = f"{record['time'][11:23]} {record['level']:<7} {record['function']} {record['message']}"
    except (ValueError, TypeError, KeyError):
        return line
    return f"{text}\n{record['exception']}" if "exception" in record else text


def conclude(timeline: Timeline, results: list[Result], seconds: float) -> None:
    """Show what Groundswell asked of Azure, beside what people would have, and how long it all took."""
    timeline.title(" What it took ")
    timeline.console.print()
    timeline.console.print(_operations(results))
    timeline.console.print()
    timeline.console.print(_comparison(results))
    timeline.console.print(
        "The az commands are those of Microsoft's walk-through: identity create, three times identity show, task "
        "create, acr show, role assignment create, task credential add, task run. Counted with azure-cli 2.91.0 on "
        "this local Azure. A write is any request but a GET, so starting a run is one.",
        style="dim",
    )
    timeline.console.print()
    for result in results:
        tags = Text(" ".join(f"hello-world:{tag}" for tag in result.tags), "bold green")
        story = f"{result.option.value}, {result.seconds:.0f} s:"
        timeline.console.print(Text(f"{story:<23}").append_text(tags))
    timeline.console.print()
    timeline.console.print(
        Text.assemble(("✓", "bold green"), (f" Everything as expected, in {seconds:.0f} s.", "bold"))
    )


def _operations(results: list[Result]) -> Table:
    table = Table(title="Groundswell's requests to Resource Manager, whole story", title_justify="left", box=None,
                  title_style="bold", padding=(0, 2, 0, 0))  # fmt: skip
    table.add_column("operation", style="")
    for result in results:
        table.add_column(result.option.value, justify="right")
    counts = [Counter((call["method"], call["operation"]) for call in result.calls) for result in results]
    operations = sorted(set().union(*counts), key=lambda key: (key[0] == "GET", key[1]))
    for method, operation in operations:
        provider, _, rest = operation.partition("/")
        name = f"{method:<5} {provider.removeprefix('Microsoft.')}/{rest}"
        table.add_row(Text(name, "yellow" if method != "GET" else "dim"),
                      *(str(count[method, operation] or "–") for count in counts))  # fmt: skip
    for label, writes in (("writes", True), ("reads", False)):
        table.add_row(Text(label, "bold"), *(Text(str(_count(r.calls, writes=writes)), "bold") for r in results))
    return table


def _comparison(results: list[Result]) -> Table:
    table = Table(title="One registry, from nothing to its first run", title_justify="left", title_style="bold",
                  box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for name in ("", "requests", "writes"):
        table.add_column(name, justify="right" if name else "left")
    table.add_column("what it needs")
    for result in results:
        table.add_row(f"Groundswell, {result.option.value}", str(len(result.first)),
                      str(_count(result.first, writes=True)), "a tag on the registry")  # fmt: skip
    table.add_row("the nine az commands", str(SCRIPT_CALLS), str(SCRIPT_WRITES), "a person, for every registry")
    later = results[0].rebuild
    table.add_row("a later rebuild, Groundswell", str(len(later)), str(_count(later, writes=True)), "a push")
    table.add_row("a later rebuild, az acr task run", str(RUN_CALLS), str(RUN_WRITES), "a person, every time")
    return table


def _count(calls: Calls, *, writes: bool) -> int:
    return sum((call["method"] != "GET") is writes for call in calls)

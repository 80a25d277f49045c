"""The timeline: one line for each occurrence, in the order in which they happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from rich.console import Console
from rich.text import Text

WIDTH = 100
INDENT = 21
# Logs and journals are read a moment after things happen; lines wait that long so that they come in order.
HOLD_BACK = timedelta(seconds=0.25)


class Actor(Enum):
    """Who did it, and in which style that is shown."""

    YOU = "you", "bold"
    EVENT_GRID = "Event Grid", "magenta"
    GROUNDSWELL = "Groundswell", "bold cyan"
    ARM = "ARM", "yellow"
    RUN = "ACR run", "blue"
    CHECK = "", ""

    @property
    def label(self) -> Text:
        """The actor's name in its style."""
        name, style = self.value
        return Text(name, style)


@dataclass(frozen=True)
class Line:
    """A line of the timeline.

    Attributes:
        good: True for ✓, False for ✗, None for neither.
        detail: Shown dimmed below.
    """

    at: datetime
    actor: Actor
    text: str
    good: bool | None = None
    detail: str = ""


@dataclass
class Timeline:
    """Prints lines in order of time. Colours appear only on a terminal that wants them (NO_COLOR)."""

    console: Console
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _held: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Take a line to print when its turn comes."""
        self._held.append(line)

    def say(self, actor: Actor, text: str, *, good: bool | None = None, detail: str = "") -> None:
        """Add a line about something that happens now."""
        self.add(Line(datetime.now(UTC), actor, text, good, detail))

    def flush(self, before: datetime | None = None) -> None:
        """Print the lines that are older than a moment, or all."""
        due = [line for line in self._held if before is None or line.at < before]
        self._held = [line for line in self._held if before is not None and line.at >= before]
        for line in sorted(due, key=lambda line: line.at):
            self._print(line)

    def title(self, text: str) -> None:
        """Print the title of an option's story."""
        self.flush()
        self.console.print()
        self.console.rule(Text(text, "bold reverse"), style="dim", align="left")

    def heading(self, text: str) -> None:
        """Print what comes next."""
        self.flush()
        self.console.print()
        self.console.print(Text(text, "bold underline"))

    def quote(self, lines: list[str]) -> None:
        """Print what somebody else wrote, dimmed, below the lines so far and in line with their texts."""
        self.flush()
        for line in lines:
            self.console.print(Text(" " * INDENT + line, "dim"), soft_wrap=True)

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show on a terminal what is waited for, until it is there."""
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(Text(f"waiting for {text}", "dim"), spinner="dots"):
            yield

    def _print(self, line: Line) -> None:
        text = Text(line.text)
        text.highlight_regex(r"\bsha256:\w+…?", "dim")
        text.highlight_regex(r"\bSucceeded\b|\B✓", "green")
        text.highlight_regex(r"\bFailed\b|\brefused\b|\B✗ \w+ \w+", "red")
        text.highlight_regex(r"\bhello-world:\w+", "bold green")
        width = self.console.width - INDENT
        parts = list(text.wrap(self.console, width))
        if line.detail:
            parts += Text(line.detail, "dim").wrap(self.console, width)
        elapsed = max(0.0, (line.at - self.started).total_seconds())
        prefix = Text().append(f"{elapsed:5.1f}s  ", "dim").append_text(line.actor.label)
        prefix.append(" " * (INDENT - 2 - len(prefix)))
        prefix.append_text({True: Text("✓ ", "bold green"), False: Text("✗ ", "bold red"), None: Text("  ")}[line.good])
        for part in parts:
            part.rstrip()
            self.console.print(prefix + part, no_wrap=True)
            prefix = Text(" " * INDENT)


def make_console() -> Console:
    """Return a console for standard output, at most 100 columns wide."""
    console = Console(highlight=False)
    if not console.is_terminal or console.width > WIDTH:
        console = Console(highlight=False, width=WIDTH)
    return console

"""What the clients found: one check for each thing they did, told while it happens and as a table at the end."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 120


@dataclass(frozen=True)
class Check:
    """One thing that a client did.

    Attributes:
        client: Which client, e.g. `az (user-assigned)`; checks of the same client stand together in the table.
        what: What it did, e.g. the command.
        differences: How the outcome differs from Azure's, one sentence each; none means passed.
        not_run: Why it was not done (""; it was done), e.g. `skopeo is not installed`.
    """

    client: str
    what: str
    differences: tuple[str, ...] = ()
    not_run: str = ""

    @property
    def failed(self) -> bool:
        """Whether this check is a reason not to trust localazure; where CI is set, everything has to be run."""
        return bool(self.differences) or bool(self.not_run and os.environ.get("CI"))

    @property
    def verdict(self) -> str:
        """The outcome in a word or two."""
        return "not run" if self.not_run else "differs" if self.differences else "passed"


@dataclass
class Report:
    """Collects checks and prints them. Colours appear only on a terminal that wants them (NO_COLOR)."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=False))
    checks: list[Check] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Give the table its width where nobody watches."""
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=WIDTH)

    def add(self, client: str, what: str, differences: Iterable[str] = (), *, not_run: str = "") -> Check:
        """Add a check and say at once how it went."""
        check = Check(client, what, tuple(differences), not_run)
        self.checks.append(check)
        self.say(f"{_SIGNS[check.verdict]} {escape(check.client)}: {escape(_shortened(check.what))}")
        for text in (*check.differences, *([check.not_run] if check.not_run else ())):
            self.console.print(Padding(Text(text, "red" if check.failed else "yellow"), (0, 0, 0, 10)))
        return check

    def say(self, markup: str) -> None:
        """Print a line of progress."""
        self.console.print(
            f"[dim]{time.monotonic() - self.started:6.1f}[/] {markup}", no_wrap=True, overflow="ellipsis"
        )

    @property
    def failed(self) -> bool:
        """Whether anything differs, or nothing was checked at all."""
        return not self.checks or any(check.failed for check in self.checks)

    def print_table(self) -> None:
        """Print the table, each difference below what differs, and the sum."""
        table = Table("Client", "What it did", "", title="Conformance of localazure", title_justify="left", width=WIDTH)
        table.columns[1].ratio = 1
        clients = list(dict.fromkeys(check.client for check in self.checks))
        for client in clients:
            name = client
            for check in (check for check in self.checks if check.client == client):
                style = "red" if check.failed else "yellow" if check.not_run else "green"
                table.add_row(Text(name), Text(check.what, overflow="fold"), Text(check.verdict, style))
                for text in (*check.differences, *([check.not_run] if check.not_run else ())):
                    table.add_row("", Text(f"  {text}", style, overflow="fold"), "")
                name = ""
            table.add_section()
        self.console.print()
        self.console.print(table)
        counts = Counter(check.verdict for check in self.checks)
        found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("passed", "differs", "not run"))
        self.console.print(f"{found}; {time.monotonic() - self.started:.0f} s")


_SIGNS = {"passed": "[green]✓[/]", "differs": "[red]✗[/]", "not run": "[yellow]–[/]"}


def _shortened(text: str, length: int = 180) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"

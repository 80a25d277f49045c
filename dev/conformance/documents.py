"""The commands that the documents tell people to type, as they stand there, and who runs each of them.

A command is what a block of type `console` has after `$`, and what stands in the text as code and names a known program
with what to do. Each is run by a test, by CI or by the conformance run, or is in the list of docs/deployment.md that
says why nothing runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
             "dev/localazure/README.md")  # fmt: skip
LIST = "Commands that nothing here runs"

PLACEHOLDERS = {
    "11111111-1111-1111-1111-111111111111": "$SUBSCRIPTION",
    "11111111-…": "$SUBSCRIPTION",
    "22222222-…": "$SUBSCRIPTION",
    "func-…": "groundswell",
    "rg-prod": "myResourceGroup",
    "rg-<environment>": "rg-prod",
    "STORAGE=st…": "STORAGE=devstoreaccount1",
    "--registry …": "--registry myregistry",
    "baseimages/python:3.13": "baseimages/node:15-alpine",
    '"baseImage": "…"': '"baseImage": "baseimages/node:15-alpine"',
    "cf3": "$RUN",
}
"""What stands in the documents for something of the reader's own, and what it is in the local Azure.

The run's variables `SUBSCRIPTION` and `RUN` are the subscription and the newest run of myregistry.
"""

# Its blocks are typed by tests/e2e/test_core_tools.py.
_MACHINE = ("docs/deployment.md", "Run it on your machine")
_INLINE = re.compile(
    r"(az .*--|azd \S|curl .*[/-]|func .*--|make [a-z]|npm \S+ .*-|groundswell (GET|POST) |python -m |"
    r"infra/hooks/\S+\.sh$|\S*/python -m )"
)
# What a command that the conformance run plays begins with: a program that localazure or the app serves, or the shell.
_PLAYED = re.compile(r"(az |curl |groundswell |groundswell\(\)|export |[A-Za-z]+=|for |\. azure\.env)")


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        section: The heading that it stands under.
        text: With its placeholders, line breaks and comments.
    """

    document: str
    section: str
    text: str

    @property
    def plain(self) -> str:
        """The command on one line, without comments."""
        text = re.sub(r"\s{2,}# .*$", "", self.text, flags=re.MULTILINE)
        return " ".join(text.replace("\\\n", " ").split())

    @property
    def filled(self) -> str:
        """The command with its placeholders filled in."""
        text = self.text
        for placeholder, value in PLACEHOLDERS.items():
            text = text.replace(placeholder, value)
        return text


def commands(documents: tuple[str, ...] = DOCUMENTS) -> list[Command]:
    """Return all commands, in the order in which they are read."""
    return [command for name in documents for command in read(name, (ROOT / name).read_text(encoding="utf-8"))]


def read(document: str, text: str) -> Iterator[Command]:
    """Return the commands of a document."""
    section, fence, typed = "", "", list[str]()
    for line in [*text.splitlines(), "```"]:
        ends = re.search(r"<<'(\w+)'", typed[0]) if typed else None
        if typed and fence and (line.startswith("  ") or (ends and typed[-1] != ends[1])):
            typed.append(line)
            continue
        if typed:
            yield Command(document, section, "\n".join(typed))
            typed = []
        if line.startswith("```"):
            fence = "" if fence else line
        elif fence == "```console" and line.startswith("$ "):
            typed = [line[2:]]
        elif not fence and line.startswith("#"):
            section = line.lstrip("# ")
        elif not fence and section != LIST:
            yield from (Command(document, section, code) for code in re.findall(r"`([^`]+)`", line)
                        if _INLINE.match(code))  # fmt: skip


def not_run() -> dict[str, str]:
    """Return the list of commands that nothing runs, `…` standing for anything, with the reasons."""
    text = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {LIST}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {code: reason for codes, reason in rows for code in re.findall(r"`([^`]+)`", codes)}


def _is_listed(command: Command) -> bool:
    def fits(pattern: str) -> bool:
        parts = ".*".join(re.escape(part) for part in pattern.split("…"))
        return re.fullmatch(parts, command.plain) is not None

    return any(map(fits, not_run()))


def runners(command: Command) -> list[str]:
    """Return who runs a command; the list counts as one. There must be exactly one."""
    if _is_listed(command):
        return ["list"]
    if (command.document, command.section) == _MACHINE or command.plain == "make storage":
        return ["tests/e2e/test_core_tools.py"]
    if command.plain.startswith("make "):
        done = re.findall(r"make --no-print-directory (?:--keep-going )?([a-z-]+)", (ROOT / ".ci/run").read_text())
        return [".ci/run"] if command.plain.split()[1] in done else []
    return ["conformance"] if _PLAYED.match(command.plain) else []


def played() -> list[Command]:
    """Return the commands that the conformance run plays: operations first, whose first block the others build on."""
    documents = ("docs/operations.md", *(name for name in DOCUMENTS if name != "docs/operations.md"))
    return [command for command in commands(documents) if runners(command) == ["conformance"]]

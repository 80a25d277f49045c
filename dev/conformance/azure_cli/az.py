"""Runs the real Azure CLI (https://learn.microsoft.com/cli/azure), each command a process as from a shell."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dev.conformance.compare import ANYTHING, differences
from dev.conformance.report import Report
from dev.conformance.world import ROOT, Output, World, run
from dev.localazure.state import DEFAULT_TENANT
from dev.sandbox.cloud import SUBSCRIPTION

PROGRAM = ROOT / ".venv-conformance" / "bin" / "az"
ANSWERS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "answers.yaml").read_text())

# A command keeps a processor busy for most of its second or two; more at a time would only make each slower.
_AT_ONCE = asyncio.Semaphore(2)


class Stopped(Exception):
    """A command went wrong on whose outcome everything after it depends; it has been reported."""


@dataclass
class Az:
    """The CLI in a world, with a configuration of its own; calling it runs a command and reports one check.

    Attributes:
        client: What the report calls it.
        names: What `{name}` stands for in expected answers; commands' results are added as they become known.
        folder: Its current folder.
        environment: What it is told of the world and of itself.
    """

    world: World
    report: Report
    client: str
    names: dict[str, str] = field(default_factory=lambda: {"subscription": SUBSCRIPTION, "tenant": DEFAULT_TENANT})
    folder: Path = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Make its folders."""
        self.folder = self.world.folder / "work"
        self.folder.mkdir(exist_ok=True)
        self.environment = {
            **self.world.cloud.environment,
            "AZURE_CONFIG_DIR": str(self.world.folder / "azure"),
            "AZURE_CORE_COLLECT_TELEMETRY": "no",
            "AZURE_CORE_INSTANCE_DISCOVERY": "false",
            "AZURE_CORE_NO_COLOR": "yes",
        }

    async def __call__(
        self, line: str, *, answer: Any = ANYTHING, fails: bool = False, says: Sequence[str] = (),
        silent: Sequence[str] = (), differs: Sequence[str] = (), seconds: float = 90,
    ) -> Any:  # fmt: skip
        """Run `az {line}` as a shell would and report how it went; return what it printed, JSON as objects.

        Args:
            answer: What Azure's CLI prints: a value for `differences`, or the name of one in answers.yaml.
            fails: The command must end with an exit status other than 0.
            says: Regular expressions that its output, errors and warnings included, must hold in this order.
            silent: Regular expressions that it must not hold.
            differs: What the caller found wrong with an earlier outcome.
            seconds: How long it may take.

        Raises:
            Stopped: It should have succeeded and did not.
        """
        output = await self._run(line, seconds)
        printed = _parsed(output.out)
        found = list(differs)
        if (output.status != 0) != fails:
            found.append(f"exit status {output.status}: {output.last_words}")
        else:
            expected = ANSWERS[answer] if isinstance(answer, str) and answer in ANSWERS else answer
            found += differences(expected, printed, self.names)
            found += _unsaid(output, says, silent)
        self.report.add(self.client, self._shown(line), found)
        if output.status and not fails:
            raise Stopped(f"az {line}")
        return printed

    async def ask(self, line: str) -> Any:
        """Run a command that is no check of its own and return what it printed.

        Raises:
            Stopped: It failed, which is reported.
        """
        output = await self._run(line, 90)
        if output.status:
            self.report.add(self.client, self._shown(line), [f"exit status {output.status}: {output.last_words}"])
            raise Stopped(f"az {line}")
        return _parsed(output.out)

    async def variable(self, name: str, line: str) -> str:
        """Run a command whose output is kept as a variable, as `name=$(az …)` does; return it."""
        text = str(await self(line)).strip()
        self.names[name] = text
        return text

    async def _run(self, line: str, seconds: float) -> Output:
        async with _AT_ONCE:
            return await run([str(PROGRAM), *shlex.split(line)], self.environment, folder=self.folder, seconds=seconds)

    def _shown(self, line: str) -> str:
        """Return the command with variables in place of long ids, as a person would type it."""
        text = f"az {line}"
        for name, value in sorted(self.names.items(), key=lambda item: -len(item[1])):
            if len(value) > 30:
                text = text.replace(value, f"${name}")
        return text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.replace("\r\n", "\n")


def _unsaid(output: Output, says: Sequence[str], silent: Sequence[str]) -> list[str]:
    found = []
    text = f"{output.err}\n{output.out}".replace("\r\n", "\n")
    at = 0
    for pattern in says:
        if match := re.compile(pattern, re.MULTILINE).search(text, at):
            at = match.end()
        else:
            found.append(f"its output does not hold {pattern!r}; it ends: {output.last_words}")
    return found + [f"its output holds {pattern!r}" for pattern in silent if re.search(pattern, text, re.MULTILINE)]

"""The text of a build step, read twice: by ACR's dependency scanner and by docker itself.

The two differ, and builds fail on it: the scanner splits at spaces, knows `--build-arg X=y` but not
`--build-arg=X=y`, and takes a word behind any flag for that flag's value.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from typing import Any, NoReturn

from dev.localazure.agent.errors import RunFailed


@dataclass(frozen=True)
class ScanArguments:
    """What the scanner sees. `context` is a path or a URL; `build_args` are `NAME=value` as written."""

    tags: tuple[str, ...]
    build_args: tuple[str, ...]
    dockerfile: str
    target: str
    context: str


def scan_arguments(text: str) -> ScanArguments:
    """Read a build step as the dependency scanner does."""
    words = text.split()
    pairs = list(zip(["", *words], words, strict=False))

    def after(*flags: str) -> list[str]:
        return [word for flag, word in pairs if flag in flags]

    positional = [word for previous, word in pairs if not previous.startswith("-") and not word.startswith("-")]

    def last(found: list[str], default: str) -> str:
        return (found or [default])[-1].strip("'\"")

    return ScanArguments(
        tags=tuple(after("-t", "--tag")),
        build_args=tuple(after("--build-arg")),
        dockerfile=last(after("-f", "--file"), ""),
        target=last(after("--target"), ""),
        context=last(positional, "."),
    )


@dataclass(frozen=True)
class BuildCommand:
    """What docker sees. `platform` is `os/architecture[/variant]` or ""."""

    tags: tuple[str, ...]
    build_args: dict[str, str]
    labels: dict[str, str]
    dockerfile: str
    target: str
    platform: str
    context: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunFailed(f"docker: {message}\nSee 'docker build --help'.")


def _parser() -> _Parser:
    parser = _Parser(prog="docker build", add_help=False, allow_abbrev=False)
    add: Any = parser.add_argument
    for flags in (("-t", "--tag"), ("--build-arg",), ("--label",)):
        add(*flags, action="append", default=[])
    for flags in (("-f", "--file"), ("--target",), ("--platform",)):
        add(*flags, default="")
    for flags in (("--no-cache",), ("--pull",), ("--rm",), ("--force-rm",), ("-q", "--quiet"), ("--squash",)):
        add(*flags, action="store_true")
    for flag in ("--cache-from", "--network", "--progress", "--isolation", "--add-host", "--shm-size", "--ulimit"):
        add(flag, action="append")
    add("-m", "--memory")
    add("context", nargs="*")
    return parser


def build_command(text: str) -> BuildCommand:
    """Read a build step as `docker build` does.

    Raises:
        RunFailed: docker would refuse the command line.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RunFailed(f"/bin/sh: syntax error: {error}") from error
    found, unknown = _parser().parse_known_intermixed_args(words)
    if unknown:
        raise RunFailed(f"unknown flag: {unknown[0].partition('=')[0]}\nSee 'docker build --help'.")
    if len(found.context) != 1:
        raise RunFailed("\"docker build\" requires exactly 1 argument.\nSee 'docker build --help'.")
    pairs = [item.partition("=") for item in found.build_arg]
    return BuildCommand(
        tags=tuple(found.tag),
        # An argument without a value takes it from docker's environment, where it is not set.
        build_args={name: value for name, equals, value in pairs if equals},
        labels={name: value for name, _, value in (item.partition("=") for item in found.label)},
        dockerfile=found.file,
        target=found.target,
        platform=found.platform,
        context=found.context[0],
    )

"""Command line: `python -m dev.demo`, `python -m dev.demo up`, `python -m dev.demo push`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Coroutine

import aiohttp

from dev.demo import playground, summary
from dev.demo.story import Result, Story
from dev.demo.timeline import Timeline, make_console
from dev.sandbox.cloud import Refused
from dev.sandbox.processes import CannotStart
from dev.sandbox.world import Option, Unexpected, World, running


async def play(timeline: Timeline, options: list[Option]) -> int:
    """Play the story with each option, in a world of its own; return the exit status."""
    summary.introduce(timeline)
    started, results = time.monotonic(), list[Result]()
    for option in options:
        timeline.title(f" With a {option.value} identity ")
        async with running(option) as world:
            try:
                story = Story(world, timeline, shows_log=not results)  # once is enough
                results.append(await story.play())
            except (Unexpected, Refused, aiohttp.ClientError, OSError) as error:
                return _tell(timeline, error, world)
    summary.conclude(timeline, results, time.monotonic() - started)
    return 0


async def up(timeline: Timeline, option: Option) -> int:
    """Start everything, show what happens and leave it running; return the exit status."""
    summary.introduce(timeline)
    timeline.title(f" Groundswell with a {option.value} identity ")
    async with running(option, playground.PORTS) as world:
        try:
            await playground.stay(Story(world, timeline))
        except (Unexpected, Refused, aiohttp.ClientError, OSError) as error:
            return _tell(timeline, error, world)
    return 0


def _tell(timeline: Timeline, error: Exception, world: World) -> int:
    if not isinstance(error, Unexpected):
        # Somebody did not answer; if a process is gone, that says why.
        error = Unexpected("an answer", world.processes.dead() or f"{type(error).__name__}: {error}")
    summary.failed(timeline, error, world.host_log)
    return 1


async def _until_signal(work: Coroutine[None, None, int]) -> int:
    """Do the work; at SIGINT, SIGTERM or SIGHUP cancel it, once, so that it ends what it has started."""
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        print("\nStopped; nothing is left running.")
        return 128 + received[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description="Plays Groundswell on a local Azure.")
    commands = parser.add_subparsers(dest="command", metavar="{up,push}")
    starts = commands.add_parser("up", help="start everything and leave it running")
    group = starts.add_mutually_exclusive_group()
    group.add_argument("--user-assigned", dest="option", action="store_const", const=Option.USER_ASSIGNED,
                       default=Option.USER_ASSIGNED, help="one identity for the whole fleet (default)")  # fmt: skip
    group.add_argument("--system-assigned", dest="option", action="store_const", const=Option.SYSTEM_ASSIGNED,
                       help="an identity for each task")  # fmt: skip
    pushes = commands.add_parser("push", help="push a base image into what `up` has started")
    pushes.add_argument("text", nargs="?", default="", help="what is in it: the same text makes the same digest")
    return parser.parse_args()


def main() -> int:
    """Run a command and return its exit status."""
    arguments, timeline = _arguments(), Timeline(make_console())
    try:
        if arguments.command == "push":
            return asyncio.run(playground.push(timeline.console, arguments.text))
        if arguments.command == "up":
            status = asyncio.run(_until_signal(up(timeline, arguments.option)))
            # Ctrl-C is how it is meant to end.
            return 0 if status in (128 + signal.SIGINT, 128 + signal.SIGTERM) else status
        return asyncio.run(_until_signal(play(timeline, list(Option))))
    except (CannotStart, Unexpected) as error:
        print(f"The demo cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

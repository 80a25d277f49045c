"""Command line: ``python -m dev.functionshost --app DIR``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from dev.functionshost import eventgrid
from dev.functionshost.host import Host, HostOptions
from dev.functionshost.keys import DEFAULT_KEY, EVENT_GRID_KEY, Keys, new_key
from dev.functionshost.queues import DEFAULT_LEASE
from dev.functionshost.settings import SettingsError
from dev.functionshost.worker_channel import WorkerGoneError

EXIT_CRASHED = 1
EXIT_UNUSABLE = 2


class UnusableError(Exception):
    """The host cannot run with what it was given."""


def main(arguments: list[str] | None = None) -> int:
    """Run the host until SIGTERM or SIGINT and return its exit status."""
    options, ready_file = _parse(arguments)
    try:
        host = Host(options)
    except (SettingsError, ModuleNotFoundError) as error:
        print(f"cannot start the host: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    try:
        return asyncio.run(_run(host, options, ready_file))
    except UnusableError as error:
        print(f"cannot start the host: {error}", file=sys.stderr)
        return EXIT_UNUSABLE


async def _run(host: Host, options: HostOptions, ready_file: Path | None) -> int:
    signaled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signaled.set)
    try:
        await host.start()
    except OSError as error:
        await host.stop()
        raise UnusableError(f"port {options.port} cannot be used: {error}") from error
    except WorkerGoneError as error:
        raise UnusableError(f"the app ends its process whenever it is imported ({error})") from error
    print(start_up_text(host, options), flush=True)
    if ready_file:
        _write_atomically(ready_file, json.dumps(host.ready_document(), indent=2))
    ends = [asyncio.create_task(event.wait()) for event in (signaled, host.ended)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await host.stop()
    return EXIT_CRASHED if host.ended.is_set() else 0


def start_up_text(host: Host, options: HostOptions) -> str:
    """Return the list of functions, with their addresses and keys, that is printed when the host is up."""
    wiring = host.wiring
    lines = ["", f"Functions of {options.app_dir.name}, run by {host.ready_document()['worker']}:", ""]
    for route in wiring.routes:
        methods = ",".join(sorted(route.methods)) or "any method"
        lines.append(f"  {route.function.name}: [{methods}] {host.url}/{route.template}")
    lines += [f"  {name}: Event Grid {host.url}{eventgrid.PATH}?functionName={name}" for name in wiring.event_grid]
    lines += [f"  {listener.function_name}: queue {listener.queue_url}" for listener in wiring.listeners]
    lines += [
        f"  {name}: timer, next at {timer.next_occurrence:%Y-%m-%d %H:%M:%S} UTC"
        for name, timer in wiring.timers.items()
        if name not in wiring.disabled
    ]
    lines += [f"  {name}: disabled" for name in sorted(wiring.disabled)]
    lines += [f"  {name}: IN ERROR, {reason}" for name, reason in wiring.errors.items()]
    lines += [f"  NOT LOADED: {error}" for error in host.errors]
    lines += [
        "",
        f"  master key      {options.keys.master}",
        f"  function key    {options.keys.host[DEFAULT_KEY]}",
        f"  Event Grid key  {options.keys.system[EVENT_GRID_KEY]}",
        "",
    ]
    return "\n".join(lines)


def _parse(arguments: list[str] | None) -> tuple[HostOptions, Path | None]:
    parser = argparse.ArgumentParser(
        prog="python -m dev.functionshost",
        description="Run an Azure Functions app (Python v2 model) on this machine.",
    )
    parser.add_argument("--app", type=Path, required=True, help="directory of the app, with host.json")
    parser.add_argument("--port", type=int, default=7071, help="port on 127.0.0.1; 0 takes a free one (default 7071)")
    parser.add_argument("--settings", type=Path, help="settings file (default: local.settings.json of the app)")
    parser.add_argument("--ready-file", type=Path, help="write URL, keys and functions here as JSON when ready")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--queue-lease",
        type=int,
        default=DEFAULT_LEASE,
        metavar="SECONDS",
        help=f"how long a received message stays invisible unless renewed (default {DEFAULT_LEASE}, as in Azure)",
    )
    parser.add_argument(
        "--request-grace", type=float, default=30.0, metavar="SECONDS", help="time for requests to finish at the end"
    )
    parser.add_argument(
        "--grace", type=float, default=10.0, metavar="SECONDS", help="time for other invocations after that"
    )
    parser.add_argument("--worker", choices=("auto", "library", "runtime"), default="auto")
    for name, variable in _KEY_VARIABLES.items():
        parser.add_argument(f"--{name}", default=os.environ.get(variable), help=f"default: {variable}, or random")
    given = parser.parse_args(arguments)
    if given.queue_lease < 1:
        parser.error("--queue-lease must be at least one second")
    options = HostOptions(
        app_dir=given.app.resolve(),
        port=given.port,
        settings_file=given.settings.resolve() if given.settings else None,
        keys=Keys(
            master=given.master_key or new_key(),
            host={DEFAULT_KEY: given.function_key or new_key()},
            system={EVENT_GRID_KEY: given.event_grid_key or new_key()},
        ),
        queue_lease=given.queue_lease,
        request_grace=given.request_grace,
        grace=given.grace,
        worker=given.worker,
        log_json=given.log_format == "json",
    )
    return options, given.ready_file.resolve() if given.ready_file else None


_KEY_VARIABLES = {
    "master-key": "LOCALAZURE_FUNCTIONS_MASTER_KEY",
    "function-key": "LOCALAZURE_FUNCTIONS_FUNCTION_KEY",
    "event-grid-key": "LOCALAZURE_FUNCTIONS_EVENT_GRID_KEY",
}


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())

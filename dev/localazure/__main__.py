"""Command line: `python -m dev.localazure`."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import shlex
import signal
import sys
from datetime import timedelta
from pathlib import Path

from dev.localazure.azure import Azure
from dev.localazure.clock import Clock
from dev.localazure.persistence import StoreError
from dev.localazure.proxy import AZURE_SUFFIXES

HELP = """\
A local Azure on loopback. It prints the environment for Azure clients as `export NAME=value` lines on stdout and runs
until Ctrl-C (SIGINT), SIGTERM or SIGHUP.
"""

SUMMARY = """\
localazure is up. It answers, over TLS and through the proxy, for
  {hosts}
  proxy    http://127.0.0.1:{proxy}     every other host name is refused: nothing leaves this machine
  control  http://127.0.0.1:{control}   identity endpoint, and /control/{{clock,settings,faults,journal,events,apps,…}}
  state    {state}
Take the environment into a shell:  {source}
then, for example:
  curl -s "$LOCALAZURE_CONTROL/control/state"
  az login --identity && az acr list    (the Azure CLI also wants AZURE_CORE_INSTANCE_DISCOVERY=false and, so that
                                         it leaves your real login alone, an AZURE_CONFIG_DIR of its own)
Ctrl-C ends it.
"""


class CannotStart(Exception):
    """localazure cannot start; the message is for the person who started it."""


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("must be a port number")
    return value


def _arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.localazure", description=HELP)
    parser.add_argument("--proxy-port", type=_port, default=0, help="port of the CONNECT proxy (default: a free one)")
    parser.add_argument("--control-port", type=_port, default=0,
                        help="port of the local endpoint (default: a free one)")  # fmt: skip
    parser.add_argument("--env-file", type=Path, metavar="FILE",
                        help="also write the export lines to FILE, which is removed at the end")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the state in DIR (default: in memory only)")
    parser.add_argument("--clock-scale", type=_positive, default=1.0, metavar="N",
                        help="let Azure's time pass N times as fast (default: 1)")  # fmt: skip
    parser.add_argument("--rbac-delay", type=_seconds, default=0.0, metavar="SECONDS",
                        help="how long a role assignment takes to work (Azure: up to 600; default: 0)")  # fmt: skip
    return parser.parse_args(words)


async def _run(args: argparse.Namespace) -> None:
    azure = Azure(Clock(args.clock_scale))
    azure.rbac.delay = timedelta(seconds=args.rbac_delay)
    stop = asyncio.Event()
    # SIGHUP: the terminal was closed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    written = False
    try:
        await _start(azure, args)
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in azure.environment().items())
        if args.env_file:
            try:
                _write_private(args.env_file, lines)
            except OSError as error:
                raise CannotStart(f"{args.env_file} cannot be written: {error.strerror}") from error
            written = True
        try:
            print(lines, end="", flush=True)
        except BrokenPipeError as error:
            # What could not be written would be tried again, and reported again, when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CannotStart("nobody reads its standard output") from error
        source = f". {shlex.quote(str(args.env_file))}" if args.env_file else "paste the export lines above"
        print(SUMMARY.format(
            hosts=", ".join(("*" if host[0] == "." else "") + host for host in AZURE_SUFFIXES),
            proxy=azure.proxy.port, control=azure.control.port, source=source,
            state=f"kept in {args.data}" if args.data else "in memory only",
        ), end="", file=sys.stderr, flush=True)  # fmt: skip
        await stop.wait()
    finally:
        await azure.stop()
        if written:
            args.env_file.unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: the environment holds the secret of an identity."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


async def _start(azure: Azure, args: argparse.Namespace) -> None:
    try:
        await azure.start(proxy_port=args.proxy_port, control_port=args.control_port, data=args.data)
    except StoreError as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        option = "--control-port" if azure.proxy.port else "--proxy-port"
        port = args.control_port if azure.proxy.port else args.proxy_port
        raise CannotStart(f"port {port} is in use; choose another one with {option}") from error


def main() -> None:
    """Run localazure until Ctrl-C."""
    args = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_run(args))
    except CannotStart as error:
        print(f"localazure cannot start: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

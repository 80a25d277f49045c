"""Command line: `python -m localazure`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import signal
import sys
from pathlib import Path

from localazure.azure import Azure


async def _run(args: argparse.Namespace) -> None:
    azure = Azure()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await azure.start(proxy_port=args.proxy_port, control_port=args.control_port)
    try:
        for name, value in azure.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        print("# localazure is up; Ctrl-C ends it.", file=sys.stderr, flush=True)
        await stop.wait()
    finally:
        await azure.stop()


def main() -> None:
    """Run localazure until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m localazure", description="A local Azure on loopback.")
    parser.add_argument("--proxy-port", type=int, default=0, help="port of the CONNECT proxy (default: a free one)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the local endpoint (default: a free one)")
    parser.add_argument("--data", type=Path, help="directory to keep the state in (default: in memory only)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    asyncio.run(_run(args))


if __name__ == "__main__":
    main()

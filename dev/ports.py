"""Ports of this machine: which are free, and where somebody listens."""

from __future__ import annotations

import socket


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(*wanted: int) -> list[int]:
    """Return a free port for each wanted one: that one itself if nobody has it (0: any)."""
    sockets = []
    try:
        for port in wanted:
            sockets.append(socket.socket())
            # As servers do: connections that are long over do not keep a port.
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sockets[-1].bind(("127.0.0.1", port))
            except OSError:
                sockets[-1].bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]
    finally:
        for item in sockets:
            item.close()

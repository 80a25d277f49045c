"""A throw-away certificate authority that vouches for Azure's host names on this machine only."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """Issues one certificate for each host name asked for; its key stays in this process's memory."""

    def __init__(self) -> None:
        """Make a new CA."""
        self._ca = trustme.CA(organization_name="localazure (throw-away)")
        self._contexts: dict[str, ssl.SSLContext] = {}

    def write_bundle(self, path: Path) -> None:
        """Write the CA certificate (no key), as `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE` want it."""
        path.write_bytes(self._ca.cert_pem.bytes())

    def _context_for(self, host: str) -> ssl.SSLContext:
        if host not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._ca.issue_cert(host).configure_cert(context)
            self._contexts[host] = context
        return self._contexts[host]

    def server_context(self) -> ssl.SSLContext:
        """Return a server context that answers each SNI name with its own certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("localhost").configure_cert(context)

        def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
            if name:
                connection.context = self._context_for(name.lower())

        context.sni_callback = choose
        return context

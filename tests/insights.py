"""Application Insights' ingestion endpoint on loopback: accepts what the exporter sends, and keeps it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any

_KEY = "7f5a1d9c-0b1e-4a57-9a43-3a0f5f0c2b61"


class Insights:
    """Listens while it is entered, in a thread: an app that ends waits until its last telemetry is taken.

    Attributes:
        items: The telemetry items, in the order of arrival.
        text: Everything that was sent, headers included, as it stood in the requests.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.text = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *connection: _Requests(self, *connection))

    @property
    def environment(self) -> dict[str, str]:
        """Settings that send an app's telemetry here, without delay and nowhere else."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={_KEY};IngestionEndpoint={url}/;"
            f"LiveEndpoint={url}/",
            "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
            "OTEL_TRACES_SAMPLER": "microsoft.fixed_percentage",
            "OTEL_TRACES_SAMPLER_ARG": "1.0",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

    def __enter__(self) -> Insights:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (operation id, data) of each item of one kind: Request, RemoteDependency, Message, Metric, …"""
        for item in self.items:
            if item["data"]["baseType"] == f"{kind}Data":
                yield item["tags"].get("ai.operation.id", ""), item["data"]["baseData"]

    def spans(self, name: str) -> list[tuple[str, dict[str, str]]]:
        """Return (operation id, dimensions) of all spans of a name."""
        found = [*self.of("Request"), *self.of("RemoteDependency")]
        return [(operation, data.get("properties", {})) for operation, data in found if data["name"] == name]

    def traces(self, text: str) -> list[tuple[str, dict[str, str]]]:
        """Return (operation id, dimensions) of all log records whose message begins so."""
        return [
            (operation, data.get("properties", {}))
            for operation, data in self.of("Message")
            if data["message"].startswith(text)
        ]

    def metric(self, name: str, **dimensions: str) -> float:
        """Return the sum of a metric over all exports, for these dimensions."""
        return sum(
            float(point["value"])
            for _, data in self.of("Metric")
            for point in data["metrics"]
            if point["name"] == name and dimensions.items() <= data.get("properties", {}).items()
        )


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, insights: Insights, *connection: Any) -> None:
        self._insights = insights
        super().__init__(*connection)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = (gzip.decompress(data) if self.headers["Content-Encoding"] == "gzip" else data).decode()
        self._insights.text += f"{self.path}\n{self.headers}\n{body}\n"
        answer = {}
        if self.path.endswith("/track"):
            items = json.loads(body) if body.startswith("[") else [json.loads(line) for line in body.splitlines()]
            self._insights.items += items
            answer = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
        text = json.dumps(answer).encode()
        self.send_response(200)
        # Nobody looks at the live metrics.
        for name, value in (("Content-Length", str(len(text))), ("x-ms-qps-subscribed", "false")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        return

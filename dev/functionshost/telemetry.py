"""OpenTelemetry in our own worker: the settings that switch it on in the official one do so here, to the same effect.

See https://learn.microsoft.com/azure/azure-functions/opentelemetry-howto.
"""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)

AZURE_MONITOR = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"
OWN_EXPORTERS = "PYTHON_ENABLE_OPENTELEMETRY"


def configure() -> bool:
    """Configure what the settings ask for; tell whether functions are to run in the trace of their invocation.

    Telemetry that cannot be configured is logged and stays off: the functions run all the same.
    """
    traced = _is_on(OWN_EXPORTERS)
    if _is_on(AZURE_MONITOR):
        os.environ.setdefault("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "azure_functions")
        try:
            from azure.monitor.opentelemetry import configure_azure_monitor

            configure_azure_monitor(
                connection_string=os.environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING"),
                logger_name=os.environ.get("PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME", ""),
            )
            traced = True
        except Exception:  # a missing package, a malformed connection string
            logger.exception("Azure Monitor's OpenTelemetry distribution cannot be configured")
    return traced


def attach(trace_parent: str, trace_state: str) -> None:
    """Let the rest of the current task run in an invocation's trace."""
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": trace_parent, "tracestate": trace_state}
    context.attach(TraceContextTextMapPropagator().extract(carrier))


def _is_on(setting: str) -> bool:
    return os.environ.get(setting, "").strip().lower() in {"1", "true", "t", "yes", "y"}

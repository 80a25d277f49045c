"""Where events go: webhooks (with the validation handshake) and functions of a known function app."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.eventgrid.schemas import CLOUD_EVENTS
from dev.localazure.eventgrid.subscription import source_of
from dev.localazure.proxy import is_azure
from dev.localazure.sites import Sites
from dev.localazure.state import Resource, new_guid

_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Destination:
    """The destination of an event subscription.

    Attributes:
        kind: `WebHook` or `AzureFunction`.
        target: The webhook's URL or the function's resource id.
        max_events: How many events one delivery may carry.
    """

    kind: str
    target: str
    max_events: int

    @property
    def fatal(self) -> frozenset[int]:
        """Statuses after which Event Grid does not try again.

        https://learn.microsoft.com/azure/event-grid/delivery-and-retry#retry-schedule
        """
        return frozenset((400, 401, 403, 413) if self.kind == "WebHook" else (400, 403, 413))


def destination_of(properties: dict[str, Any]) -> Destination:
    """Read the destination from an event subscription's properties."""
    managed = properties.get("deliveryWithResourceIdentity") or {}
    block = properties.get("destination") or managed.get("destination") or {}
    inner = block.get("properties") or {}
    target = inner.get("endpointUrl") if block.get("endpointType") == "WebHook" else inner.get("resourceId")
    return Destination(str(block.get("endpointType")), str(target or ""), int(inner.get("maxEventsPerBatch") or 1))


def check_webhook(url: str) -> None:
    """Refuse a URL that Event Grid would refuse, or that leads off this machine.

    Azure wants https; here http is allowed to loopback, where a Functions host or a test listens without TLS.

    Raises:
        ArmError: 400 `InvalidRequest`.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme == "http" and host in _LOOPBACK:
        return
    if parts.scheme != "https" or not host:
        raise ArmError(400, "InvalidRequest", "Invalid event subscription request: Supplied URL is invalid. It cannot "
                       "be null or empty and should be a proper HTTPS URL like https://www.example.com.")  # fmt: skip
    if not is_azure(host):
        raise ArmError(400, "InvalidRequest", "Invalid event subscription request: localazure delivers only to "
                       f"Azure's own host names and to http://127.0.0.1; {host} is neither.")  # fmt: skip


class Endpoints:
    """Sends requests to destinations. Redirects are not followed, as Event Grid does not follow them."""

    def __init__(self, core: Core, sites: Sites, timeout: Callable[[], float]) -> None:
        """Reach functions through their sites; `timeout` tells how long an answer may take, in real seconds."""
        self._core, self._sites, self._timeout = core, sites, timeout
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def stop(self) -> None:
        """Close open connections."""
        if self._session:
            await self._session.close()
        self._session = self._tls = None

    async def request(self, method: str, url: str, **arguments: Any) -> tuple[int, bytes, dict[str, str]]:
        """Send a request; https goes through the local proxy to this Azure's own host names.

        Raises:
            OSError, aiohttp.ClientError, TimeoutError: No answer.
        """
        self._session = self._session or aiohttp.ClientSession()
        if url.startswith("https:"):
            self._tls = self._tls or ssl.create_default_context(cafile=self._core.ca_bundle)
            arguments.update(proxy=f"http://127.0.0.1:{self._core.proxy.port}", ssl=self._tls)
        limit = aiohttp.ClientTimeout(total=self._timeout())
        async with self._session.request(method, url, allow_redirects=False, timeout=limit, **arguments) as response:
            return response.status, await response.read(), dict(response.headers)

    def url_of(self, destination: Destination) -> str | None:
        """Return the address that deliveries go to, or None if the function app is not there (any more)."""
        if destination.kind == "WebHook":
            return destination.target
        return self._sites.event_grid_url(destination.target)

    async def validate(self, subscription: Resource, schema: str) -> None:
        """Prove that the destination wants these events.

        Functions are looked up in their app; webhooks get the handshake
        (https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema and
        https://learn.microsoft.com/azure/event-grid/end-point-validation-cloud-events-schema).

        Raises:
            ArmError: 400 with Event Grid's code for the failure.
        """
        destination = destination_of(subscription.properties)
        if destination.kind == "AzureFunction":
            self._check_function(destination.target)
        else:
            check_webhook(destination.target)
            handshake = self._cloud_events_handshake if schema == CLOUD_EVENTS else self._event_grid_handshake
            await handshake(subscription, destination.target)

    def _stamp(self) -> str:
        now = self._core.clock.now()
        hour = now.hour % 12 or 12
        return (f"Activity id:{new_guid()}, timestamp: {now.month}/{now.day}/{now.year} {hour}:{now:%M:%S} "
                f"{'AM' if now.hour < 12 else 'PM'} (UTC).")  # fmt: skip

    def _check_function(self, resource_id: str) -> None:
        function = self._sites.function(resource_id)
        if function is None:
            raise ArmError(400, "Endpoint validation", "Destination endpoint not found. Resource details: resourceId: "
                           f"{resource_id}. Resource should pre-exist before attempting this operation. "
                           + self._stamp())  # fmt: skip
        if function.get("type", "").lower() != "eventgridtrigger":
            raise ArmError(400, "Unsupported Azure Function Trigger", "Can't add resource; Azure Event Grid supports "
                           "EventGrid Trigger type only. " + self._stamp())  # fmt: skip

    async def _event_grid_handshake(self, subscription: Resource, url: str) -> None:
        code, now = new_guid().upper(), iso(self._core.clock.now(), zulu=True)
        event = {
            "id": new_guid(), "topic": source_of(self._core.state, subscription) or "", "subject": "",
            "data": {
                "validationCode": code,
                "validationUrl": f"https://rp-local.eventgrid.azure.net:553/eventsubscriptions/"
                                 f"{subscription.name.lower()}/validate?id={code}&t={now}&apiVersion=2020-10-15-preview",
            },
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "eventTime": now,
            "metadataVersion": "1", "dataVersion": "2",
        }  # fmt: skip
        headers = {
            "aeg-event-type": "SubscriptionValidation", "aeg-subscription-name": subscription.name.upper(),
            "aeg-delivery-count": "0", "aeg-data-version": "2", "aeg-metadata-version": "1",
            "Content-Type": "application/json; charset=utf-8",
        }  # fmt: skip
        try:
            status, body, _ = await self.request("POST", url, data=json.dumps([event]), headers=headers)
        except (OSError, aiohttp.ClientError, TimeoutError):
            raise self._refused(url, "Http POST request failed with response code Unknown.") from None
        if status not in (200, 202):
            raise self._refused(url, f"Http POST request failed with response code {_outcome(status)}.")
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        # 202 is not accepted as the synchronous proof, whatever its body says.
        if status != 200 or not isinstance(answer, dict) or str(answer.get("validationResponse", "")).upper() != code:
            raise self._refused(
                url, f"Http POST request retuned 2XX response with response code {_outcome(status)}. When Http POST "
                "request returns 2XX response, Http GET is expected on the validation url included in the validation "
                "event(within 10 minutes).",
            )  # fmt: skip

    async def _cloud_events_handshake(self, subscription: Resource, url: str) -> None:
        headers = {
            "WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120",
            "aeg-subscription-name": subscription.name.upper(),
        }  # fmt: skip
        try:
            status, _, answered = await self.request("OPTIONS", url, headers=headers)
        except (OSError, aiohttp.ClientError, TimeoutError):
            raise self._refused(url, "Http OPTIONS request failed with response code Unknown.") from None
        allowed = {name.lower(): value for name, value in answered.items()}.get("webhook-allowed-origin", "")
        if status not in (200, 202, 204) or allowed.lower() not in ("*", "eventgrid.azure.net"):
            raise self._refused(url, f"Http OPTIONS request failed with response code {_outcome(status)}.")

    def _refused(self, url: str, why: str) -> ArmError:
        base = url.partition("?")[0]
        return ArmError(400, "Url validation", f"Webhook validation handshake failed for {base}. {why} "
                        f"For troublehooting, visit https://aka.ms/esvalidation. {self._stamp()}")  # fmt: skip


_OUTCOMES = {200: "OK", 202: "Accepted", 400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound",
             408: "TimedOut", 413: "PayloadTooLarge", 429: "Busy", 500: "InternalServerError", 502: "BadGateway",
             503: "Busy", 504: "TimedOut"}  # fmt: skip


def _outcome(status: int) -> str:
    return _OUTCOMES.get(status, str(status))


def outcome(status: int) -> str:
    """Return Event Grid's word for the outcome of a delivery attempt; 0 stands for no answer at all."""
    if status in (200, 201, 202, 203, 204):
        return "Success"
    return "TimedOut" if status == 0 else _outcome(status)

"""Where services raise events: they go to the event subscriptions on their source."""

from __future__ import annotations

from collections import deque
from typing import Any

from dev.localazure.call import Answer, Call
from dev.localazure.clock import iso
from dev.localazure.core import Core
from dev.localazure.eventgrid import filters
from dev.localazure.eventgrid.delivery import EventGrid
from dev.localazure.eventgrid.subscription import source_of
from dev.localazure.rbac import ROLES
from dev.localazure.state import Principal, new_guid

_KIND = {"PUT": "Write", "PATCH": "Write", "DELETE": "Delete", "POST": "Action"}


class Events:
    """Collects events by source and hands them to the event subscriptions of that source.

    Attributes:
        published: The newest events, with their topics, for people and tests to read.
    """

    def __init__(self, core: Core, eventgrid: EventGrid) -> None:
        """Hand events to `eventgrid`, whose subscriptions are asked each time."""
        self._core, self._eventgrid = core, eventgrid
        self.published: deque[dict[str, Any]] = deque(maxlen=10_000)
        self.count = 0

    def reset(self) -> None:
        """Forget what was published."""
        self.published.clear()
        self.count = 0

    def publish(self, source: str, event: dict[str, Any]) -> None:
        """Deliver an event (EventGridSchema, without `topic`) to the subscriptions on a source resource id."""
        event = {"topic": source, **event, "metadataVersion": "1"}
        self.count += 1
        self.published.append({"number": self.count, **event})
        for subscription in self._eventgrid.subscriptions():
            origin = source_of(self._core.state, subscription)
            if origin is None or origin.rstrip("/").lower() != source.rstrip("/").lower():
                continue
            if filters.matches(subscription.properties["filter"], event):
                self._eventgrid.enqueue(subscription, event)

    def resource_event(self, call: Call, answer: Answer) -> None:
        """Raise the subscription's `Microsoft.Resources.Resource{Write,Delete,Action}Success` for an ARM call.

        https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions: every PUT, PATCH, POST and DELETE that
        succeeds raises one, for children and for the subscriber's own writes too. Deployments raise none here. An
        asynchronous operation raises its event when it is accepted, not when it ends.
        """
        parts = call.scope.split("/")
        namespace = call.action.split("/")[0]
        deployment = call.action.lower().startswith("microsoft.resources/deployments/")
        kind = _KIND.get(call.request.method)
        if len(parts) < 3 or parts[1].lower() != "subscriptions" or deployment or kind is None or answer.status >= 300:
            return
        principal, client = call.principal, call.request.headers
        data: dict[str, Any] = {
            "authorization": {"scope": call.scope, "action": call.action, "evidence": self._evidence(call)},
            "claims": self._claims(principal),
            "correlationId": call.correlation_id,
            "resourceProvider": namespace, "resourceUri": call.scope, "operationName": call.action,
            "status": "Succeeded", "subscriptionId": parts[2], "tenantId": self._core.state.tenant,
        }  # fmt: skip
        if call.existed and kind != "Action":
            data["httpRequest"] = {
                "clientRequestId": client.get("x-ms-client-request-id") or new_guid(),
                "clientIpAddress": self._address(principal), "method": call.request.method,
                "url": f"https://management.azure.com{call.request.path_qs}",
            }  # fmt: skip
        event = {
            "subject": call.scope, "eventType": f"Microsoft.Resources.Resource{kind}Success",
            "eventTime": iso(self._core.clock.now(), zulu=True), "id": new_guid(), "data": data, "dataVersion": "2",
        }  # fmt: skip
        self.publish(f"/subscriptions/{parts[2]}", event)
        if len(parts) > 5 and parts[3].lower() == "resourcegroups":
            self.publish(f"/subscriptions/{parts[2]}/resourceGroups/{parts[4]}", event)

    def _evidence(self, call: Call) -> dict[str, str]:
        """Return the role assignment that allowed the call."""
        for assignment in self._core.rbac.assignments_at(call.scope):
            properties = assignment.properties
            if properties["principalId"].lower() == call.principal.object_id.lower():
                role = properties["roleDefinitionId"].rsplit("/", 1)[-1]
                known = ROLES.get(role.lower())
                return {
                    "role": known.name if known else role, "roleAssignmentScope": properties["scope"],
                    "roleAssignmentId": assignment.name.replace("-", ""), "roleDefinitionId": role.replace("-", ""),
                    "principalId": call.principal.object_id.replace("-", ""),
                    "principalType": properties["principalType"],
                }  # fmt: skip
        return {"role": "Subscription Admin"}

    def _is_person(self, principal: Principal) -> bool:
        """Tell whether the claims name a person: a user, or the one who set this Azure up."""
        return principal.kind == "User" or principal.object_id == self._core.owner.system_assigned

    def _address(self, principal: Principal) -> str:
        # From the block that RFC 5737 keeps for documentation.
        return "203.0.113.7" if self._is_person(principal) else "203.0.113.200"

    def _claims(self, principal: Principal) -> dict[str, str]:
        now, tenant = int(self._core.clock.now().timestamp()), self._core.state.tenant
        claims = {
            "aud": "https://management.azure.com", "iss": f"https://sts.windows.net/{tenant}/", "iat": str(now - 300),
            "nbf": str(now - 300), "exp": str(now + 3600), "appid": principal.app_id,
            "http://schemas.microsoft.com/identity/claims/objectidentifier": principal.object_id,
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": principal.object_id,
            "http://schemas.microsoft.com/identity/claims/tenantid": tenant, "ver": "1.0",
        }  # fmt: skip
        if self._is_person(principal):
            claims.update({
                "name": f"Local {principal.name.title()}", "ipaddr": self._address(principal),
                "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": f"{principal.name}@localazure.example",
                "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": f"{principal.name}@localazure.example",
                "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname": "Local",
                "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname": principal.name.title(),
            })  # fmt: skip
        elif principal.resource_id:
            claims["xms_mirid"] = principal.resource_id
        return claims

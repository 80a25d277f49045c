"""Microsoft.EventGrid: system topics and event subscriptions.

https://learn.microsoft.com/rest/api/eventgrid/controlplane/system-topics and
https://learn.microsoft.com/rest/api/eventgrid/controlplane/event-subscriptions.
"""

from __future__ import annotations

import re
from typing import Any

from dev.localazure import ids
from dev.localazure.arm import topictypes
from dev.localazure.call import Answer, Call
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.eventgrid.endpoints import Endpoints, destination_of
from dev.localazure.eventgrid.subscription import MEMBERS, invalid, settled, source_of, unsettled
from dev.localazure.gateway import Gateway
from dev.localazure.state import Resource, new_guid

PROVIDER = "Microsoft.EventGrid"
TOPIC = f"{PROVIDER}/systemTopics"
EXTENSION = f"{PROVIDER}/eventSubscriptions"
CHILD = f"{TOPIC}/eventSubscriptions"


def register(core: Core, gateway: Gateway, endpoints: Endpoints) -> None:
    """Register the operations."""
    provider = Provider(core, endpoints)
    route = gateway.route
    group = "/subscriptions/{sub}/resourceGroups/{group}"
    topics = group + f"/providers/{TOPIC}"
    route("GET", f"/subscriptions/{{sub}}/providers/{TOPIC}", f"{TOPIC}/read", provider.list_topics)
    route("GET", topics, f"{TOPIC}/read", provider.list_topics)
    topic = topics + "/{topic}"
    route("PUT", topic, f"{TOPIC}/write", provider.put_topic)
    route("GET", topic, f"{TOPIC}/read", provider.get_topic)
    route("PATCH", topic, f"{TOPIC}/write", provider.patch_topic)
    route("DELETE", topic, f"{TOPIC}/delete", provider.delete)
    for base, kind in ((topic + "/eventSubscriptions", CHILD), (f"/{{scope:path}}/providers/{EXTENSION}", EXTENSION)):
        one = base + "/{name}"
        route("GET", base, f"{kind}/read", provider.list_subscriptions)
        route("PUT", one, f"{kind}/write", provider.put_subscription)
        route("GET", one, f"{kind}/read", provider.get_subscription)
        route("PATCH", one, f"{kind}/write", provider.patch_subscription)
        route("DELETE", one, f"{kind}/delete", provider.delete)
        route("POST", one + "/getFullUrl", f"{kind}/getFullUrl/action", provider.get_full_url)
        route("POST", one + "/getDeliveryAttributes", f"{kind}/getDeliveryAttributes/action", provider.no_attributes)
    for kind in ("operationsStatus", "operationResults"):
        path = f"/subscriptions/{{sub}}/providers/{PROVIDER}/locations/{{location}}/{kind}/{{operation}}"
        route("GET", path, f"{PROVIDER}/locations/{kind}/read", provider.get_operation, open_to_all=True)


def _check_name(name: str, kind: str, longest: int) -> None:
    if not re.fullmatch(rf"[A-Za-z0-9-]{{3,{longest}}}", name):
        raise invalid(f"Invalid {kind} name '{name}'. It should be between 3 and {longest} characters long and "
                       "consist only of alphanumeric characters and hyphens.")  # fmt: skip


class Provider:
    """The resource provider. Its operations take effect at once; the long-running protocol is kept all the same."""

    def __init__(self, core: Core, endpoints: Endpoints) -> None:
        """Keep topics and subscriptions in the state; destinations are proved through `endpoints`."""
        self._core, self._endpoints = core, endpoints
        self._operations: set[str] = set()

    def _operation(self, call: Call, location: str, *kinds: str) -> dict[str, str]:
        operation = new_guid()
        self._operations.add(operation)
        base = f"https://management.azure.com:443/subscriptions/{call.scope.split('/')[2]}/providers/{PROVIDER}"
        urls = {
            "azure-asyncoperation": f"{base}/locations/{location}/operationsStatus/{operation.upper()}",
            "location": f"{base}/locations/{location}/operationResults/{operation.upper()}",
        }
        return {kind: f"{urls[kind]}?api-version={call.api_version}" for kind in kinds}

    async def get_operation(self, call: Call) -> Answer:
        """Answer a poll."""
        operation = call.params["operation"].lower()
        if operation not in self._operations:
            raise ArmError(404, "ResourceNotFound", f"Operation {operation} was not found.")
        if "/operationresults/" in call.scope.lower():
            return Answer(200)
        url = f"https://management.azure.com:443{call.request.path}?api-version={call.api_version}"
        return Answer(200, {"id": url, "name": operation, "status": "Succeeded"})

    # -- system topics ---------------------------------------------------------------------------------------------

    async def list_topics(self, call: Call) -> Answer:
        """List system topics; `$filter` is ignored, as the service was seen to do."""
        scope = call.scope.lower().partition("/providers/")[0]
        return Answer(body={"value": [_topic_view(t) for t in self._core.state.of_type(TOPIC, scope)]})

    async def get_topic(self, call: Call) -> Answer:
        """Answer one system topic."""
        return Answer(body=_topic_view(call.resource()))

    async def put_topic(self, call: Call) -> Answer:
        """Create or update a system topic: one for each source, in its subscription and location."""
        body, name = call.object_body(), call.params["topic"]
        sent: dict[str, Any] = body.get("properties") or {}
        existing = self._core.state.get(call.scope)
        location = str(body.get("location") or "").replace(" ", "").lower()
        if not location:
            raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
        _check_name(name, "system topic", 128)
        source = str(sent.get("source") or "").rstrip("/")
        if existing is not None and source.lower() != existing.properties["source"].lower():
            raise invalid("System topic source cannot be modified.")
        topictypes.find(str(sent.get("topicType")))
        self._check_source(call, source, str(sent["topicType"]), location)
        identity: dict[str, Any] = body.get("identity") or {"type": "None"}
        has_identity = identity.get("type", "None") != "None"
        topic = existing or Resource(f"/subscriptions/{call.params['sub']}/resourceGroups/{call.params['group']}"
                                     f"/providers/{TOPIC}/{name}", TOPIC, name, location)  # fmt: skip
        if has_identity and "SystemAssigned" in identity["type"] and not (topic.identity or {}).get("principalId"):
            principal = self._core.identity.create_principal(name, resource_id=topic.id)
            identity = {**identity, "principalId": principal.object_id, "tenantId": self._core.state.tenant}
        topic.identity = {**identity, **(topic.identity or {})} if has_identity else None
        topic.tags = body.get("tags")
        topic.properties.update(source=source, topicType=sent["topicType"])
        topic.properties.setdefault("metricResourceId", new_guid())
        self._core.state.put(topic)
        if not has_identity:
            return Answer(200, _topic_view(topic))
        return Answer(201, _topic_view(topic, "Creating"), self._operation(call, location, "azure-asyncoperation"))

    def _check_source(self, call: Call, source: str, topic_type: str, location: str) -> None:
        found = self._core.state.get(source)
        kind = topictypes.of_source(source)
        if kind is None or kind.lower() != topic_type.lower():
            raise invalid(f"The source {source} does not fit the topic type {topic_type}.")
        if found is None:
            raise ArmError(404, "ResourceNotFound", f"The source {source} of the system topic was not found.")
        if ids.parse(source).subscription.lower() != call.params["sub"].lower():
            raise invalid("The system topic and its source should be in the same subscription.")
        wanted = found.location if kind == topictypes.REGISTRY else "global"
        if location != wanted:
            raise invalid("System topic's location must match with location of the source resource. "
                           f"Expected '{wanted}', found '{location}'.")  # fmt: skip
        for other in self._core.state.of_type(TOPIC):
            if other.properties["source"].lower() == source.lower() and other.id.lower() != call.scope.lower():
                raise invalid(f"There is an existing tracked system topic for the given source {source}. "
                               "Only one system topic is allowed per source.")  # fmt: skip

    async def patch_topic(self, call: Call) -> Answer:
        """Change tags (and the kind of identity) of a system topic."""
        topic, body = call.resource(), call.object_body()
        topic.tags = body.get("tags", topic.tags)
        headers = self._operation(call, topic.location, "azure-asyncoperation")
        return Answer(201, _topic_view(topic, "Updating"), headers)

    async def delete(self, call: Call) -> Answer:
        """Delete a system topic with its event subscriptions, or one event subscription."""
        found = self._core.state.get(call.scope)
        if found is None:
            return Answer(204)
        for resource in self._core.state.remove(call.scope):
            self._core.forget(resource)
        location = found.location or "global"
        return Answer(202, headers=self._operation(call, location, "azure-asyncoperation", "location"))

    # -- event subscriptions ---------------------------------------------------------------------------------------

    def _parent(self, call: Call) -> tuple[str, str]:
        """Return the id that the addressed event subscriptions hang on, and the id of what raises their events."""
        if "topic" in call.params:
            topic = call.resource(re.sub(r"(?i)/eventSubscriptions(/.*)?$", "", call.scope))
            return topic.id, str(topic.properties["source"])
        scope = "/" + call.params["scope"].strip("/")
        if topictypes.of_source(scope) is None:
            raise invalid(f"Event subscriptions are not supported on the resource {scope}.")
        source = call.resource(scope).id
        return source, source

    async def list_subscriptions(self, call: Call) -> Answer:
        """List the event subscriptions on a system topic, or directly on a resource."""
        parent, _ = self._parent(call)
        kind = CHILD if "topic" in call.params else EXTENSION
        prefix = f"{parent}/eventSubscriptions/" if kind == CHILD else f"{parent}/providers/{EXTENSION}/"
        found = [s for s in self._core.state.of_type(kind, parent) if s.id.lower().startswith(prefix.lower())]
        return Answer(body={"value": [self._view(s) for s in found]})

    async def get_subscription(self, call: Call) -> Answer:
        """Answer one event subscription, without the webhook's full URL."""
        return Answer(body=self._view(self._subscription(call)))

    def _subscription(self, call: Call) -> Resource:
        found = self._core.state.get(call.scope)
        if found is None:
            raise ArmError(404, "ResourceNotFound", "Event subscription doesn't exist.")
        return found

    async def put_subscription(self, call: Call) -> Answer:
        """Create or update an event subscription, after proving that its destination wants the events."""
        parent, source = self._parent(call)
        name = call.params["name"]
        _check_name(name, "event subscription", 64)
        sent = call.object_body().get("properties")
        if not isinstance(sent, dict):
            raise invalid("Invalid event subscription request: properties are missing.")
        child = "topic" in call.params
        kind = CHILD if child else EXTENSION
        subscription_id = f"{parent}/eventSubscriptions/{name}" if child else f"{parent}/providers/{kind}/{name}"
        types = topictypes.event_types(source)
        return await self._store(call, Resource(subscription_id, kind, name, properties=settled(sent, types)), sent)

    async def patch_subscription(self, call: Call) -> Answer:
        """Change some members; unlike in PUT they stand at the top of the body."""
        existing, body = self._subscription(call), call.object_body()
        _, source = self._parent(call)
        changed = {**existing.properties, **{member: body[member] for member in MEMBERS if member in body}}
        types = topictypes.event_types(source)
        return await self._store(call, Resource(existing.id, existing.type, existing.name,
                                                properties=settled(changed, types)), body)  # fmt: skip

    async def _store(self, call: Call, subscription: Resource, sent: dict[str, Any]) -> Answer:
        destination = destination_of(subscription.properties)
        if destination.kind == "AzureFunction":
            # https://learn.microsoft.com/azure/event-grid/security-authorization: write access to a handler that is
            # not a webhook.
            call.require("Microsoft.Web/sites/functions/write", destination.target)
        if "deadLetterWithResourceIdentity" in subscription.properties:
            topic = self._core.state.get(subscription.id.rpartition("/eventSubscriptions/")[0])
            if topic is None or "SystemAssigned" not in (topic.identity or {}).get("type", ""):
                raise invalid("Invalid event subscription request: dead-lettering with an identity needs a topic "
                               "that has one.")  # fmt: skip
        await self._endpoints.validate(subscription, subscription.properties["eventDeliverySchema"])
        state = "Updating" if call.existed else "Creating"
        self._core.state.put(subscription)
        view = self._view(subscription, state)
        view["properties"] = unsettled(view["properties"], sent)
        return Answer(201, view, self._operation(call, "global", "azure-asyncoperation"))

    async def get_full_url(self, call: Call) -> Answer:
        """Answer the webhook's URL with its query, which may hold a key."""
        destination = destination_of(self._subscription(call).properties)
        return Answer(body={"endpointUrl": destination.target if destination.kind == "WebHook" else None})

    async def no_attributes(self, call: Call) -> Answer:
        """Answer the delivery attributes: none are kept."""
        self._subscription(call)
        return Answer(body={"value": []})

    def _view(self, subscription: Resource, state: str = "Succeeded") -> dict[str, Any]:
        properties = dict(subscription.properties)
        for holder in ("destination", "deliveryWithResourceIdentity"):
            if holder in properties:
                properties[holder] = _redacted(properties[holder])
        if subscription.type == EXTENSION:
            source = source_of(self._core.state, subscription) or ""
            topic = re.sub(r"/providers/[^/]+/[^/]+", lambda m: m.group().lower(), source)
        else:
            topic = subscription.id.rpartition("/eventSubscriptions/")[0]
        return {
            "properties": {"topic": topic, "provisioningState": state, **properties},
            "systemData": None, "id": subscription.id, "name": subscription.name, "type": subscription.type,
        }  # fmt: skip


def _redacted(block: dict[str, Any]) -> dict[str, Any]:
    if "destination" in block:
        return {**block, "destination": _redacted(block["destination"])}
    if block.get("endpointType") != "WebHook":
        return block
    inner = dict(block["properties"])
    base = str(inner.pop("endpointUrl")).partition("?")[0]
    return {**block, "properties": {**inner, "endpointUrl": None, "endpointBaseUrl": base}}


def _topic_view(topic: Resource, state: str = "Succeeded") -> dict[str, Any]:
    nobody = {"type": "None", "principalId": None, "tenantId": None, "userAssignedIdentities": None}
    kept = topic.properties
    return {
        "properties": {"provisioningState": state, "source": kept["source"], "topicType": kept["topicType"],
                       "metricResourceId": kept["metricResourceId"]},
        "systemData": None, "identity": {**nobody, **(topic.identity or {})}, "location": topic.location,
        "tags": topic.tags, "id": topic.id, "name": topic.name, "type": topic.type,
    }  # fmt: skip

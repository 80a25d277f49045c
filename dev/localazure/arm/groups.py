"""Microsoft.Resources: subscriptions, tenants, resource groups and the `/resources` list."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dev.localazure import ids
from dev.localazure.call import Answer, Call
from dev.localazure.core import Core
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.state import SUBSCRIPTION, Resource

GROUP = "Microsoft.Resources/resourceGroups"


def register(gateway: Gateway) -> None:
    """Register the operations."""
    route = gateway.route
    route("GET", "/subscriptions", f"{SUBSCRIPTION}/read", _list_subscriptions, open_to_all=True)
    route("GET", "/tenants", "Microsoft.Resources/tenants/read", _list_tenants, open_to_all=True)
    route("GET", "/subscriptions/{sub}", f"{SUBSCRIPTION}/read", _get_subscription)
    group = "/subscriptions/{sub}/resourceGroups/{group}"
    route("GET", "/subscriptions/{sub}/resourceGroups", f"{SUBSCRIPTION}/resourceGroups/read", _list_groups)
    route("PUT", group, f"{SUBSCRIPTION}/resourceGroups/write", _put_group)
    route("GET", group, f"{SUBSCRIPTION}/resourceGroups/read", _get_group)
    route("HEAD", group, f"{SUBSCRIPTION}/resourceGroups/read", _head_group)
    route("DELETE", group, f"{SUBSCRIPTION}/resourceGroups/delete", _delete_group)
    # Nobody is refused these lists: they show what the caller may read.
    route("GET", "/subscriptions/{sub}/resources", f"{SUBSCRIPTION}/resources/read", _list_resources, open_to_all=True)
    route(
        "GET", group + "/resources", f"{SUBSCRIPTION}/resourceGroups/resources/read", _list_resources,
        scope=group, open_to_all=True,
    )  # fmt: skip


def _subscription_view(core: Core, resource: Resource) -> dict[str, Any]:
    return {
        "id": resource.id, "authorizationSource": "RoleBased", "managedByTenants": [], "subscriptionId": resource.name,
        "tenantId": core.state.tenant, "displayName": resource.properties["displayName"],
        "state": "Disabled" if core.restrictions.disable(resource.id) else "Enabled",
        "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01",
                                 "spendingLimit": "Off"},
    }  # fmt: skip


async def _list_subscriptions(call: Call) -> Answer:
    core = call.core
    visible = [
        _subscription_view(core, s)
        for s in core.state.of_type(SUBSCRIPTION)
        if any(
            assignment.properties["principalId"] == call.principal.object_id
            and (ids.covers(s.id, assignment.properties["scope"]) or ids.covers(assignment.properties["scope"], s.id))
            for assignment in core.state.of_type("Microsoft.Authorization/roleAssignments")
        )
    ]
    return Answer(body={"value": visible, "count": {"type": "Total", "value": len(visible)}})


async def _list_tenants(call: Call) -> Answer:
    tenant = call.core.state.tenant
    return Answer(body={"value": [{"id": f"/tenants/{tenant}", "tenantId": tenant, "tenantCategory": "Home",
                                   "displayName": "localazure"}]})  # fmt: skip


async def _get_subscription(call: Call) -> Answer:
    return Answer(body=_subscription_view(call.core, call.resource()))


def _group_view(group: Resource) -> dict[str, Any]:
    view: dict[str, Any] = {"id": group.id, "name": group.name, "type": group.type, "location": group.location}
    if group.tags is not None:
        view["tags"] = group.tags
    return {**view, "properties": {"provisioningState": "Succeeded"}}


async def _list_groups(call: Call) -> Answer:
    return Answer(
        body={"value": [_group_view(g) for g in call.core.state.of_type(GROUP, call.scope.rpartition("/")[0])]}
    )


async def _put_group(call: Call) -> Answer:
    body = call.object_body()
    if not body.get("location"):
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    existing = call.core.state.get(call.scope)
    if existing is None:
        group_id = f"/subscriptions/{call.params['sub']}/resourceGroups/{call.params['group']}"
        existing = Resource(group_id, GROUP, call.params["group"], body["location"])
        call.core.state.put(existing)
        status = 201
    else:
        status = 200
    existing.tags = body.get("tags", existing.tags)
    return Answer(status, _group_view(existing))


async def _get_group(call: Call) -> Answer:
    return Answer(body=_group_view(call.resource()))


async def _head_group(call: Call) -> Answer:
    return Answer(204 if call.core.state.get(call.scope) else 404)


async def _delete_group(call: Call) -> Answer:
    for resource in call.core.state.remove(call.scope):
        call.core.forget(resource)
    return Answer(200)


def _list_view(resource: Resource) -> dict[str, Any]:
    view: dict[str, Any] = {"id": resource.id, "name": resource.name, "type": resource.type}
    if resource.sku is not None:
        view["sku"] = resource.sku
    if resource.identity is not None:
        view["identity"] = resource.identity
    view["location"] = resource.location
    view["tags"] = resource.tags or {}
    if resource.system_data is not None:
        view["systemData"] = {k: re.sub(r"\+00:00$", "Z", v) for k, v in resource.system_data.items()}
    return view


_CLAUSE = re.compile(r"\s*(?:(\w+)\s+(eq)\s+'([^']*)'|substringof\('([^']*)',\s*(\w+)\))\s*", re.IGNORECASE)


def _filter(text: str) -> Callable[[Resource], bool]:
    """Compile the documented part of the `$filter` of resource lists: `eq`, `substringof`, `and`, tagName/tagValue."""
    clauses: list[tuple[str, str, bool]] = []
    for part in re.split(r"\s+and\s+", text, flags=re.IGNORECASE):
        match = _CLAUSE.fullmatch(part)
        if not match:
            raise ArmError(
                400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string."
            )
        equal_name, _, equal_value, part_value, part_name = match.groups()
        clauses.append((equal_name or part_name, equal_value if equal_name else part_value, bool(equal_name)))
    wanted = {name.lower(): value for name, value, _ in clauses}

    def holds(resource: Resource) -> bool:
        fields = {
            "resourcetype": resource.type, "name": resource.name, "location": resource.location,
            "resourcegroup": ids.parse(resource.id).group,
        }  # fmt: skip
        for name, value, equal in clauses:
            key = name.lower()
            if key == "tagname":
                if value not in (resource.tags or {}):
                    return False
            elif key == "tagvalue":
                if (resource.tags or {}).get(wanted.get("tagname", "")) != value:
                    return False
            elif key not in fields:
                raise ArmError(400, "InvalidFilterInQueryString", f"The property '{name}' cannot be filtered on.")
            elif (equal and fields[key].lower() != value.lower()) or (
                not equal and value.lower() not in fields[key].lower()
            ):
                return False
        return True

    return holds


def _reader(call: Call, scope: str) -> Callable[[Resource], bool]:
    """Return the test whether the caller may read a resource, quick where a whole type may be read."""
    rbac, caller = call.core.rbac, call.principal.object_id
    types: dict[str, bool] = {}

    def may_read(resource: Resource) -> bool:
        action = f"{resource.type}/read"
        if action not in types:
            types[action] = rbac.allows(caller, action, scope)
        return types[action] or rbac.allows(caller, action, resource.id)

    return may_read


async def _list_resources(call: Call) -> Answer:
    state = call.core.state
    text = call.query.get("$filter", "")
    keep = _filter(text) if text else (lambda _: True)
    scope = call.scope.removesuffix("/resources")
    may_read = _reader(call, scope)
    listed = [
        _list_view(r)
        for r in list(state.resources.values())
        if r.location and r.type != GROUP and ids.covers(scope, r.id) and keep(r) and may_read(r)
    ]
    return Answer(body=page(call, listed))


def page(call: Call, items: list[Any], size: int = 1000) -> dict[str, Any]:
    """Return one page of a list, with `nextLink` if there is more (`$top`, `$skiptoken` from the query)."""
    start = int(call.query.get("$skiptoken") or 0)
    top = min(int(call.query.get("$top") or size), size)
    body: dict[str, Any] = {"value": items[start : start + top]}
    if start + top < len(items):
        url = call.request.url.update_query({"$skiptoken": str(start + top)})
        body["nextLink"] = str(url.with_scheme("https"))
    return body

"""Do roles, event subscriptions and queues mean what the code, the local Azure and Bicep have?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from demo.infra import Place
from localazure import conditions
from localazure.arm.topictypes import TOPIC_TYPES
from localazure.errors import ArmError
from localazure.eventgrid.schemas import EVENT_GRID
from localazure.eventgrid.subscription import settled
from localazure.roles import ROLES
from scripts.infra import bicep
from scripts.infra.bicep import File
from scripts.infra.references import UNKNOWN, Infra, value_of
from shared import messages
from shared.settings import Settings

ROLES_FILE, EVENTS_FILE = "infra/app-roles.json", "infra/event-subscriptions.json"
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PLACE = Place("/subscriptions/s/resourceGroups/g", "registry")
# events.bicep appends seven characters, so that two environments can listen to one source.
_NAME = re.compile(r"[A-Za-z0-9-]{3,57}")
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Code:
    """What function_app.py registers.

    Attributes:
        event_functions: Functions that Event Grid calls.
        queues: Queues that functions read or write.
    """

    event_functions: frozenset[str]
    queues: frozenset[str]


@lru_cache
def indexed() -> Code:
    """Index the app, as the worker does when it starts."""
    import function_app

    functions = function_app.app.get_functions()
    bindings = [(f.get_function_name(), b.get_dict_repr()) for f in functions for b in f.get_bindings()]
    return Code(
        frozenset(str(name) for name, binding in bindings if binding["type"] == "eventGridTrigger"),
        frozenset(binding["queueName"] for _, binding in bindings if "queueName" in binding),
    )


def check(infra: Infra, code: Code) -> Iterator[str]:
    """Yield every disagreement."""
    roles, events = (json.loads((infra.root / name).read_text(encoding="utf-8")) for name in (ROLES_FILE, EVENTS_FILE))
    yield from _roles(infra, roles)
    yield from _subscriptions(infra, events, code)
    yield from _storage(infra, events, code)


def _roles(infra: Infra, roles: dict[str, Any]) -> Iterator[str]:
    names: list[str] = []
    for role in (*roles["assignments"], *roles["topicAssignments"]):
        name, known = role["name"], ROLES.get(role["roleDefinitionId"])
        names.append(name)
        if names.count(name) > 1:
            yield f"{ROLES_FILE}: {name} is there twice"
        if known is None:
            yield f"{ROLES_FILE}: {name}: {role['roleDefinitionId']} is no known role: see localazure/roles.py"
        elif known.name != role["role"]:
            yield f"{ROLES_FILE}: {name}: {role['roleDefinitionId']} is {known.name}, not {role['role']}"
        if role["scope"] not in _PLACE.scopes:
            yield f"{ROLES_FILE}: {name}: the scope {role['scope']} is unknown to demo/infra.py"
        if not role.get("why"):
            yield f"{ROLES_FILE}: {name}: say why it is needed"
        yield from _condition(role)
    scopes = {role["scope"] for part in ("assignments", "topicAssignments") for role in roles[part]}
    yield from _kinds(infra, ROLES_FILE, "scope", scopes)
    yield from _kinds(infra, ROLES_FILE, "role.name", set(names), all_of_them=False)


def _condition(role: dict[str, Any]) -> Iterator[str]:
    name, condition = role["name"], role.get("condition")
    if condition is None:
        return
    if role.get("conditionVersion") != "2.0":
        yield f"{ROLES_FILE}: {name}: a condition needs conditionVersion 2.0"
    try:
        conditions.parse(condition)
    except conditions.ConditionError as error:
        yield f"{ROLES_FILE}: {name}: the condition cannot be read: {error}"
    for guid in _GUID.findall(condition):
        if guid.lower() not in ROLES:
            yield f"{ROLES_FILE}: {name}: {guid} in the condition is no known role"


def _kinds(infra: Infra, source: str, member: str, kinds: set[str], *, all_of_them: bool = True) -> Iterator[str]:
    """Compare the kinds that a file uses with those that Bicep selects by."""
    seen = set()
    for file in infra.files.values():
        for left, literal in file.comparisons:
            if left == member or left.endswith(f".{member}"):
                seen.add(literal.text)
                if literal.text not in kinds:
                    yield infra.at(file, literal.line, f"{left} {literal.text} is not in {source}")
    for kind in sorted(kinds - seen) if all_of_them else ():
        yield f"{source}: no Bicep file handles the {member} {kind}"


def _subscriptions(infra: Infra, events: dict[str, Any], code: Code) -> Iterator[str]:
    wanted = {subscription["function"] for subscription in events["subscriptions"]}
    for function in sorted(code.event_functions - wanted):
        yield f"{EVENTS_FILE}: no subscription leads to {function}"
    for subscription in events["subscriptions"]:
        name = subscription["name"]
        if not _NAME.fullmatch(name):
            yield f"{EVENTS_FILE}: {name}: a name has 3 to 57 letters, digits and hyphens"
        if subscription["function"] not in code.event_functions:
            yield f"{EVENTS_FILE}: {name}: function_app.py has no Event Grid function {subscription['function']}"
        if subscription["source"] not in _PLACE.sources:
            yield f"{EVENTS_FILE}: {name}: the source {subscription['source']} is unknown to demo/infra.py"
        yield from _filter(subscription, events)
    if events["eventDeliverySchema"] != EVENT_GRID:
        yield f"{EVENTS_FILE}: the functions read {EVENT_GRID}: pin eventDeliverySchema to it"
    if not _CONTAINER.fullmatch(events["deadLetter"]["container"]):
        yield f"{EVENTS_FILE}: deadLetter.container is no name of a blob container"
    yield from _kinds(
        infra, EVENTS_FILE, "source", {subscription["source"] for subscription in events["subscriptions"]}
    )


def _filter(subscription: dict[str, Any], events: dict[str, Any]) -> Iterator[str]:
    name, topic_type = subscription["name"], subscription["topicType"]
    if topic_type not in TOPIC_TYPES:
        yield f"{EVENTS_FILE}: {name}: unknown topicType {topic_type}"
        return
    types = TOPIC_TYPES[topic_type][2]
    destination = {"endpointType": "AzureFunction", "properties": {"resourceId": "x"}}
    try:
        settled({**subscription, "destination": destination, "retryPolicy": events["retryPolicy"]}, types)
    except ArmError as error:
        yield f"{EVENTS_FILE}: {name}: {error}"
    included = subscription["filter"].get("includedEventTypes")
    if not included:
        yield f"{EVENTS_FILE}: {name}: name the event types: without a filter every event is delivered"
    for event_type in included or ():
        if event_type not in types:
            yield f"{EVENTS_FILE}: {name}: {topic_type} has no event type {event_type}"


def _storage(infra: Infra, events: dict[str, Any], code: Code) -> Iterator[str]:
    queues = {messages.FAN_OUTS, messages.REBUILD_REQUESTS, messages.RUN_CHECKS}
    for name in sorted(code.queues ^ queues):
        yield f"handlers: queue {name} is not the same in shared/messages.py and in the functions' bindings"
    ledger = str(Settings.model_fields["ledger_table"].default)
    yield from _made(infra, "queues", queues)
    yield from _made(infra, "tables", {ledger})
    yield from _made(infra, "containers", {events["deadLetter"]["container"]}, others=True)


def _made(infra: Infra, kind: str, wanted: set[str], *, others: bool = False) -> Iterator[str]:
    """Compare what a storage module makes (`queues: [{name: …}]`) with what the code uses."""
    found = [
        (file, line, value_of(file, *bicep.chain(value)))
        for file in infra.files.values()
        for line, value in _names(file, kind)
    ]
    for file, line, name in found:
        if name is UNKNOWN:
            yield infra.at(file, line, f"cannot tell which of the {kind} this is: use a literal or a loaded file")
        elif name not in wanted and not others:
            yield infra.at(file, line, f"nothing uses {name} of the {kind}: remove it")
    for name in sorted(wanted - {name for _, _, name in found if name is not UNKNOWN}):
        yield f"infra: no Bicep file makes {name} of the {kind}, which the code uses"


def _names(file: File, kind: str) -> Iterator[tuple[int, Any]]:
    for declared in file.of_kind("module", "resource"):
        for node in bicep.walk(declared.body) if declared.body else ():
            block = bicep.properties(node).get(kind)
            for element in block[1].named_children if block and block[1].type == "array" else ():
                if "name" in (properties := bicep.properties(element)):
                    yield properties["name"]

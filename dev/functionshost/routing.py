"""Route templates of HTTP triggers, in the syntax of ASP.NET Core.

See https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#customize-the-http-endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from dev.functionshost.model import Function

RESERVED_PREFIXES = ("admin", "runtime")

_CONSTRAINTS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "bool": r"true|false",
    "alpha": r"[a-z]+",
    "guid": r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
}
_PARAMETER = re.compile(r"^\{(?P<all>\*{0,2})(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}$")
_MIXED = re.compile(r"[{}]")


class RouteError(Exception):
    """A route template is malformed, uses an unknown constraint or takes a path of the host."""


@dataclass(frozen=True)
class Route:
    """One HTTP trigger's address.

    ``methods`` is empty when every method is accepted. ``rank`` orders routes: literal segments come before
    parameters, and those before catch-all parameters.
    """

    function: Function
    template: str
    methods: frozenset[str]
    rank: tuple[int, ...]
    pattern: re.Pattern[str]
    parameters: tuple[str, ...] = field(default=())

    def match(self, path: str) -> dict[str, str] | None:
        """Return the route parameters when the raw path, without slashes at its ends, fits the template."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        return {name: _unquote(value) for name, value in match.groupdict().items() if value}


def make_route(function: Function, prefix: str) -> Route:
    """Build the route of a function with an HTTP trigger.

    Raises:
        RouteError: the template cannot be used.
    """
    trigger = function.trigger
    template = "/".join(part for part in (prefix, trigger.text("route").strip("/")) if part)
    segments = template.split("/")
    if segments[0].lower() in RESERVED_PREFIXES:
        raise RouteError(f"the route '{template}' conflicts with a built-in route of the host")
    expressions, rank, names = [], [], []
    for segment in segments:
        expression, weight, name = _compile_segment(segment)
        expressions.append(expression)
        rank.append(weight)
        names += [name] if name else []
    if len(set(names)) != len(names):
        raise RouteError(f"the route '{template}' names a parameter twice")
    return Route(
        function=function,
        template=template,
        methods=frozenset(str(method).upper() for method in trigger.properties.get("methods") or ()),
        rank=tuple(rank),
        pattern=re.compile("".join(expressions).removeprefix("/"), re.IGNORECASE),
        parameters=tuple(names),
    )


def find_route(routes: Iterable[Route], path: str, method: str) -> tuple[Route, dict[str, str]] | None:
    """Return the best route for a request and its parameters, or None when path or method fit no route."""
    path = path.strip("/")
    for route in sorted(routes, key=lambda route: route.rank):
        if route.methods and method.upper() not in route.methods:
            continue
        parameters = route.match(path)
        if parameters is not None:
            return route, parameters
    return None


def _compile_segment(segment: str) -> tuple[str, int, str]:
    parameter = _PARAMETER.match(segment)
    if parameter is None:
        if _MIXED.search(segment):
            raise RouteError(f"cannot use the route segment '{segment}': a parameter must be a whole segment")
        return "/" + re.escape(segment), 0, ""
    name = parameter["name"]
    if parameter["all"]:
        return f"(?:/(?P<{name}>.*))?", 3, name
    constraint = parameter["constraint"]
    if constraint and constraint not in _CONSTRAINTS:
        raise RouteError(f"cannot use the route constraint '{constraint}' of '{segment}'")
    expression = f"/(?P<{name}>{_CONSTRAINTS[constraint] if constraint else '[^/]+'})"
    return (f"(?:{expression})?" if parameter["optional"] else expression), 1 if constraint else 2, name


def _unquote(value: str) -> str:
    # An encoded slash stays encoded, as in ASP.NET Core, so that it cannot be mistaken for a separator.
    return "%2F".join(unquote(part) for part in re.split("%2F", value, flags=re.IGNORECASE))

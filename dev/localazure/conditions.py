"""Conditions on role assignments: the documented subset that limits who may assign which role, and registry access.

The language is that of https://learn.microsoft.com/azure/role-based-access-control/conditions-format, version 2.0:
AND, OR and NOT, `ActionMatches{'…'}`, `Exists @Request[…]`, and comparisons of attributes with strings or GUIDs.
What is not understood here is refused when the assignment is written, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dev.localazure import roles

ROLE_ASSIGNMENT_ATTRIBUTE = "Microsoft.Authorization/roleAssignments"
REPOSITORY_NAME = "Microsoft.ContainerRegistry/registries/repositories:name"

# Storage is not served here: conditions on its attributes are stored, and their comparisons never hold.
_ATTRIBUTES = re.compile(
    r"Microsoft\.Authorization/roleAssignments:(RoleDefinitionId|PrincipalId|PrincipalType)"
    r"|Microsoft\.ContainerRegistry/registries/repositories:name"
    r"|Microsoft\.Storage/[^\]]+",
    re.IGNORECASE,
)

Attributes = Mapping[str, Sequence[str]]


class ConditionError(ValueError):
    """A condition cannot be understood.

    Attributes:
        position: Index of the character at which reading stopped.
    """

    def __init__(self, message: str, position: int) -> None:
        """Say what was expected, and where."""
        super().__init__(f"{message} at position {position}")
        self.position = position


@dataclass(frozen=True)
class Facts:
    """What a condition is evaluated against.

    Attributes are found by their full name in lower case, e.g. `microsoft.authorization/roleassignments:principaltype`.

    Attributes:
        action: What the caller wants to do.
        request: Attributes of what the call would make.
        resource: Attributes of what exists.
    """

    action: str
    request: Attributes = field(default_factory=dict)
    resource: Attributes = field(default_factory=dict)

    def values(self, source: str, name: str) -> Sequence[str]:
        """Return the values of an attribute; none when it is missing."""
        return (self.request if source == "request" else self.resource).get(name, ())


Condition = Callable[[Facts], bool]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<attribute>@(?:Request|Resource)\s*\[[^\]]*\])
    | (?P<string>'[^']*')
    | (?P<guid>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})
    | (?P<word>[A-Za-z]+(?::[A-Za-z]+)?)
    | (?P<sign>&&|\|\||[!(){},])
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            rest = text[position:].lstrip()
            raise ConditionError(f"unexpected character '{rest[0]}'", len(text) - len(rest))
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return [*found, _Token("end", "", end)]


def _like(value: str, pattern: str) -> bool:
    parts = {r"\*": r"\*", r"\?": r"\?", "*": ".*", "?": "."}
    expression = re.sub(r"\\[*?]|[*?]|[^*?\\]+|\\", lambda m: parts.get(m[0]) or re.escape(m[0]), pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda value, wanted: value == wanted,
    "startswith": lambda value, wanted: value.startswith(wanted),
    "like": _like,
}
_OPERATOR = re.compile(
    r"(?:(?P<quantifier>For(?:Any|All)Of(?:Any|All)Values):)?"
    r"(?:(?P<guid>Guid)(?P<guid_not>Not)?Equals|String(?P<not>Not)?(?P<verb>Equals|StartsWith|Like)(?P<fold>IgnoreCase)?)",
    re.IGNORECASE,
)


def _operator(token: _Token) -> Callable[[Sequence[str], Sequence[str]], bool]:
    match = _OPERATOR.fullmatch(token.text) if token.kind == "word" else None
    if match is None:
        raise ConditionError(f"expected an operator such as StringEquals, found '{token.text}'", token.position)
    fold = bool(match["guid"] or match["fold"])
    negated = bool(match["guid_not"] or match["not"])
    compare = _COMPARISONS["equals" if match["guid"] else match["verb"].lower()]

    def holds(value: str, wanted: str) -> bool:
        return compare(value.lower(), wanted.lower()) if fold else compare(value, wanted)

    if match["quantifier"] is None:
        # A missing attribute equals nothing.
        return lambda left, right: any(holds(v, right[0]) for v in left) != negated
    quantifier = match["quantifier"].lower()
    of_left = any if quantifier.startswith("forany") else all
    of_right = any if quantifier.endswith("anyvalues") else all
    return lambda left, right: of_left(of_right(holds(v, w) != negated for w in right) for v in left)


class _Parser:
    """Recursive descent: one method for each level of precedence."""

    def __init__(self, text: str) -> None:
        self._left = _tokens(text)

    def _peek(self, *texts: str) -> bool:
        return self._left[0].text.lower() in texts

    def _take(self) -> _Token:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]

    def _expect(self, text: str) -> None:
        token = self._take()
        if token.text != text:
            raise ConditionError(f"expected '{text}', found '{token.text or 'the end'}'", token.position)

    def whole(self) -> Condition:
        condition = self._expression()
        if self._left[0].kind != "end":
            raise ConditionError(f"expected AND, OR or the end, found '{self._left[0].text}'", self._left[0].position)
        return condition

    def _expression(self) -> Condition:
        parts, joint = [self._term()], ""
        while self._peek("and", "&&", "or", "||"):
            token = self._take()
            word = "and" if token.text.lower() in ("and", "&&") else "or"
            if joint not in ("", word):
                raise ConditionError("expected parentheses where AND and OR are mixed", token.position)
            joint = word
            parts.append(self._term())
        combine = any if joint == "or" else all
        return lambda facts: combine(part(facts) for part in parts)

    def _term(self) -> Condition:
        if self._peek("!", "not"):
            self._take()
            inner = self._term()
            return lambda facts: not inner(facts)
        if self._peek("("):
            self._take()
            inside = self._expression()
            self._expect(")")
            return inside
        if self._peek("actionmatches"):
            self._take()
            patterns = self._set("string")
            return lambda facts: any(roles.matches(pattern, facts.action) for pattern in patterns)
        if self._peek("exists"):
            self._take()
            source, name = self._attribute()
            return lambda facts: bool(facts.values(source, name))
        return self._comparison()

    def _comparison(self) -> Condition:
        source, name = self._attribute()
        operator = self._take()
        compare = _operator(operator)
        values = self._set("string", "guid") if self._peek("{") else [self._literal("string", "guid")]
        if len(values) > 1 and ":" not in operator.text:
            raise ConditionError(f"expected one value for '{operator.text}'", operator.position)
        return lambda facts: compare(facts.values(source, name), values)

    def _attribute(self) -> tuple[str, str]:
        token = self._take()
        if token.kind != "attribute":
            raise ConditionError(f"expected an attribute, found '{token.text or 'the end'}'", token.position)
        source, _, name = token.text[1:-1].partition("[")
        if not _ATTRIBUTES.fullmatch(name.strip()):
            raise ConditionError(f"unknown attribute '{name.strip()}'", token.position)
        return source.strip().lower(), name.strip().lower()

    def _set(self, *kinds: str) -> list[str]:
        self._expect("{")
        values = [self._literal(*kinds)]
        while self._peek(","):
            self._take()
            values.append(self._literal(*kinds))
        self._expect("}")
        return values

    def _literal(self, *kinds: str) -> str:
        token = self._take()
        if token.kind not in kinds:
            raise ConditionError(f"expected a value, found '{token.text or 'the end'}'", token.position)
        return token.text.strip("'")


@lru_cache(maxsize=1024)
def parse(text: str) -> Condition:
    """Parse a condition into a function that tells whether it holds.

    Raises:
        ConditionError: It is not understood.
    """
    return _Parser(text).whole()

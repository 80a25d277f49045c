"""Reads a Bicep file: what it declares, what it refers to, and where. Syntax only: nothing is evaluated.

The syntax is that of https://learn.microsoft.com/azure/azure-resource-manager/bicep/file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_LANGUAGE = Language(tree_sitter_bicep.language())
_DECLARATIONS = {
    "parameter_declaration": "param", "variable_declaration": "var", "output_declaration": "output",
    "module_declaration": "module", "resource_declaration": "resource", "type_declaration": "type",
    "user_defined_function": "func", "metadata_declaration": "metadata",
}  # fmt: skip
_LOOSE = frozenset(("binary_expression", "unary_expression", "ternary_expression", "lambda_expression"))
_COMPARISON = re.compile(r"([A-Za-z_][\w.]*)\s*[=!]=\s*'([^'$]*)'")
# What has no name that could be looked up: types, and the names of members and loop variables.
_SKIPPED = frozenset(("type", "property_identifier", "comment", "diagnostic_comment", "target_scope_assignment"))


@dataclass(frozen=True)
class Name:
    """A name as it is used somewhere."""

    text: str
    line: int


@dataclass(frozen=True)
class Declaration:
    """A declared name.

    Attributes:
        kind: `param`, `var`, `output`, `module`, `resource`, `type`, `func` or `metadata`.
        name: The symbolic name.
        line: Where it is declared, from 1.
        required: For a parameter: it has no default.
        reference: For a module its path; for a resource `type@version`, the parents' types included.
        existing: For a resource: it is only referred to.
        body: For a module or resource, its object; otherwise its expression.
    """

    kind: str
    name: str
    line: int
    required: bool = False
    reference: str = ""
    existing: bool = False
    body: Node | None = None


@dataclass(frozen=True)
class Call:
    """A call of a function, with its arguments."""

    function: str
    line: int
    arguments: tuple[Node, ...]


@dataclass
class File:
    """A Bicep file.

    Attributes:
        path: Where it lies.
        errors: Lines that are no Bicep.
        declarations: By name; outputs have names of their own.
        outputs: By name.
        uses: Names in expressions that no lambda or loop of the file binds.
        calls: Calls of functions, decorators included.
        members: Every `a.b`.
        strings: String literals that hold nothing computed.
        comparisons: Each `x.member == 'literal'` (or `!=`): the left side's text and the literal.
    """

    path: Path
    errors: list[int] = field(default_factory=list)
    declarations: dict[str, Declaration] = field(default_factory=dict)
    outputs: dict[str, Declaration] = field(default_factory=dict)
    uses: list[Name] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    members: list[Node] = field(default_factory=list)
    strings: list[Name] = field(default_factory=list)
    comparisons: list[tuple[str, Name]] = field(default_factory=list)

    def of_kind(self, *kinds: str) -> list[Declaration]:
        """Return the declarations of some kinds, in order."""
        return [declared for declared in self.declarations.values() if declared.kind in kinds]


def read(path: Path) -> File:
    """Read a Bicep file.

    Raises:
        OSError: It cannot be read.
    """
    source, file = path.read_bytes(), File(path)
    collector = _Collector(file)
    root = Parser(_LANGUAGE).parse(source).root_node
    file.errors = sorted({line_of(node) for node in walk(root) if node.is_error or node.is_missing})
    for node in root.named_children:
        if node.type in _DECLARATIONS:
            _declare(file, node)
        collector.visit(node, frozenset())
    file.comparisons = list(_comparisons(root, source))
    return file


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def line_of(node: Node) -> int:
    """Return the line on which a node begins, from 1."""
    return node.start_point[0] + 1


def text_of(node: Node) -> str:
    """Return the source text of a node."""
    return (node.text or b"").decode()


def literal(node: Node | None) -> str | None:
    """Return the value of a string literal, None for anything else, interpolated strings included."""
    if node is None or node.type != "string" or any(c.type == "interpolation" for c in node.children):
        return None
    quote = 3 if text_of(node).startswith("'''") else 1
    return text_of(node)[quote:-quote].replace("\\'", "'").replace("\\\\", "\\")


def properties(node: Node | None) -> dict[str, tuple[int, Node]]:
    """Return the members of an object by name: line and value; those with a computed name are left out."""
    found = {}
    for member in node.named_children if node is not None and node.type == "object" else ():
        if member.type == "object_property" and len(member.named_children) > 1:
            key, value = member.named_children[0], member.named_children[-1]
            name = literal(key) if key.type == "string" else text_of(key)
            if name is not None:
                found[name] = (line_of(member), value)
    return found


def chain(node: Node) -> tuple[Node, list[str]]:
    """Split `a[0].b.c` into its base `a` and the members `["*", "b", "c"]`; `*` stands for an index."""
    members: list[str] = []
    while True:
        if node.type == "member_expression":
            members.insert(0, text_of(node.named_children[-1]))
        elif node.type == "subscript_expression":
            members.insert(0, literal(node.named_children[-1]) or "*")
        elif node.type in _LOOSE and members:
            # The grammar hangs a member on the whole expression that it ends: `x ?? a.b` is read as `(x ?? a).b`.
            node = node.named_children[-1]
            continue
        else:
            return node, members
        node = node.named_children[0]


def _declare(file: File, node: Node, parent: str = "") -> None:
    kind, children = _DECLARATIONS[node.type], [c for c in node.named_children if not c.type.endswith("comment")]
    name, body = text_of(children[0]), children[-1]
    reference = ""
    if kind in ("module", "resource"):
        reference = literal(children[1]) or ""
        if parent and "." not in reference:
            reference = f"{parent.partition('@')[0]}/{reference}"
        while body.type in ("if_statement", "for_statement"):
            body = body.named_children[-1]
    required = kind == "param" and not any(c.type == "=" for c in node.children) and "?" not in text_of(children[1])
    existing = any(c.type == "existing" for c in node.children)
    names = file.outputs if kind == "output" else file.declarations
    names[name] = Declaration(kind, name, line_of(node), required, reference, existing, body)
    for member in body.named_children if kind == "resource" else ():
        for nested in member.named_children:
            if nested.type == "resource_declaration":
                _declare(file, nested, reference)


def _comparisons(root: Node, source: bytes) -> Iterator[tuple[str, Name]]:
    """Yield the comparisons with literals, from the text: what they compare is not told by the grammar."""
    blank = bytearray(source)
    for node in walk(root):
        if node.type == "comment":
            blank[node.start_byte : node.end_byte] = b" " * (node.end_byte - node.start_byte)
    text = blank.decode()
    for match in _COMPARISON.finditer(text):
        yield match[1], Name(match[2], text.count("\n", 0, match.start()) + 1)


class _Collector:
    """Notes what expressions refer to. Each method takes a node and the names that loops and lambdas around it bind."""

    def __init__(self, file: File) -> None:
        self._file = file

    def visit(self, node: Node, bound: frozenset[str]) -> None:
        """Note a node and all below it."""
        if node.type in _SKIPPED:
            return
        if node.type == "identifier":
            if text_of(node) not in bound:
                self._file.uses.append(Name(text_of(node), line_of(node)))
            return
        if (value := literal(node)) is not None:
            self._file.strings.append(Name(value, line_of(node)))
        special = getattr(self, f"_{node.type}", None)
        children, bound = special(node, bound) if special else (node.named_children, bound)
        for child in children:
            self.visit(child, bound)

    def _declaration(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        return node.named_children[1:], bound

    _parameter_declaration = _variable_declaration = _output_declaration = _module_declaration = _declaration
    _resource_declaration = _type_declaration = _metadata_declaration = _declaration

    def _user_defined_function(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        _, parameters, *rest = node.named_children
        return rest, bound | {text_of(parameter.named_children[0]) for parameter in parameters.named_children}

    def _object_property(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        children = node.named_children
        return children if children[0].type in ("string", "resource_declaration") else children[1:], bound

    def _call_expression(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        called, arguments = node.named_children[:2]
        name = called.named_children[-1] if called.type == "member_expression" else called
        self._file.calls.append(Call(text_of(name), line_of(node), tuple(arguments.named_children)))
        for argument in arguments.named_children:
            first = argument
            while first.type in ("binary_expression", "ternary_expression", "member_expression"):
                first = first.named_children[0]
            # The grammar ends a lambda before its last operators: `x => a && b` is read as `(x => a) && b`.
            self.visit(argument, bound | _parameters(first) if first.type == "lambda_expression" else bound)
        return [], bound

    def _lambda_expression(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        return node.named_children[1:], bound | _parameters(node)

    def _for_statement(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        loop, iterated, *rest = node.named_children
        self.visit(iterated, bound)
        return rest, bound | {text_of(n) for n in ([loop] if loop.type == "identifier" else loop.named_children)}

    def _resource_expression(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        return node.named_children[:1], bound

    def _member_expression(self, node: Node, bound: frozenset[str]) -> tuple[list[Node], frozenset[str]]:
        self._file.members.append(node)
        return node.named_children, bound


def _parameters(node: Node) -> frozenset[str]:
    """Return the names that a lambda binds."""
    return frozenset(text_of(n) for n in walk(node.named_children[0]) if n.type == "identifier")

"""The signature rules of the Python worker, for Python versions that have no worker package.

Azure refuses the whole app when one signature breaks a rule, so a local host that were more lenient would hide the
mistake until deployment. The rules are those that azure-functions-runtime applies;
https://learn.microsoft.com/azure/azure-functions/functions-reference-python describes the legal signatures.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import azure.functions as func

from dev.functionshost.model import RETURN_BINDING

OUT, INOUT = 1, 2
GENERIC = "generic"
_NOT_GENERIC_ORIGINS = (typing.Union, types.UnionType, tuple, typing.ClassVar, typing.get_origin(Callable[[], None]))


class SignatureError(Exception):
    """A function's parameters or annotations do not fit its bindings."""


@dataclass(frozen=True)
class Parameter:
    """How one bound value is converted: by the converter of ``binding_type``, to or from ``python_type``."""

    binding_type: str
    python_type: Any = None


@dataclass(frozen=True)
class Signature:
    """A checked signature. ``returns`` is None when the function must return None."""

    inputs: Mapping[str, Parameter]
    outputs: Mapping[str, Parameter]
    returns: Parameter | None
    wants_context: bool


def converter(binding_type: str) -> Any:
    """Return the converter class that azure.functions registers for a binding type, or None for a generic binding."""
    return func.get_binding_registry().get(binding_type)  # type: ignore[no-untyped-call]


def check_signature(function: Callable[..., Any], bindings: list[Any]) -> Signature:
    """Check a function against its bindings as the worker does when it indexes the app.

    Args:
        function: the user's function.
        bindings: the ``Binding`` objects that azure.functions' decorators made.

    Raises:
        SignatureError: parameters or annotations do not fit.
        NameError: an annotation names something that does not exist at run time.
    """
    parameters = dict(inspect.signature(function).parameters)
    annotations = typing.get_type_hints(function)
    bound, returns = _split_return(bindings)

    wants_context = "context" in parameters and "context" not in bound
    if wants_context:
        del parameters["context"]
        annotation = annotations.get("context", func.Context)
        if not isinstance(annotation, type) or annotation.__name__ != "Context":
            raise SignatureError(f"the context parameter must be an azure.functions.Context, not {annotation!r}")

    if unbound := sorted(set(parameters) - set(bound)):
        raise SignatureError(
            f"parameters {unbound} are declared in Python but not in the function definition (decorators)"
        )
    if missing := sorted(set(bound) - set(parameters)):
        raise SignatureError(f"bindings {missing} have no parameter in Python")

    inputs: dict[str, Parameter] = {}
    outputs: dict[str, Parameter] = {}
    for name in parameters:
        target = outputs if bound[name].direction == OUT else inputs
        target[name] = _check_parameter(name, bound[name], name in annotations, annotations.get(name))
    return Signature(inputs, outputs, _check_return(returns, annotations), wants_context)


def _split_return(bindings: list[Any]) -> tuple[dict[str, Any], Any]:
    """Separate the bindings of parameters from the one that takes the return value."""
    bound: dict[str, Any] = {}
    explicit = implicit = None
    for binding in bindings:
        if binding.direction == INOUT:
            raise SignatureError(f"binding {binding.name} is inout, which Python does not support")
        if binding.name == RETURN_BINDING:
            if binding.direction != OUT:
                raise SignatureError("the $return binding must have direction out")
            explicit = explicit or binding
            continue
        bound[binding.name] = binding
        if _has_implicit_output(binding.type):
            implicit = binding
    return bound, explicit or implicit


def _has_implicit_output(binding_type: str) -> bool:
    known = converter(binding_type)
    if known is None:
        return binding_type != "durableClient"
    return bool(getattr(known, "has_implicit_output", lambda: False)())


def _check_parameter(name: str, binding: Any, annotated: bool, annotation: Any) -> Parameter:
    if not annotated:
        return Parameter(binding.type)

    is_out = _is_generic(annotation) and getattr(typing.get_origin(annotation) or annotation, "__name__", "") == "Out"
    python_type = annotation
    if is_out:
        arguments = typing.get_args(annotation)
        if len(arguments) != 1:
            raise SignatureError(f"binding {name} has an invalid Out annotation {annotation!r}")
        python_type = arguments[0]
    if not isinstance(python_type, type) and not _is_generic(python_type):
        raise SignatureError(f"binding {name} has an invalid non-type annotation {annotation!r}")
    if is_out != (binding.direction == OUT):
        expected = "must be annotated with azure.functions.Out" if binding.direction == OUT else "must not be an Out"
        raise SignatureError(f"binding {name} has the annotation {annotation!r} but {expected}")

    plain = python_type in (str, bytes) and not _has_implicit_output(binding.type)
    parameter = Parameter(GENERIC if plain else binding.type, python_type)
    accepts = _accepts_output if is_out else _accepts_input
    if not accepts(parameter):
        raise SignatureError(f"the annotation {annotation!r} of {name} does not match its binding type {binding.type}")
    return parameter


def _check_return(binding: Any, annotations: Mapping[str, Any]) -> Parameter | None:
    if binding is None:
        return None
    annotation = annotations.get("return")
    if binding.name == RETURN_BINDING and "return" in annotations:
        if not isinstance(annotation, type):
            raise SignatureError(f"has an invalid non-type return annotation {annotation!r}")
        if not _accepts_output(Parameter(binding.type, annotation)):
            raise SignatureError(f"the return annotation {annotation!r} does not match the binding type {binding.type}")
    return Parameter(binding.type, annotation)


def _is_generic(annotation: Any) -> bool:
    # ``list[str]`` is a types.GenericAlias and ``typing.List[str]`` is not: the worker knows only the latter.
    if isinstance(annotation, type):
        return not isinstance(annotation, types.GenericAlias) and issubclass(annotation, typing.Generic)
    origin = typing.get_origin(annotation)
    return origin is not None and not isinstance(annotation, types.GenericAlias) and origin not in _NOT_GENERIC_ORIGINS


def _accepts_input(parameter: Parameter) -> bool:
    known = converter(parameter.binding_type)
    if known is None:
        return _is_subclass(parameter.python_type, (str, bytes))
    return _asks(known.check_input_type_annotation, parameter.python_type)


def _accepts_output(parameter: Parameter) -> bool:
    known = converter(parameter.binding_type)
    if known is None:
        return _is_subclass(parameter.python_type, (str, bytes, bytearray))
    return _asks(known.check_output_type_annotation, parameter.python_type)


def _asks(check: Callable[[Any], bool], python_type: Any) -> bool:
    try:
        return check(python_type)
    except TypeError:  # converters call issubclass without asking whether they got a class
        return False


def _is_subclass(python_type: Any, of: tuple[type, ...]) -> bool:
    return isinstance(python_type, type) and issubclass(python_type, of)

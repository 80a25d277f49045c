"""A worker made of ``azure.functions`` alone, for Python versions below 3.13."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import inspect
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum

from dev.functionshost import telemetry
from dev.functionshost.model import Function, IndexingError, Invocation, InvocationResult
from dev.functionshost.signatures import Parameter, Signature, SignatureError, check_signature, converter

APP_MODULE = "function_app"

_current_invocation: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)
_thread_local = threading.local()


class LibraryWorker:
    """Indexes through the decorators' metadata and converts with the converters of ``azure.functions``."""

    name = f"azure-functions {getattr(func, '__version__', '')}".strip()

    def __init__(self) -> None:
        self._functions: dict[str, tuple[Callable[..., Any], Signature]] = {}
        self._app_dir = Path()
        self._traced = False
        threads = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT")
        self._threads = ThreadPoolExecutor(int(threads) if threads and threads.isdigit() else None, "function")

    async def index(self, app_dir: Path) -> list[Function]:
        """Import ``function_app`` and check each of its functions. See `Worker.index`."""
        if not (app_dir / f"{APP_MODULE}.py").exists():
            return []
        self._app_dir = app_dir
        self._traced = telemetry.configure()
        try:
            return [self._add(function) for function in _find_app(importlib.import_module(APP_MODULE)).get_functions()]
        except Exception as error:  # whatever the app raises at import makes all of its functions vanish
            raise IndexingError(f"{type(error).__name__}: {error}", traceback.format_exc()) from error

    def _add(self, function: Any) -> Function:
        name = function.get_function_name()
        user_function = function.get_user_function()
        try:
            signature = check_signature(user_function, function.get_bindings())
        except SignatureError as error:
            raise SignatureError(f"cannot load the {name} function: {error}") from error
        self._functions[name] = (user_function, signature)
        return Function.from_raw_bindings(name, function.get_raw_bindings())

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        """Decode the input, run the function and encode what it returned. See `Worker.invoke`."""
        function, signature = self._functions[invocation.function.name]
        if self._traced:
            telemetry.attach(invocation.trace_parent, invocation.trace_state)
        try:
            arguments: dict[str, Any] = {
                name: _decode(parameter, invocation) for name, parameter in signature.inputs.items()
            }
            outputs: dict[str, _Out] = {name: _Out() for name in signature.outputs}
            arguments |= outputs
            if signature.wants_context:
                arguments["context"] = _Context(invocation, str(self._app_dir))
            returned = await self._call(function, arguments, invocation.id)
            if returned is not None and signature.returns is None:
                raise RuntimeError(
                    f"function '{invocation.function.name}' without a $return binding returned a non-None value"
                )
            written = tuple(
                (name, _encode(signature.outputs[name], output.get()))
                for name, output in outputs.items()
                if output.get() is not None
            )
            return InvocationResult(
                return_value=_encode(signature.returns, returned) if signature.returns else None, outputs=written
            )
        except Exception as error:
            return InvocationResult(error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        finally:
            sys.stdout.flush()

    async def _call(self, function: Callable[..., Any], arguments: dict[str, Any], invocation_id: str) -> Any:
        token = _current_invocation.set(invocation_id)
        try:
            if inspect.iscoroutinefunction(function):
                _thread_local.invocation_id = invocation_id
                return await function(**arguments)
            context = contextvars.copy_context()
            call = functools.partial(context.run, _call_in_thread, function, arguments, invocation_id)
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            _current_invocation.reset(token)

    def current_invocation_id(self) -> str | None:
        """Return the invocation on whose behalf the calling code runs, own threads of the app included."""
        return _current_invocation.get() or getattr(_thread_local, "invocation_id", None)


def _find_app(module: Any) -> Any:
    apps = [value for name in dir(module) if isinstance(value := getattr(module, name), func.FunctionRegister)]
    if len(apps) > 1:
        raise ValueError("more than one FunctionApp is defined at the top level of function_app.py")
    if not apps:
        raise ValueError("no FunctionApp is defined at the top level of function_app.py")
    return apps[0]


def _call_in_thread(function: Callable[..., Any], arguments: dict[str, Any], invocation_id: str) -> Any:
    _thread_local.invocation_id = invocation_id
    try:
        return function(**arguments)
    finally:
        _thread_local.invocation_id = None


def _decode(parameter: Parameter, invocation: Invocation) -> Any:
    known = converter(parameter.binding_type)
    if known is None:
        if invocation.data.type in {"string", "bytes", "json", None}:
            return invocation.data.value
        raise ValueError(f"unexpected type of data received for the generic binding: {invocation.data.type!r}")
    # has_trigger_support is a method of the metaclass, so it is asked of the class
    metadata = invocation.trigger_metadata if known.has_trigger_support() else {}
    try:
        return known.decode(invocation.data, trigger_metadata=metadata)
    except NotImplementedError as error:
        raise TypeError(f"unable to decode {invocation.data.type!r} data as {parameter.binding_type}") from error


def _encode(parameter: Parameter, value: Any) -> Datum:
    known = converter(parameter.binding_type)
    if known is None:
        return _encode_generic(value)
    try:
        datum: Datum = known.encode(value, expected_type=parameter.python_type)
    except NotImplementedError as error:
        raise TypeError(
            f"unable to encode outgoing data: unsupported type {parameter.binding_type!r} "
            f"for Python type {type(value).__name__!r}"
        ) from error
    return datum


def _encode_generic(value: Any) -> Datum:
    if value is None:
        return Datum(None, None)
    if isinstance(value, str):
        return Datum(value, "string")
    if isinstance(value, bytes | bytearray):
        return Datum(bytes(value), "bytes")
    if isinstance(value, dict | list | int | float):
        return Datum(json.dumps(value), "json")
    raise TypeError(f"unable to encode outgoing data of Python type {type(value).__name__!r}")


class _Out(func.Out[Any]):
    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value


class _TraceContext:
    def __init__(self, trace_parent: str, trace_state: str) -> None:
        self.trace_parent = trace_parent
        self.trace_state = trace_state
        self.attributes: dict[str, str] = {}


class _RetryContext:
    """No retry policy applies to the triggers that the host serves."""

    retry_count = 0
    max_retry_count = 0
    exception = None


class _Context(func.Context):
    def __init__(self, invocation: Invocation, function_directory: str) -> None:
        self._invocation = invocation
        self._function_directory = function_directory
        self._trace_context = _TraceContext(invocation.trace_parent, invocation.trace_state)

    @property
    def invocation_id(self) -> str:
        return self._invocation.id

    @property
    def thread_local_storage(self) -> Any:
        return _thread_local

    @property
    def function_name(self) -> str:
        return self._invocation.function.name

    @property
    def function_directory(self) -> str:
        return self._function_directory

    @property
    def trace_context(self) -> Any:
        return self._trace_context

    @property
    def retry_context(self) -> Any:
        return _RetryContext()

"""What the worker accepts when it indexes an app; the same for the official worker and for the one below 3.13."""

from __future__ import annotations

import importlib.util
import logging
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.functionshost.model import Function, IndexingError
from dev.functionshost.worker import Worker, create_worker, put_app_on_path
from dev.testing.functions_host import write_app

HAS_RUNTIME = importlib.util.find_spec("azure_functions_runtime") is not None
PREAMBLE = """
import collections.abc
import functools
import typing
from typing import Annotated, List, Literal, Optional, Sequence, Union

import azure.functions as func

app = func.FunctionApp()
"""
EVENT = "@app.event_grid_trigger(arg_name='event')"
OUT = "@app.queue_output(arg_name='out', queue_name='q', connection='C')"
RETURN = "@app.queue_output(arg_name='$return', queue_name='q', connection='C')"
QUEUE = "@app.queue_trigger(arg_name='message', queue_name='q', connection='C')"
ROUTE = "@app.route(route='r')"
TIMER = "@app.timer_trigger(arg_name='timer', schedule='0 * * * * *')"

ACCEPTED = {
    "Out of typing.List": f"{EVENT}\n{OUT}\ndef f(event: func.EventGridEvent, out: func.Out[List[str]]): ...",
    "Out of typing.Sequence": f"{EVENT}\n{OUT}\ndef f(event: func.EventGridEvent, out: func.Out[Sequence[str]]): ...",
    "Out of str": f"{EVENT}\n{OUT}\ndef f(event: func.EventGridEvent, out: func.Out[str]): ...",
    "Out of bytes": f"{EVENT}\n{OUT}\ndef f(event: func.EventGridEvent, out: func.Out[bytes]): ...",
    "Out of QueueMessage": f"{EVENT}\n{OUT}\ndef f(event: func.EventGridEvent, out: func.Out[func.QueueMessage]): ...",
    "out without annotation": f"{EVENT}\n{OUT}\ndef f(event, out): ...",
    "CloudEvent": f"{EVENT}\ndef f(event: func.CloudEvent): ...",
    "event as str": f"{EVENT}\ndef f(event: str): ...",
    "event without annotation": f"{EVENT}\ndef f(event): ...",
    "Annotated event": f"{EVENT}\ndef f(event: Annotated[func.EventGridEvent, 1]): ...",
    "queue message": f"{QUEUE}\ndef f(message: func.QueueMessage) -> None: ...",
    "queue message as str": f"{QUEUE}\ndef f(message: str) -> None: ...",
    "context": f"{QUEUE}\ndef f(message: func.QueueMessage, context: func.Context): ...",
    "context without annotation": f"{QUEUE}\ndef f(message, context): ...",
    "return annotation without return binding": f"{QUEUE}\ndef f(message) -> List[int]: ...",
    "unannotated queue return": f"{EVENT}\n{RETURN}\ndef f(event): ...",
    "queue return of str": f"{EVENT}\n{RETURN}\ndef f(event) -> str: ...",
    "HTTP response": f"{ROUTE}\ndef f(req: func.HttpRequest) -> func.HttpResponse: ...",
    "HTTP response as str": f"{ROUTE}\ndef f(req: func.HttpRequest) -> str: ...",
    "timer": f"{TIMER}\nasync def f(timer: func.TimerRequest) -> None: ...",
    "wrapped function": """
        def logged(function):
            @functools.wraps(function)
            def call(*args, **kwargs):
                return function(*args, **kwargs)
            return call

        @app.event_grid_trigger(arg_name='event')
        @logged
        def f(event: func.EventGridEvent): ...
        """,
    "blueprint": """
        blueprint = func.Blueprint()

        @blueprint.event_grid_trigger(arg_name='event')
        def f(event: func.EventGridEvent): ...

        app.register_functions(blueprint)
        """,
}

REFUSED = {
    "Out of list[str]": f"{EVENT}\n{OUT}\ndef f(event: func.EventGridEvent, out: func.Out[list[str]]): ...",
    "Out of abc.Sequence": f"{EVENT}\n{OUT}\ndef f(event, out: func.Out[collections.abc.Sequence[str]]): ...",
    "Out of List[QueueMessage]": f"{EVENT}\n{OUT}\ndef f(event, out: func.Out[List[func.QueueMessage]]): ...",
    "Out of int": f"{EVENT}\n{OUT}\ndef f(event, out: func.Out[int]): ...",
    "bare Out": f"{EVENT}\n{OUT}\ndef f(event, out: func.Out): ...",
    "output that is no Out": f"{EVENT}\n{OUT}\ndef f(event, out: str): ...",
    "input that is an Out": f"{EVENT}\ndef f(event: func.Out[str]): ...",
    "list of events": f"{EVENT}\ndef f(event: List[func.EventGridEvent]): ...",
    "union of event types": f"{EVENT}\ndef f(event: func.EventGridEvent | func.CloudEvent): ...",
    "typing.Union of event types": f"{EVENT}\ndef f(event: Union[func.EventGridEvent, func.CloudEvent]): ...",
    "event as dict": f"{EVENT}\ndef f(event: dict): ...",
    "message of another trigger": f"{QUEUE}\ndef f(message: func.EventGridEvent): ...",
    "list of queue messages": f"{QUEUE}\ndef f(message: List[func.QueueMessage]): ...",
    "literal": f"{QUEUE}\ndef f(message: Literal['a']): ...",
    "optional HTTP response": f"{ROUTE}\ndef f(req: func.HttpRequest) -> Optional[func.HttpResponse]: ...",
    "HTTP response as dict": f"{ROUTE}\ndef f(req: func.HttpRequest) -> dict: ...",
    "HTTP response of None": f"{ROUTE}\ndef f(req: func.HttpRequest) -> None: ...",
    "queue return of list": f"{EVENT}\n{RETURN}\ndef f(event) -> list: ...",
    "queue return of List[str]": f"{EVENT}\n{RETURN}\ndef f(event) -> List[str]: ...",
    "extra parameter": f"{EVENT}\ndef f(event, service=None): ...",
    "missing parameter": f"{EVENT}\n{OUT}\ndef f(event): ...",
    "renamed parameter": f"{EVENT}\ndef f(incoming): ...",
    "context of another type": f"{EVENT}\ndef f(event, context: dict): ...",
    "annotation that does not exist at run time": """
        if typing.TYPE_CHECKING:
            from decimal import Decimal

        @app.event_grid_trigger(arg_name='event')
        def f(event: 'Decimal'): ...
        """,
    "two functions of one name": f"{EVENT}\ndef f(event): ...\n\n{EVENT}\ndef f(event): ...",
    "two apps": f"other = func.FunctionApp()\n{EVENT}\ndef f(event): ...",
    "no app": "del app",
    "function without a trigger": f"{OUT}\ndef f(out: func.Out[str]): ...",
    "missing module": "import module_that_nobody_has",
    "missing setting read at import": "import os\nos.environ['SETTING_THAT_NOBODY_HAS']",
    "exception at import": "raise RuntimeError('not today')",
    "syntax error": "def f(:",
}


@pytest.fixture(params=["library", pytest.param("runtime", marks=pytest.mark.worker)])
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    if request.param == "runtime" and not HAS_RUNTIME:
        pytest.skip("azure-functions-runtime exists for Python 3.13 and later only")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("function_app",):
        monkeypatch.delitem(sys.modules, name, raising=False)
    level = logging.getLogger("azure.functions").level
    yield create_worker(request.param)
    logging.getLogger("azure.functions").setLevel(level)
    sys.modules.pop("function_app", None)


async def index(worker: Worker, directory: Path, source: str) -> list[Function]:
    app = write_app(directory, PREAMBLE + textwrap.dedent(source))
    put_app_on_path(app)
    # The repository's own function_app.py, if it is on the path, must not be found in place of the sample.
    sys.path.insert(0, str(app))
    return await worker.index(app)


@pytest.mark.parametrize("name", ACCEPTED)
async def test_legal_function_is_indexed(worker: Worker, tmp_path: Path, name: str) -> None:
    (function,) = await index(worker, tmp_path, ACCEPTED[name])
    assert function.name == "f"
    assert function.trigger.is_trigger


@pytest.mark.parametrize("name", REFUSED)
async def test_illegal_app_has_no_functions_at_all(worker: Worker, tmp_path: Path, name: str) -> None:
    good = f"{QUEUE}\ndef good(message: func.QueueMessage) -> None: ...\n"
    with pytest.raises(IndexingError) as caught:
        await index(worker, tmp_path, good + textwrap.dedent(REFUSED[name]))
    assert str(caught.value)


async def test_blueprint_that_is_not_registered_is_dropped_silently(worker: Worker, tmp_path: Path) -> None:
    source = f"""
        blueprint = func.Blueprint()

        @blueprint.queue_trigger(arg_name='message', queue_name='q', connection='C')
        def lost(message: func.QueueMessage): ...

        {EVENT}
        def f(event): ...
        """
    assert [function.name for function in await index(worker, tmp_path, source)] == ["f"]


async def test_bindings_tell_trigger_and_outputs(worker: Worker, tmp_path: Path) -> None:
    source = f"""
        {ROUTE}
        {OUT}
        def f(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse: ...
        """
    (function,) = await index(worker, tmp_path, source)
    assert function.trigger.type == "httpTrigger"
    assert {(item.name, item.type) for item in function.outputs} == {("$return", "http"), ("out", "queue")}
    assert function.trigger.text("route") == "r"


async def test_app_without_a_function_app_file_has_no_functions(worker: Worker, tmp_path: Path) -> None:
    assert await worker.index(tmp_path) == []

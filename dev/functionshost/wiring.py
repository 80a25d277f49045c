"""Connects indexed functions with what starts them and what they write to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from azure.storage.queue.aio import QueueClient

from dev.functionshost.host_blobs import HostBlobs
from dev.functionshost.invoker import Invoker
from dev.functionshost.model import Binding, Function
from dev.functionshost.outputs import QueueOutputs
from dev.functionshost.queues import DEFAULT_LEASE, QueueListener, poison_queue_name
from dev.functionshost.routing import Route, RouteError, make_route
from dev.functionshost.schedule import ScheduleError, parse_schedule
from dev.functionshost.settings import AppSettings, HostJson, UnresolvedSettingError
from dev.functionshost.storage import MissingConnectionError, QueueAccounts
from dev.functionshost.timers import Timer

TRIGGERS = frozenset({"httpTrigger", "queueTrigger", "timerTrigger", "eventGridTrigger"})
OUTPUTS = frozenset({"http", "queue"})

_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")


class BindingError(Exception):
    """A binding is of a type that this host does not have, or names an impossible queue."""


@dataclass
class Wiring:
    """All that the host runs for the app's functions.

    A function whose bindings cannot be connected is left out and its reason kept in ``errors``, as in Azure, where the
    other functions run on.
    """

    host_json: HostJson
    settings: AppSettings
    accounts: QueueAccounts
    outputs: QueueOutputs
    blobs: HostBlobs
    host_id: str
    queue_lease: int = DEFAULT_LEASE
    functions: dict[str, Function] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    """Names of functions that nothing starts but the master key."""
    errors: dict[str, str] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    event_grid: dict[str, Function] = field(default_factory=dict)
    listeners: list[QueueListener] = field(default_factory=list)
    timers: dict[str, Timer] = field(default_factory=dict)

    def connect(self, functions: Iterable[Function], invoker: Invoker) -> None:
        """Connect each function, unless host.json leaves it out; what starts a disabled one is left out."""
        for function in functions:
            if self.host_json.functions is not None and function.name not in self.host_json.functions:
                continue
            if self._is_disabled(function):
                self.disabled.add(function.name)
            try:
                self._connect(function, invoker)
            except (BindingError, MissingConnectionError, RouteError, ScheduleError, UnresolvedSettingError) as error:
                self.errors[function.name] = str(error)
            else:
                self.functions[function.name] = function

    def start(self) -> None:
        """Begin to listen to queues and timers."""
        for listener in self.listeners:
            listener.start()
        for name, timer in self.timers.items():
            if name not in self.disabled:
                timer.start()

    async def stop(self) -> None:
        """Stop listening to queues and timers. What is under way goes on."""
        await asyncio.gather(*(listener.stop() for listener in self.listeners))
        await asyncio.gather(*(timer.stop() for timer in self.timers.values()))

    def notify(self, queue_url: str) -> None:
        """Wake the listeners of a queue to which this host has added a message."""
        for listener in self.listeners:
            if listener.queue_url == queue_url:
                listener.notify()

    def queue_name(self, binding: Binding) -> str:
        """Return the name of a binding's queue, settings resolved and lower-cased.

        Raises:
            BindingError: it is no possible name of a queue.
            UnresolvedSettingError: a setting is missing.
        """
        name = self.settings.resolve(binding.text("queueName")).lower()
        if not _QUEUE_NAME.fullmatch(name):
            raise BindingError(f"'{name}' is not a valid queue name (binding expressions are not supported)")
        return name

    def _is_disabled(self, function: Function) -> bool:
        setting = self.settings.get(f"AzureWebJobs.{function.name}.Disabled") or self.settings.get(
            f"AzureWebJobs_{function.name}_Disabled"
        )
        return (setting or "").lower() in {"true", "1"}

    def _connect(self, function: Function, invoker: Invoker) -> None:
        for binding in function.bindings:
            if binding.type not in (TRIGGERS if binding.is_trigger else OUTPUTS) or binding.direction == "INOUT":
                raise BindingError(f"this host has no binding of type '{binding.type}'")
        output_queues = {binding.name: self._queue(binding) for binding in function.outputs if binding.type == "queue"}
        self._connect_trigger(function, invoker)
        for name, queue in output_queues.items():
            self.outputs.bind(function, name, queue)

    def _connect_trigger(self, function: Function, invoker: Invoker) -> None:
        trigger = function.trigger
        if trigger.type == "httpTrigger":
            self.routes.append(make_route(function, self.host_json.route_prefix))
        elif trigger.type == "timerTrigger":
            self.timers[function.name] = Timer(
                function,
                parse_schedule(self.settings.resolve(trigger.text("schedule"))),
                invoker,
                self.blobs,
                self.host_id,
                run_on_startup=bool(trigger.properties.get("runOnStartup")),
                use_monitor=trigger.properties.get("useMonitor") is not False,
            )
        elif function.name in self.disabled:
            return
        elif trigger.type == "eventGridTrigger":
            self.event_grid[function.name] = function
        else:
            poison = poison_queue_name(self.queue_name(trigger))
            self.listeners.append(
                QueueListener(
                    function=function,
                    queue=self._queue(trigger),
                    poison_queue=self._account_queue(trigger, poison) if poison else None,
                    invoker=invoker,
                    options=self.host_json.queues,
                    lease=self.queue_lease,
                )
            )

    def _queue(self, binding: Binding) -> QueueClient:
        return self._account_queue(binding, self.queue_name(binding))

    def _account_queue(self, binding: Binding, name: str) -> QueueClient:
        return self.accounts.queue(self.settings.resolve(binding.text("connection")), name)

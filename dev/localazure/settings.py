"""What can be tuned while localazure runs: the public numbers and switches of its services.

A service makes a setting by having a public attribute that is a number, a switch or a `timedelta` (shown in seconds);
its docstring says what it does.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from dev.localazure.core import Core

SERVICES = ("rbac", "identity", "replicas", "operations", "registries", "agent", "eventgrid")

Settings = dict[str, dict[str, Any]]


def read(core: Core) -> Settings:
    """Return all settings by service and name."""
    found: Settings = {
        "clock": {"scale": core.clock.scale},
        "front": {"latency": core.front.latency, "jitter": core.front.jitter},
        "throttle": {
            kind: {name: float(value) for name, value in asdict(limit).items()}
            for kind, limit in core.throttle.limits.items()
        },
    }
    for name in SERVICES:
        values = {
            key: value.total_seconds() if isinstance(value, timedelta) else value
            for key, value in vars(getattr(core, name, None) or object).items()
            if not key.startswith("_") and isinstance(value, bool | int | float | timedelta)
        }
        if values:
            found[name] = values
    return found


def change(core: Core, changes: Any) -> None:
    """Change the settings named in `changes` (the form of `read`); nothing is changed if anything is wrong.

    Raises:
        ValueError: An unknown service or setting, or a value of the wrong kind.
    """
    known = read(core)
    if not isinstance(changes, dict):
        raise ValueError("an object of services is expected")
    for service, values in changes.items():
        if service not in known:
            raise ValueError(f"no service '{service}' has settings; there are {', '.join(known)}")
        if not isinstance(values, dict):
            raise ValueError(f"{service}: an object of settings is expected")
        _check(service, values, known[service])
    for service, values in changes.items():
        for name, value in values.items():
            _set(core, service, name, value)


def _check(path: str, values: dict[str, Any], known: dict[str, Any]) -> None:
    for name, value in values.items():
        where = f"{path}.{name}"
        if name not in known:
            raise ValueError(f"there is no setting {where}; {path} has {', '.join(known)}")
        if isinstance(known[name], dict):
            if not isinstance(value, dict):
                raise ValueError(f"{where} must be an object")
            _check(where, value, known[name])
        elif isinstance(known[name], bool):
            if not isinstance(value, bool):
                raise ValueError(f"{where} must be true or false")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{where} must be a number that is not negative")
        elif isinstance(known[name], int) and value != int(value):
            raise ValueError(f"{where} must be a whole number")


def _set(core: Core, service: str, name: str, value: Any) -> None:
    if service == "clock":
        core.clock.set_scale(float(value))
    elif service == "throttle":
        core.throttle.configure(name, **value)
    else:
        owner = getattr(core, service)
        now = getattr(owner, name)
        setattr(owner, name, timedelta(seconds=value) if isinstance(now, timedelta) else type(now)(value))

"""Which events an event subscription wants (https://learn.microsoft.com/azure/event-grid/event-filtering)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]

_MISSING = object()
_ABSENT_IS_A_MATCH = ("NumberNotIn", "NumberNotInRange", "StringNotIn", "StringNotContains", "StringNotBeginsWith",
                      "StringNotEndsWith", "IsNullOrUndefined")  # fmt: skip

MAX_ADVANCED_FILTERS = 25
MAX_VALUE_LENGTH = 512


def _any(test: Callable[[Any, Any], bool]) -> Callable[[Any, list[Any]], bool]:
    return lambda found, values: any(test(found, value) for value in values)


def _none(test: Callable[[Any, Any], bool]) -> Callable[[Any, list[Any]], bool]:
    return lambda found, values: not any(test(found, value) for value in values)


_STRING: dict[str, Callable[[Any, list[Any]], bool]] = {
    "StringIn": _any(lambda found, value: found == value),
    "StringNotIn": _none(lambda found, value: found == value),
    "StringBeginsWith": _any(lambda found, value: found.startswith(value)),
    "StringNotBeginsWith": _none(lambda found, value: found.startswith(value)),
    "StringEndsWith": _any(lambda found, value: found.endswith(value)),
    "StringNotEndsWith": _none(lambda found, value: found.endswith(value)),
    "StringContains": _any(lambda found, value: value in found),
    "StringNotContains": _none(lambda found, value: value in found),
}
_NUMBER: dict[str, Callable[[Any, list[Any]], bool]] = {
    "NumberIn": _any(lambda found, value: found == value),
    "NumberNotIn": _none(lambda found, value: found == value),
    "NumberLessThan": _any(lambda found, value: found < value),
    "NumberGreaterThan": _any(lambda found, value: found > value),
    "NumberLessThanOrEquals": _any(lambda found, value: found <= value),
    "NumberGreaterThanOrEquals": _any(lambda found, value: found >= value),
    "NumberInRange": _any(lambda found, value: value[0] <= found <= value[1]),
    "NumberNotInRange": _none(lambda found, value: value[0] <= found <= value[1]),
}
_SINGLE_VALUE = ("NumberLessThan", "NumberGreaterThan", "NumberLessThanOrEquals", "NumberGreaterThanOrEquals",
                 "BoolEquals")  # fmt: skip
_OPERATORS = (*_STRING, *_NUMBER, "BoolEquals", "IsNullOrUndefined", "IsNotNull")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check(filter_: dict[str, Any]) -> str | None:
    """Return what is wrong with a filter, or None."""
    advanced = filter_.get("advancedFilters") or []
    if not isinstance(advanced, list) or not all(isinstance(one, dict) for one in advanced):
        return "advancedFilters should be an array of objects."
    count = sum(len(one.get("values") or [0]) for one in advanced)
    if count > MAX_ADVANCED_FILTERS:
        return f"Advanced filters can have at most {MAX_ADVANCED_FILTERS} values in total; {count} were found."
    return next((wrong for one in advanced if (wrong := _check_one(one))), None)


def _check_one(one: dict[str, Any]) -> str | None:
    operator, key = one.get("operatorType"), one.get("key")
    if operator not in _OPERATORS:
        return f"'{operator}' is not an operatorType of advanced filters."
    if not isinstance(key, str) or not key:
        return f"The advanced filter {operator} needs a key."
    if operator in ("IsNullOrUndefined", "IsNotNull"):
        return None
    if operator in _SINGLE_VALUE:
        value = one.get("value")
        good = isinstance(value, bool) if operator == "BoolEquals" else _is_number(value)
        return None if good else f"The advanced filter on '{key}' needs a value of the type that {operator} compares."
    values = one.get("values")
    if not isinstance(values, list) or not values:
        return f"The advanced filter on '{key}' needs values."
    if operator.endswith("InRange"):
        good = all(isinstance(v, list) and len(v) == 2 and all(map(_is_number, v)) for v in values)
    elif operator in _NUMBER:
        good = all(map(_is_number, values))
    else:
        good = all(isinstance(v, str) and len(v) <= MAX_VALUE_LENGTH for v in values)
    return None if good else f"The values of the advanced filter on '{key}' do not fit {operator}."


def _find(event: Event, key: str) -> Any:
    """Return what lies under `data.a.b` (names in any case; a field's own name may hold dots), or `_MISSING`."""
    if not key:
        return event
    if not isinstance(event, dict):
        return _MISSING
    lowered = key.lower()
    for name, value in event.items():
        if lowered == name.lower():
            return value
        if lowered.startswith(name.lower() + "."):
            found = _find(value, key[len(name) + 1 :])
            if found is not _MISSING:
                return found
    return _MISSING


def _holds(one: dict[str, Any], found: Any) -> bool:
    operator = one["operatorType"]
    if found is _MISSING or found is None:
        return operator in _ABSENT_IS_A_MATCH
    if operator == "IsNotNull":
        return True
    if operator == "BoolEquals":
        return isinstance(found, bool) and found is one["value"]
    values = [one["value"]] if operator in _SINGLE_VALUE else one.get("values", [])
    if operator in _STRING:
        return isinstance(found, str) and _STRING[operator](found.lower(), [v.lower() for v in values])
    if operator in _NUMBER:
        return _is_number(found) and _NUMBER[operator](found, values)
    return False


def _advanced(filter_: dict[str, Any], event: Event) -> bool:
    arrays = bool(filter_.get("enableAdvancedFilteringOnArrays"))
    for one in filter_.get("advancedFilters") or []:
        found = _find(event, one["key"])
        if arrays and isinstance(found, list):
            # "Not" operators must hold for every element, the others for one.
            each = [_holds(one, element) for element in found]
            if not (all(each) if "Not" in one["operatorType"] else any(each)):
                return False
        elif not _holds(one, found):
            return False
    return True


def matches(filter_: dict[str, Any], event: Event) -> bool:
    """Tell whether an event passes the filter of an event subscription."""
    wanted = filter_.get("includedEventTypes")
    if wanted and str(event.get("eventType", "")).lower() not in {kind.lower() for kind in wanted}:
        return False
    subject = str(event.get("subject") or "")
    begin, end = filter_.get("subjectBeginsWith") or "", filter_.get("subjectEndsWith") or ""
    if not filter_.get("isSubjectCaseSensitive"):
        subject, begin, end = subject.lower(), begin.lower(), end.lower()
    return subject.startswith(begin) and subject.endswith(end) and _advanced(filter_, event)

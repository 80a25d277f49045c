"""JSON as the host's library, Json.NET, reads and writes it: text that looks like a time comes out in another form.

See https://www.newtonsoft.com/json/help/html/DatesInJSON.htm. The host's clock is set to UTC.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

_TIME = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,7}))?"
    r"(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)?"
)


def with_times_rewritten(value: Any) -> Any:
    """Return a JSON value whose times have lost their trailing zeros and their offset: those with one are in UTC."""
    if isinstance(value, dict):
        return {name: with_times_rewritten(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_times_rewritten(item) for item in value]
    if isinstance(value, str) and (parsed := _parse_time(value)):
        moment, fraction, zone = parsed
        return moment.isoformat() + (f".{fraction}" if fraction else "") + zone
    return value


def element_text(element: Any, *, times: bool) -> str:
    """Return the text of one element of an array, as .NET's ``ToString`` makes it.

    Args:
        element: a JSON value.
        times: whether text that looks like a time was read as one; alone it is then written the American way.
    """
    if element is None:
        return ""
    if isinstance(element, str):
        parsed = _parse_time(element) if times else None
        return f"{parsed[0]:%m/%d/%Y %H:%M:%S}" if parsed else element
    if isinstance(element, float) and element.is_integer() and abs(element) < 1e15:
        return str(int(element))
    if isinstance(element, dict | list):
        return json.dumps(with_times_rewritten(element) if times else element, indent=2, ensure_ascii=False)
    return str(element)


def _parse_time(text: str) -> tuple[datetime, str, str] | None:
    """Return moment, fraction of its second and zone, or None for a text that is no time."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match["time"])
        if match["sign"]:
            offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
            moment += offset if match["sign"] == "-" else -offset
    except (ValueError, OverflowError):
        return None
    zone = "Z" if match["utc"] else "+00:00" if match["sign"] else ""
    return moment, (match["fraction"] or "").rstrip("0"), zone

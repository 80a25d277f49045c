"""Turns what the machines say (log records, journal entries, deliveries, runs) into short lines for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dev.demo.timeline import Actor, Line

_DIGEST = re.compile(r"sha256:([0-9a-f]{8})[0-9a-f]{56}")
_FIELD = "groundswell."
_ERROR = re.compile(r"\b(failed to|error|denied|unauthorized)\b", re.IGNORECASE)
_KINDS = {"userAssignedIdentities": "identity", "tasks": "task"}
# What a run's log says too much of: the file system, the layers and the digests that nobody asked for.
_NOISE = re.compile(
    r"Using acb_vol|Alias support|Docker network|Docker configuration|Scanning for|scanned dependencies|Launching|"
    r"Executing step|executed container|Sending build|Removing intermediate|---> (Running in )?[0-9a-f]{12}$|"
    r"^[0-9a-f]{12}: |The push refers|opulat(ing|ed) digests|Pushing image|marked as|Status: |Digest: |Logging in|^$"
)


def short(text: object) -> str:
    """Shorten digests and squeeze white space."""
    return " ".join(_DIGEST.sub(r"sha256:\1…", str(text)).split())


def moment(text: str) -> datetime:
    """Read a time stamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def plural(count: int, word: str) -> str:
    """Return e.g. `1 run` or `2 runs`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def fields(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that Groundswell logged."""
    return {name.removeprefix(_FIELD): str(value) for name, value in record.items() if name.startswith(_FIELD)}


def decision(record: Mapping[str, Any]) -> Line | None:
    """Return what Groundswell decided, or None for a record of the log that tells nothing new."""
    found = fields(record)
    message, reason = str(record["message"]), short(found.get("reason", ""))
    if message.startswith("event ignored"):
        what = short(found.get("detail", "")).partition(" (")[0] or "the event"
        text = {
            "already-asked-for": "has asked for the rebuilds of this content before → nothing to do",
            "paused": f"leaves {what} alone: its team has paused it",
            "opted-out": f"leaves {what} alone: its team has opted out",
        }.get(reason, f"ignores {what}: {reason.replace('-', ' ')}")
    elif message.startswith("team registry changed"):
        text = f"{found['registry']} is selected by the policy → {plural(int(found['requests']), 'request')} queued"
    elif message.startswith("rebuilds asked for"):
        count = int(found["requests"])
        text = f"{count} team {'registry builds' if count == 1 else 'registries build'} on it → " \
               f"{plural(count, 'request')} queued"  # fmt: skip
    elif message.startswith("registry brought to its desired state"):
        text = f"{found['registry']} is in its desired state again"
        if "write task" in found.get("writes", ""):
            text = f"{found['registry']} is in its desired state"
    elif message.startswith(("rebuild handled", "run asked for")):
        text = _handled(found["decision"], reason, found.get("run_id", ""), found["registry"])
    elif message.startswith("run could not log in"):
        run = f"{found['registry']}'s {found['run_id']}"
        text = f"{run} was refused: its grant does not work yet → again in {float(found['delay']):.0f} s"
    elif message.startswith("rebuild put back"):
        text = f"{found['registry']} put back for {float(found['delay']):.0f} s: {reason}"
    elif record["level"] in ("ERROR", "CRITICAL") and not message.startswith("run ended"):
        return Line(moment(record["time"]), Actor.GROUNDSWELL, short(message)[:300], good=False)
    else:
        return None  # among them the end of a run, which ACR has told already
    return Line(moment(record["time"]), Actor.GROUNDSWELL, text)


def _handled(decided: str, reason: str, run: str, registry: str) -> str:
    return {
        "scheduled": f"starts run {run} in {registry}",
        "already-scheduled": f"{registry} built on this digest before, in {run} → nothing to do",
        "no-base-image-yet": f"starts no run in {registry}: {reason.partition(';')[0]}",
    }.get(decided, f"{registry} {decided}: {reason} {run}".strip())


def write(entry: Mapping[str, Any]) -> Line:
    """Return what the app wrote through Resource Manager, from the journal."""
    *_, kind, name = entry["path"].rpartition("/providers/")[2].split("/")
    if entry["method"] == "POST":
        what = f"{name} of {kind}"
    elif kind == "roleAssignments":
        scope = entry["path"].lower().partition("/providers/microsoft.authorization")[0].rpartition("/")[2]
        what = f"role assignment on {scope}"
    else:
        what = f"{_KINDS.get(kind, kind)} {name}"
    good = None if entry["status"] < 400 else False
    return Line(moment(entry["at"]), Actor.ARM, f"{entry['method']} {what} → {entry['status']}", good)


def delivery(attempt: Mapping[str, Any]) -> Line:
    """Return a delivery of an event."""
    event, good = attempt["events"][0], attempt["status"] in (200, 202)
    kind = event["eventType"].rpartition(".")[2]
    subject = event["subject"].rpartition("/")[2] if event["subject"].startswith("/") else event["subject"]
    target = attempt["subscription"].removeprefix("groundswell-").replace("-", "_")
    answer = "" if good else f" answers {attempt['status']}"
    return Line(
        moment(attempt["at"]), Actor.EVENT_GRID, f"{kind} {subject} → {target}{answer}", None if good else False
    )


def run_started(run: Mapping[str, Any], registry: str) -> Line:
    """Return the start of a registry's run."""
    return Line(moment(run["startTime"]), Actor.RUN, f"{run['runId']} of {run.get('task')} in {registry} is running")


def run_ended(run: Mapping[str, Any], registry: str, log: str) -> Line:
    """Return the end of a registry's run, with the line of its log that says why it failed."""
    good = run["status"] == "Succeeded"
    pushed = ", ".join(f"{i['repository']}:{i['tag']}" for i in run.get("outputImages") or [])
    text = f"{run['runId']} {run['status']}" + (f" → {pushed}" if pushed else "") + f" in {registry}"
    return Line(moment(run["finishTime"]), Actor.RUN, text, good, "" if good else error_line(log))


def error_line(log: str) -> str:
    """Return the line of a run's log that says why it failed."""
    return next((line.strip() for line in log.splitlines() if _ERROR.search(line)), "")


def trimmed(log: str) -> list[str]:
    """Return the lines of a run's log that say most, without their dates."""
    kept = []
    for line in log.splitlines():
        line = re.sub(r"^\d{4}/\d\d/\d\d ", "", line.rstrip())
        said = re.sub(r"^\d\d:\d\d:\d\d ?", "", line)
        if not _NOISE.search(said):
            kept.append(_DIGEST.sub(r"sha256:\1…", line))
    return kept


def conditions(found: list[dict[str, str]]) -> str:
    """Return a registry's conditions in one line."""
    marks = {"True": "✓", "False": "✗"}
    return "   ".join(
        f"{marks.get(c['status'], '?')} {c['type']}" + (f" {c['reason'].lower()}" if c["status"] != "True" else "")
        for c in found
    )

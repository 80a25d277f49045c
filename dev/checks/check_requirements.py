"""Check the lists of packages: requirements*.in, requirements*.txt and package-lock.json.

Every line of a .txt pins one package, at most once for each supported Python; every requirement of a .in is met by a
pin; no list records the address of an index or a path; and no installed distribution has a top-level package that
would shadow one of ours, because the Functions worker puts the packages before the app on sys.path.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
OUR_TOP_LEVEL_NAMES = frozenset(("dev", "function_app", "handlers", "infra", "policy", "shared", "tests"))
_ADDRESS = re.compile(r"://|--(?:extra-)?index|--find-links|(?:^|\s)/")


def requirement_lines(text: str) -> list[str]:
    """Return the requirements in `text` without comments, blank lines and references to other files."""
    lines = (re.split(r"(?:^|\s)#", line)[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("-r ")]


def check_pins(text: str) -> Iterator[str]:
    """Yield what is wrong with the text of a compiled list: addresses, missing pins, packages pinned twice."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _ADDRESS.search(line):
            yield f"line {number} records an address or a path: {line.strip()}"
    pins: list[Requirement] = []
    for line in requirement_lines(text):
        try:
            pin = Requirement(line)
        except InvalidRequirement as error:
            yield f"{line!r} is not a requirement: {error}"
            continue
        if _pinned_version(pin) is None:
            yield f"{line!r} is not pinned with =="
        pins.append(pin)
    for python in PYTHONS:
        seen: set[str] = set()
        for name in (canonicalize_name(pin.name) for pin in pins if _applies(pin, python)):
            if name in seen:
                yield f"{name} is pinned twice for Python {python}"
            seen.add(name)


def check_agreement(wanted: str, pinned: str) -> Iterator[str]:
    """Yield each requirement of `wanted` (a .in) that no pin of `pinned` (its .txt) meets on some supported Python."""
    pins = [Requirement(line) for line in requirement_lines(pinned)]
    for requirement in map(Requirement, requirement_lines(wanted)):
        for python in PYTHONS:
            if not _applies(requirement, python):
                continue
            version = next(
                (_pinned_version(pin) for pin in pins if _same(pin, requirement) and _applies(pin, python)), None
            )
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                yield f"{requirement} is met by {version or 'no pin'} on Python {python}: run make requirements"


def check_shadowing(top_level_names: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield each installed distribution that brings a top-level package of ours; see `packages_distributions`."""
    for name in sorted(OUR_TOP_LEVEL_NAMES & top_level_names.keys()):
        yield f"{name}/ is shadowed by {', '.join(sorted(set(top_level_names[name])))}"


def check_lock(text: str) -> Iterator[str]:
    """Yield each package of the text of a package-lock.json that records the address it came from."""
    for path, package in json.loads(text)["packages"].items():
        if "resolved" in package:
            yield f"{path} records the address it came from"


def _pinned_version(pin: Requirement) -> str | None:
    specifiers = list(pin.specifier)
    return specifiers[0].version if len(specifiers) == 1 and specifiers[0].operator == "==" else None


def _applies(requirement: Requirement, python: str) -> bool:
    versions = {"python_version": python, "python_full_version": f"{python}.0"}
    return requirement.marker is None or requirement.marker.evaluate(versions)


def _same(one: Requirement, other: Requirement) -> bool:
    return canonicalize_name(one.name) == canonicalize_name(other.name)


def problems() -> Iterator[str]:
    """Yield everything that is wrong with the lists of this project and the packages installed beside it."""
    for name in (
        "requirements",
        "requirements-dev",
        "dev/conformance/requirements",
        "dev/checks/security/requirements",
    ):
        wanted, pinned = ((ROOT / f"{name}{suffix}").read_text(encoding="utf-8") for suffix in (".in", ".txt"))
        yield from (f"{name}.txt: {problem}" for problem in check_pins(pinned))
        yield from (f"{name}.in: {problem}" for problem in check_agreement(wanted, pinned))
    app, dev = ((ROOT / f"{name}.txt").read_text(encoding="utf-8") for name in ("requirements", "requirements-dev"))
    for line in sorted(set(requirement_lines(app)) - set(requirement_lines(dev))):
        yield f"requirements-dev.txt: has another pin than requirements.txt: {line}"
    yield from (f"package-lock.json: {p}" for p in check_lock((ROOT / "package-lock.json").read_text(encoding="utf-8")))
    yield from check_shadowing(metadata.packages_distributions())


if __name__ == "__main__":
    found = list(problems())
    print("\n".join(found) or "requirements: pinned once, complete, without addresses, shadowing nothing")
    sys.exit(bool(found))

"""What a build was made from: the block at the end of the log, and `baseImageDependencies` of the task."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from dev.localazure.agent.dockerfile import ImageName


@dataclass(frozen=True)
class Dependency:
    """An image that was built, and its base images.

    Attributes:
        image: The tag that it was built as; None if it got none.
        runtime: Base image of the final stage.
        buildtime: Base images of other stages.
        revision: Git commit of the source, or "".
    """

    image: ImageName | None
    runtime: ImageName
    buildtime: tuple[ImageName, ...]
    revision: str

    def with_digests(self, digests: Mapping[str, str]) -> Dependency:
        """Return the same with the digests that were really pulled and pushed (by reference)."""

        def fill(name: ImageName) -> ImageName:
            return dataclasses.replace(name, digest=name.digest or digests.get(name.text, ""))

        return Dependency(
            self.image and fill(self.image), fill(self.runtime), tuple(fill(n) for n in self.buildtime), self.revision
        )


def as_yaml(dependencies: Sequence[Dependency]) -> str:
    """Write the block that ACR puts into the log."""
    lines: list[str] = []
    for found in dependencies:
        lines += ["- image:" if found.image else "- image: null"]
        lines += _members(found.image, "    ") if found.image else []
        lines += ["  runtime-dependency:", *_members(found.runtime, "    ")]
        if found.buildtime:
            lines.append("  buildtime-dependency:")
        for name in found.buildtime:
            first, *rest = _members(name, "    ")
            lines += [f"  - {first.strip()}", *rest]
        lines += ["  git:", f"    git-head-revision: {found.revision}"] if found.revision else ["  git: {}"]
    return "\n".join(lines)


def _members(name: ImageName, indent: str) -> list[str]:
    members = {"registry": name.registry, "repository": name.repository, "tag": name.tag, "digest": name.digest}
    if not name.tag:
        del members["tag"]
    return [f"{indent}{key}: {_scalar(value)}" for key, value in members.items()]


def _scalar(value: str) -> str:
    """Quote what YAML would otherwise not read as text, such as the tag 1.25."""
    return value if value and isinstance(yaml.safe_load(value), str) else json.dumps(value)


def of_task(dependencies: Sequence[Dependency]) -> list[dict[str, str]]:
    """Return a task step's `baseImageDependencies`: what its next base-image trigger would watch."""
    found: list[dict[str, str]] = []
    for dependency in dependencies:
        for kind, name in [("Runtime", dependency.runtime), *(("BuildTime", n) for n in dependency.buildtime)]:
            entry = {"type": kind, "registry": name.registry, "repository": name.repository, "tag": name.tag,
                     "digest": name.digest}  # fmt: skip
            if name.digest and entry not in found:
                found.append({key: value for key, value in entry.items() if value})
    return found

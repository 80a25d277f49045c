"""`docker build` with the classic builder, which ACR uses unless a step asks for BuildKit; RUN is not executed."""

from __future__ import annotations

import posixpath
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dev.localazure.agent.commandline import BuildCommand
from dev.localazure.agent.context import Files, select
from dev.localazure.agent.docker import Docker, files_of
from dev.localazure.agent.dockerfile import Instruction, expand, image_name, parse, words
from dev.localazure.agent.errors import RunFailed
from dev.localazure.registry.images import Image, build_image

NOT_EXECUTED = " ---> localazure does not execute RUN: skipped"


@dataclass
class Stage:
    """One FROM and what follows it.

    Attributes:
        image: What it has become so far; None while it is `scratch` with nothing in it.
        base: Reference and digest of the image that it is based on.
        arguments: The ARGs that it declares.
        incomplete: A RUN was skipped, so files that it would have made are missing.
    """

    name: str
    image: Image | None
    base: tuple[str, str] | None
    arguments: dict[str, str] = field(default_factory=dict)
    incomplete: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The image's `config`."""
        settings: dict[str, Any] = (self.image.config.get("config") or {}) if self.image else {}
        return settings

    @property
    def variables(self) -> dict[str, str]:
        """What variables mean here: ARG, overruled by ENV."""
        environment = [pair.partition("=") for pair in self.settings.get("Env") or []]
        return {**self.arguments, **{name: value for name, _, value in environment}}


class Build:
    """One `docker build`."""

    def __init__(
        self,
        command: BuildCommand,
        files: Files,
        docker: Docker,
        out: Callable[[str], None],
        *,
        created: str,
        buildkit: bool = False,
    ) -> None:
        """Prepare a build.

        Args:
            command: The parsed command line.
            files: The build context.
            docker: The engine, for base images.
            out: Takes lines of output.
            created: The moment that the image says it was made (ISO 8601).
            buildkit: The step asks for BuildKit, whose RUN options are then no error.
        """
        self._command, self._files, self._docker, self._out = command, files, docker, out
        self._created, self._buildkit = created, buildkit
        self._platform = command.platform or "linux/amd64"
        self._globals: dict[str, str] = {}
        self._stages: list[Stage] = []
        self._used: set[str] = set()

    def run(self, dockerfile: str) -> Image:
        """Build the image and tag it.

        Raises:
            RunFailed: The build fails.
        """
        instructions = self._wanted(parse(dockerfile))
        for number, instruction in enumerate(instructions, 1):
            self._out(f"Step {number}/{len(instructions)} : {instruction.text}")
            if instruction.keyword == "FROM":
                self._from(instruction)
            elif self._stages:
                self._execute(self._stages[-1], instruction)
            elif instruction.keyword == "ARG":
                self._declare(instruction, self._globals, self._globals)
            else:
                raise RunFailed("no build stage in current context")
        stage = self._stages[-1]
        if stage.image is None:
            raise RunFailed("No image was generated. Is your Dockerfile empty?")
        labels = dict(self._command.labels)
        if stage.base:
            labels["org.opencontainers.image.base.name"], labels["org.opencontainers.image.base.digest"] = stage.base
        image = build_image(base=stage.image, labels=labels, created=self._created)
        unused = sorted(set(self._command.build_args) - self._used)
        if unused:
            self._out(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed")
        self._out(f"Successfully built {_short(image)}")
        for tag in self._command.tags:
            name = image_name(tag)
            self._docker.images[name.text] = image
            self._out(f"Successfully tagged {name.text}")
        return image

    def _wanted(self, instructions: list[Instruction]) -> list[Instruction]:
        """Leave out the stages behind the target."""
        target = self._command.target
        if not target:
            return instructions
        starts = [n for n, instruction in enumerate(instructions) if instruction.keyword == "FROM"]
        for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
            if instructions[start].rest.split()[-1].lower() == target.lower():
                return instructions[:end]
        raise RunFailed(f"failed to reach build target {target} in Dockerfile")

    def _from(self, instruction: Instruction) -> None:
        text, *rest = expand(instruction.rest, self._globals).split() or [""]
        alias = rest[1] if len(rest) == 2 and rest[0].lower() == "as" else ""
        if not text or (rest and not alias):
            raise RunFailed(f"base name ({instruction.rest}) should not be blank")
        earlier = self._find(text)
        if earlier:
            stage = Stage(alias, earlier.image, earlier.base, incomplete=earlier.incomplete)
        elif text == "scratch":
            stage = Stage(alias, None, None)
        else:
            name = image_name(text)
            image = self._docker.pull(name, instruction.flags.get("platform") or self._platform)
            digest = self._docker.digests.get(name.text)
            stage = Stage(alias, image, (name.text, digest) if digest else None)
        self._stages.append(stage)
        self._out(f" ---> {_short(stage.image)}")

    def _find(self, name: str) -> Stage | None:
        for number, stage in enumerate(self._stages):
            if name in (stage.name, str(number)) and name:
                return stage
        return None

    def _declare(self, instruction: Instruction, into: dict[str, str], defaults: dict[str, str]) -> None:
        for item in shlex.split(instruction.rest):
            name, equals, value = item.partition("=")
            self._used.add(name)
            if name in self._command.build_args:
                into[name] = self._command.build_args[name]
            elif equals:
                into[name] = expand(value, into)
            elif name in defaults:
                into[name] = defaults[name]

    def _execute(self, stage: Stage, instruction: Instruction) -> None:
        keyword, rest = instruction.keyword, instruction.rest
        if keyword in ("COPY", "ADD"):
            self._copy(stage, instruction)
        elif keyword == "RUN":
            self._skip(stage, instruction)
        else:
            if keyword == "ARG":
                self._declare(instruction, stage.arguments, self._globals)
                changed: dict[str, Any] = {}
            elif keyword in ("CMD", "ENTRYPOINT"):
                changed = {keyword.title(): _command(rest)}
            else:
                changed = _setting(keyword, expand(rest, stage.variables), stage.settings)
            self._commit(stage, instruction, f"/bin/sh -c #(nop) {instruction.text}", changed)
        self._out(f" ---> {_short(stage.image)}")

    def _commit(
        self,
        stage: Stage,
        instruction: Instruction,
        history: str,
        changed: dict[str, Any] | None = None,
        files: Files | None = None,
    ) -> None:
        container = secrets.token_hex(6)
        if files is None:
            self._out(f" ---> Running in {container}")
            self._out(f"Removing intermediate container {container}")
        stage.image = build_image(
            files, base=stage.image, config=changed, platform=self._platform, history=[history],
            created=self._created, docker=True,
        )  # fmt: skip

    def _skip(self, stage: Stage, instruction: Instruction) -> None:
        options = {"mount", "network", "security"} & set(instruction.flags)
        if options and not self._buildkit:
            raise RunFailed(
                f"the --{sorted(options)[0]} option requires BuildKit. Refer to "
                "https://docs.docker.com/go/buildkit/ to learn how to build images with BuildKit enabled"
            )
        self._commit(stage, instruction, f"/bin/sh -c {instruction.rest}")
        stage.incomplete = True
        self._out(NOT_EXECUTED)

    def _copy(self, stage: Stage, instruction: Instruction) -> None:
        *sources, destination = [expand(word, stage.variables) for word in words(instruction.rest)]
        if not sources:
            raise RunFailed(f"{instruction.keyword} requires at least two arguments, but only one was provided")
        files, incomplete = self._files, False
        if source := instruction.flags.get("from"):
            earlier = self._find(source)
            image = earlier.image if earlier else self._docker.pull(image_name(source), self._platform)
            files, incomplete = files_of(image) if image else {}, bool(earlier and earlier.incomplete)
        target = posixpath.join(stage.settings.get("WorkingDir") or "/", destination)
        copied: dict[str, bytes] = {}
        for source in sources:
            if instruction.keyword == "ADD" and source.startswith(("http://", "https://")):
                self._out(f" ---> localazure does not download {source}: skipped")
                continue
            found = select(files, source)
            if found:
                copied |= _placed(
                    found, source, target, into_folder=len(sources) > 1 or destination.endswith((".", "/"))
                )
            elif incomplete:
                self._out(f" ---> {source} does not exist because localazure does not execute RUN: skipped")
            else:
                wanted = source.lstrip("/")
                raise RunFailed(
                    f"{instruction.keyword} failed: file not found in build context or excluded by .dockerignore: "
                    f"stat {wanted}: file does not exist"
                )
        self._commit(stage, instruction, f"/bin/sh -c #(nop) {instruction.text}", files=copied)


def _placed(found: Files, source: str, target: str, *, into_folder: bool) -> dict[str, bytes]:
    """Return where files end up in the image. A single file may get a new name, a folder's content goes below."""
    single = list(found) == [posixpath.basename(source.rstrip("/"))]
    if single and not into_folder:
        return {posixpath.normpath(target).lstrip("/"): next(iter(found.values()))}
    return {posixpath.normpath(posixpath.join(target, path)).lstrip("/"): data for path, data in found.items()}


def _command(rest: str) -> list[str]:
    return words(rest) if rest.startswith("[") else ["/bin/sh", "-c", rest]


def _pairs(rest: str) -> dict[str, str]:
    items = shlex.split(rest)
    if items and "=" not in items[0]:
        # The old form: one name, and all the rest is its value.
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    return {name: value for name, _, value in (item.partition("=") for item in items)}


def _setting(keyword: str, rest: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what an instruction changes in the image's `config`."""
    if keyword == "ENV":
        environment = dict(pair.split("=", 1) for pair in settings.get("Env") or [])
        return {"Env": [f"{name}={value}" for name, value in {**environment, **_pairs(rest)}.items()]}
    if keyword == "LABEL":
        return {"Labels": {**(settings.get("Labels") or {}), **_pairs(rest)}}
    if keyword == "EXPOSE":
        ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in rest.split()}
        return {"ExposedPorts": {**(settings.get("ExposedPorts") or {}), **ports}}
    if keyword == "WORKDIR":
        return {"WorkingDir": posixpath.normpath(posixpath.join(settings.get("WorkingDir") or "/", rest))}
    if keyword == "VOLUME":
        return {"Volumes": {**(settings.get("Volumes") or {}), **{path: {} for path in words(rest)}}}
    if keyword in ("USER", "STOPSIGNAL"):
        return {{"USER": "User", "STOPSIGNAL": "StopSignal"}[keyword]: rest}
    # HEALTHCHECK, MAINTAINER, ONBUILD and SHELL only leave their trace in the history.
    return {}


def _short(image: Image | None) -> str:
    return str(image.document["config"]["digest"])[7:19] if image else ""

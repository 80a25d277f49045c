"""Dockerfiles: their instructions, their variables, and the base images that ACR's dependency scanner finds in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dev.localazure.agent.errors import RunFailed

DOCKER_HUB = "registry.hub.docker.com"

KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


@dataclass(frozen=True)
class ImageName:
    """A reference to an image, taken apart. `text` is the reference as written, with a tag."""

    registry: str
    repository: str
    tag: str
    digest: str
    text: str

    @property
    def reference(self) -> str:
        """The tag, or the digest where one is given: what a manifest is asked for by."""
        return self.digest or self.tag


_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_NAME = re.compile(
    rf"(?:(?P<host>{_HOST}(?:\.{_HOST})*(?::\d+)?)/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


def image_name(text: str) -> ImageName:
    """Take an image reference apart as the scanner does; without tag and digest, it means `latest`.

    Raises:
        RunFailed: It is not an image reference.
    """
    if "@" not in text and ":" not in text:
        text += ":latest"
    match = _NAME.fullmatch(text)
    if not match:
        raise RunFailed(
            f"Failed to parse image reference, ensure tags have a valid format: {text}: invalid reference format"
        )
    host, path = match["host"] or "", match["path"]
    if "." in host:
        registry, repository = host, path
    else:
        # Names without a dot in front are Docker Hub's: a user's repository, or an official one.
        registry, repository = DOCKER_HUB, f"{host or 'library'}/{path}"
    return ImageName(registry, repository, match["tag"] or "", match["digest"] or "", text)


@dataclass(frozen=True)
class Instruction:
    """One instruction; `text` is the whole line with continuations joined, `rest` what follows keyword and flags."""

    line: int
    keyword: str
    rest: str
    flags: dict[str, str]
    text: str


def parse(source: str) -> list[Instruction]:
    """Parse a Dockerfile.

    Raises:
        RunFailed: An instruction is unknown or empty, or there is none.
    """
    escape = "`" if re.match(r"\s*#\s*escape\s*=\s*`", source) else "\\"
    found: list[Instruction] = []
    logical, start = "", 0
    lines = source.lstrip("\ufeff").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start if logical else number
        logical += line.strip() if not logical else " " + line.strip()
        if logical.endswith(escape) and number < len(lines):
            logical = logical[:-1].rstrip()
            continue
        found.append(_instruction(start, logical))
        logical = ""
    if logical:
        found.append(_instruction(start, logical))
    if not found:
        raise RunFailed("Error response from daemon: the Dockerfile (Dockerfile) cannot be empty")
    return found


def _instruction(line: int, text: str) -> Instruction:
    keyword, _, rest = text.partition(" ")
    if keyword.upper() not in KEYWORDS:
        raise RunFailed(
            f"Error response from daemon: dockerfile parse error line {line}: unknown instruction: {keyword.upper()}"
        )
    flags: dict[str, str] = {}
    rest = rest.strip()
    while match := re.match(r"--([a-z-]+)(?:=(\S*))?\s+", rest):
        flags[match[1]] = match[2] or "true"
        rest = rest[match.end() :]
    if not rest:
        raise RunFailed(
            f"Error response from daemon: dockerfile parse error line {line}: {keyword.upper()} requires at least one "
            "argument"
        )
    return Instruction(line, keyword.upper(), rest, flags, text)


_VARIABLE = re.compile(
    r"\\(?P<escaped>\$)|\$(?:\{(?P<braced>\w+)(?::(?P<operator>[-+])(?P<word>[^}]*))?\}|(?P<plain>\w+))"
)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Expand variables as docker does: `$X`, `${X}`, `${X:-default}`, `${X:+alternative}`."""

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        value = variables.get(match["braced"] or match["plain"], "")
        if match["operator"] == "-":
            return value or expand(match["word"], variables)
        if match["operator"] == "+":
            return expand(match["word"], variables) if value else ""
        return value

    return _VARIABLE.sub(replace, text)


def words(rest: str) -> list[str]:
    """Split the arguments of an instruction, which are a JSON array or separated by spaces."""
    if rest.startswith("["):
        try:
            loaded = json.loads(rest)
        except ValueError:
            return rest.split()
        if isinstance(loaded, list):
            return [str(word) for word in loaded]
    return rest.split()


@dataclass(frozen=True)
class Dependencies:
    """The base images of a Dockerfile: that of the last (or target) stage, and those of the stages before."""

    runtime: ImageName
    buildtime: tuple[ImageName, ...]


def scan(source: str, build_args: Sequence[str], target: str) -> Dependencies:
    """Find base images as ACR's scanner does, which is simpler than docker.

    It takes the word behind FROM for the image, so `FROM --platform=…` fails, and knows no defaults in variables:
    `${X:-y}` is empty. See https://github.com/Azure/acr-builder (scan/dependencies.go).

    Raises:
        RunFailed: The scanner cannot make sense of the Dockerfile.
    """
    variables = dict(_assignment(argument) for argument in build_args)
    aliases: dict[str, str] = {}
    origins: list[str] = []
    origin = ""
    for line in source.lstrip("\ufeff").splitlines():
        tokens = line.split()
        keyword = tokens[0].upper() if tokens else ""
        if keyword == "ARG" and len(tokens) > 1 and "=" in tokens[1]:
            name, value = _assignment(tokens[1])
            variables.setdefault(name, value)
        elif keyword == "FROM":
            if len(tokens) == 1 or (len(tokens) > 2 and (len(tokens) < 4 or tokens[2].lower() != "as")):
                raise RunFailed(f"unable to understand line {line.strip()}")
            image = _plain_expand(tokens[1].strip("'\""), variables)
            if image not in aliases and image not in origins:
                origins.append(image)
            origin = aliases.get(image, image)
            if len(tokens) > 3:
                aliases[tokens[3]] = origin
                if target and tokens[3] == target:
                    break
    if not origins:
        raise RunFailed("unexpected dockerfile format")
    buildtime = {image_name(name).text: image_name(name) for name in origins if name != origin}
    return Dependencies(image_name(origin), tuple(buildtime.values()))


def _plain_expand(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$(?:\{([^}]*)\}|(\w+))", lambda m: variables.get(m[1] if m[2] is None else m[2], ""), text)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RunFailed(f"{text} cannot be split into 2 tokens with '='")
    return name, value.strip("'\"")

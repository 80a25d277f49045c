"""Build contexts. Git URLs stand for local folders: nothing is ever downloaded."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import posixpath
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.localazure.agent.errors import RunFailed

HELLO_WORLD = "https://github.com/Azure-Samples/acr-build-helloworld-node"


Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Context:
    """The files that a build can see, by their path in the context.

    Attributes:
        revision: The git commit, or "" when the source is not git.
    """

    files: Files = field(default_factory=dict)
    revision: str = ""

    def below(self, folder: str) -> Context:
        """Return the part of this context below a folder.

        Raises:
            RunFailed: There is no such folder.
        """
        prefix = posixpath.normpath(folder or ".").strip("/")
        if prefix == ".":
            return self
        files = {path[len(prefix) + 1 :]: f for path, f in self.files.items() if path.startswith(f"{prefix}/")}
        if prefix.startswith("..") or not files:
            raise RunFailed(f"lstat {prefix}: no such file or directory")
        return Context(files, self.revision)


def select(files: Files, pattern: str) -> dict[str, bytes]:
    """Return what a COPY source stands for: relative path → file. A folder stands for what is in it.

    The result is empty if nothing matches. A single file has its base name as its path.
    """
    wanted = posixpath.normpath("/" + pattern).strip("/")
    if not wanted:
        return dict(files)
    if wanted in files:
        return {posixpath.basename(wanted): files[wanted]}
    found = {path[len(wanted) + 1 :]: f for path, f in files.items() if path.startswith(f"{wanted}/")}
    if found or not re.search(r"[*?\[]", wanted):
        return found
    depth = wanted.count("/") + 1
    for path, file in files.items():
        parts = path.split("/")
        if len(parts) < depth or not fnmatch.fnmatchcase("/".join(parts[:depth]), wanted):
            continue
        # A folder that matches stands for its content, like a folder that is named.
        found["/".join(parts[depth:]) or parts[-1]] = file
    return found


def is_git_url(url: str) -> bool:
    """Tell whether docker takes this for a git repository: `….git`, `….git#ref:folder`, `git://…`, `git@…`."""
    return bool(re.match(r"https?://.*\.git(?:#.+)?$|git://|git@|github\.com/", url))


def is_url(text: str) -> bool:
    """Tell whether a context is remote."""
    return is_git_url(text) or text.startswith(("http://", "https://"))


class Contexts:
    """Which local folder stands for which git repository."""

    def __init__(self) -> None:
        """Know the hello-world application of ACR's documentation (a small one of our own)."""
        self._folders: dict[str, Path] = {}
        self[HELLO_WORLD] = Path(__file__).parent.parent / "contexts" / "acr-build-helloworld-node"

    def __setitem__(self, url: str, folder: Path | str) -> None:
        """Let a repository's URL (with or without `.git`) stand for a folder.

        Raises:
            ValueError: There is no such folder.
        """
        if not Path(folder).is_dir():
            raise ValueError(f"not a folder: {folder}")
        self._folders[_key(url)] = Path(folder)

    def as_dict(self) -> dict[str, str]:
        """Return URL → folder."""
        return {url: str(folder) for url, folder in self._folders.items()}

    def clone(self, url: str) -> Context:
        """Return what a git URL refers to. The ref is not looked at: a folder has only one state.

        Raises:
            RunFailed: No folder stands for the repository, or it has no such sub-folder.
        """
        repository, _, fragment = url.partition("#")
        folder = self._folders.get(_key(repository))
        if folder is None:
            host = re.sub(r"^(https?://[^/]+).*", r"\1", repository)
            raise RunFailed(
                f"error fetching: fatal: could not read Username for '{host}': terminal prompts disabled\n"
                ": exit status 128"
            )
        return _read(folder).below(fragment.partition(":")[2])


def _key(url: str) -> str:
    url = re.sub(r"^https?://(?:[^/@]*@)?|^git://|^git@", "", url.strip()).replace(":", "/", 1)
    return url.rstrip("/").removesuffix(".git").lower()


def _read(folder: Path) -> Context:
    files: dict[str, bytes] = {}
    revision = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(".git/"):
            files[name] = path.read_bytes()
            revision.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return Context(files, revision.hexdigest())


def from_archive(data: bytes) -> Context:
    """Read an uploaded tar archive (`az acr build .`).

    Raises:
        RunFailed: It is not a tar archive.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)):
                    files[posixpath.normpath(member.name).lstrip("/")] = content.read()
    except tarfile.TarError as error:
        raise RunFailed(f"failed to untar context: {error}") from error
    return Context(files)

"""Make the deployment package: a zip with what the function app needs, the same bytes for the same files.

What stays out is said in .funcignore alone, which `func azure functionapp publish` and `azd deploy` obey, too. The
packages of requirements.txt are not in it: Azure installs them (remote build).
https://learn.microsoft.com/azure/azure-functions/deployment-zip-push
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dist" / "groundswell.zip"
NEEDED = ("function_app.py", "host.json", "requirements.txt")
# The earliest moment that a zip can hold: when a file was written must not matter.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


class CannotPackage(Exception):
    """There is no function app to package; the text says what is missing."""


def included(folder: Path) -> list[str]:
    """Return the paths of the files that belong to the app, relative to its folder, in order.

    Raises:
        CannotPackage: The folder holds no app, or no .funcignore.
    """
    try:
        ignored = GitIgnoreSpec.from_lines((folder / ".funcignore").read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        raise CannotPackage(f"{folder} has no .funcignore, so everything would be in the package.") from None
    found = sorted(_walk(folder, ignored))
    if missing := [name for name in NEEDED if name not in found]:
        raise CannotPackage(f"{folder} is not the folder of a function app: {', '.join(missing)} is missing.")
    return found


def _walk(folder: Path, ignored: GitIgnoreSpec) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        here = Path(at).relative_to(folder)
        folders[:] = [name for name in folders if not ignored.match_file(f"{(here / name).as_posix()}/")]
        paths = ((here / name).as_posix() for name in files)
        yield from (path for path in paths if not ignored.match_file(path))


def write(folder: Path, package: Path) -> list[str]:
    """Write the package of the app in a folder and return the paths in it.

    Nothing is compressed: compressed bytes depend on the version of zlib, and the whole is small.

    Raises:
        CannotPackage: The folder holds no app, or no .funcignore.
    """
    paths = included(folder)
    package.parent.mkdir(parents=True, exist_ok=True)
    # Whoever reads the package meanwhile has the old one or the new one.
    unfinished = package.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w") as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path, _MOMENT)
            entry.create_system, entry.external_attr = 3, _MODE << 16  # Unix, whatever this machine is
            archive.writestr(entry, (folder / path).read_bytes())
    unfinished.replace(package)
    return paths


def main() -> int:
    """Write the package and say what is in it."""
    parser = argparse.ArgumentParser(description="Make the deployment package of the function app.")
    parser.add_argument(
        "package", nargs="?", type=Path, default=PACKAGE, help="where to (default: dist/groundswell.zip)"
    )
    package: Path = parser.parse_args().package
    try:
        paths = write(ROOT, package)
    except CannotPackage as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        print(f"{(ROOT / path).stat().st_size:8,}  {path}")
    content = package.read_bytes()
    print(f"{len(content):8,}  {package}: {len(paths)} files, sha256 {hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

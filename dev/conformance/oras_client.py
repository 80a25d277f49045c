"""Pushes and pulls an artifact with oras; run by the clients' own Python: `oras_client.py LOGIN_SERVER`.

It reads a refresh token of the registry from standard input, works in the current folder and prints JSON: what it did
→ what was wrong with it ("": nothing).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oras.client  # type: ignore[import-not-found]  # It is installed for this script only.

NO_USER = "00000000-0000-0000-0000-000000000000"


def main(server: str) -> None:
    """Do everything and print what came of it."""
    # With `token` oras keeps its first token, which ACR gave for pull only, and cannot push with it.
    client = oras.client.OrasClient(hostname=server, auth_backend="basic")
    client.auth.set_basic_auth(NO_USER, sys.stdin.read().strip())
    repository = f"{server}/artifacts/notes"
    note, large = Path("note.txt"), Path("large.txt")
    note.write_text("a note\n")
    large.write_text("a large note\n" * 1000)
    push = {"disable_path_validation": True, "quiet": True}
    results: dict[str, str] = {}

    def does(what: str, work: Callable[[], Any], expected: Any) -> None:
        try:
            seen = work()
            results[what] = "" if seen == expected else f"saw {seen!r}, expected {expected!r}"
        except Exception as error:
            results[what] = f"{type(error).__name__}: {error}"

    def pull(tag: str) -> str:
        (path,) = client.pull(target=f"{repository}:{tag}", outdir=f"pulled-{tag}")
        return Path(path).read_text()

    files, chunks = ["note.txt:text/plain"], ["large.txt:text/plain"]
    does("push a file", lambda: client.push(f"{repository}:v1", files=files, **push).status_code, 201)
    does("push a file in chunks",
         lambda: client.push(f"{repository}:v2", files=chunks, do_chunked=True, chunk_size=4096, **push).status_code,
         201)  # fmt: skip
    does("list the tags", lambda: client.get_tags(repository), ["v1", "v2"])
    does("pull the file", lambda: pull("v1"), note.read_text())
    does("pull the file that came in chunks", lambda: pull("v2"), large.read_text())
    does("delete a tag", lambda: client.delete_tag(repository, "v1"), True)
    does("list the tags that are left", lambda: client.get_tags(repository), ["v2"])
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])

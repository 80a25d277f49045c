"""What tags pointed to before they moved, for readers that have not heard of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from dev.localazure.state import Repository, Tag

_Key = tuple[str, str, str]


class Moves:
    """The latest moves of all tags."""

    def __init__(self) -> None:
        """Start with none."""
        self._moves: dict[_Key, list[tuple[datetime, Tag | None]]] = {}

    def reset(self) -> None:
        """Forget all."""
        self._moves.clear()

    def moved(
        self, registry: str, repository: str, tag: str, before: Tag | None, now: datetime, keep: timedelta
    ) -> None:
        """Note that a tag moves away from what it was; moves older than `keep` are forgotten."""
        key = (registry.lower(), repository, tag)
        self._moves[key] = [move for move in self._moves.get(key, ()) if move[0] + keep > now]
        self._moves[key].append((now, before))

    def tags(self, registry: str, name: str, repository: Repository, then: datetime) -> dict[str, Tag]:
        """Return the tags of a repository as they were at a moment; what was deleted since is gone at once."""
        seen: dict[str, Tag] = {}
        for tag in repository.tags.values():
            moves = self._moves.get((registry.lower(), name, tag.name), ())
            first = next((move for move in moves if move[0] > then), None)
            if shown := first[1] if first else tag:
                seen[tag.name] = shown
        return seen

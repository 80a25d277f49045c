"""The fleet's state in the app's storage table.

The partition is a subscription: its registries, its budget and its walk belong together. Rows:

    walk                          who walks it and why, and what Resource Manager lets the app do there
    target|{task}|{registry}      what is known of a target

and in the partition .bases:

    seq                           numbers of changes of base images: the last one, and which are told everywhere
    base|{repository:tag}         what a tag of the base registry points to

and in the partition .subscriptions a row for each subscription, so that those are seen that nobody watches any more.

Rows that belong together change in one transaction, each only if nobody has changed it since it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.adapters.rows import LONGEST, MOST_IN_A_TRANSACTION, Change, Kind, Row, Rows, safe
from shared.domain.errors import TemporaryError
from shared.domain.state import walk as walks
from shared.domain.state.bases import Base
from shared.domain.state.known import Known
from shared.domain.state.walk import Walk

_WALK, _SEQ, _BASES, _INDEX = "walk", "seq", ".bases", ".subscriptions"
_ATTEMPTS = 20


@dataclass(frozen=True)
class Counter:
    """The number of the last change of a base image, and of the last one that all subscriptions were called for."""

    last: int = 0
    told: int = 0


@dataclass(frozen=True)
class Subscription:
    """What is known of a subscription.

    Attributes:
        targets: By their keys.
        broken: ETags of targets' rows that cannot be understood: they are written anew.
    """

    name: str
    walk: Row[Walk]
    targets: Mapping[str, Row[Known]]
    broken: Mapping[str, str]

    def target(self, task: str, registry: str, otherwise: Known) -> Row[Known]:
        """Return a target's row, or a new one."""
        key = target_key(task, registry)
        return self.targets.get(key) or Row(key, otherwise, self.broken.get(key, ""))


@dataclass(frozen=True)
class Bases:
    """What is known of the base images.

    Attributes:
        tags: By `repository:tag`.
        etags: Of their rows, by their keys.
    """

    seq: Row[Counter]
    tags: Mapping[str, Base]
    etags: Mapping[str, str]

    @property
    def untold(self) -> tuple[Base, ...]:
        """What changed without all subscriptions being called: whoever saw it may have died."""
        return tuple(base for base in self.tags.values() if base.seq > self.seq.value.told)


class FleetState:
    """Reads and writes the fleet's state."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._walk, self._target = Kind(Walk, _WALK), Kind(Known, "target|")
        self._seq, self._base = Kind(Counter, _SEQ), Kind(Base, "base|")

    # -- subscriptions -------------------------------------------------------------------------------------------------

    async def subscription(self, name: str) -> Subscription:
        """Read a subscription's walk and targets."""
        found = await self._rows.partition(name.lower())
        walk = self._walk.read(_WALK, *found[_WALK]) if _WALK in found else None
        rows = {key: row for key, row in found.items() if key.startswith(self._target.prefix)}
        targets = {key: read for key, row in rows.items() if (read := self._target.read(key, *row))}
        return Subscription(
            name.lower(),
            walk or Row(_WALK, Walk(), found.get(_WALK, ("", ""))[1]),
            targets,
            {key: etag for key, (_, etag) in rows.items() if key not in targets},
        )

    async def walk(self, subscription: str) -> Row[Walk]:
        """Read a subscription's walk."""
        found = await self._rows.get(subscription.lower(), _WALK)
        return (self._walk.read(_WALK, *found) if found else None) or Row(_WALK, Walk(), found[1] if found else "")

    async def subscriptions(self) -> tuple[str, ...]:
        """Return the subscriptions of which anything is known, watched or not."""
        return tuple(await self._rows.partition(_INDEX))

    async def target(self, subscription: str, task: str, registry: str) -> Row[Known] | None:
        """Read a target, or return None if nothing is known of it."""
        key = target_key(task, registry)
        found = await self._rows.get(subscription.lower(), key)
        return self._target.read(key, *found) if found else None

    async def change_walk(self, subscription: str, decide: Callable[[Walk], Walk | None]) -> Row[Walk] | None:
        """Change a subscription's walk as it is now; None: the decision was to leave it.

        Args:
            decide: Is asked again if somebody else was faster.
        """
        for _ in range(_ATTEMPTS):
            row = await self.walk(subscription)
            value = decide(row.value)
            if value is None:
                return None
            if not row.etag:
                # Before the walk is: it may be there already.
                await self._rows.write(_INDEX, [Change(subscription.lower(), "{}", "")])
            etags = await self._rows.write(subscription.lower(), [self._walk.change(replace(row, value=value))])
            if etags:
                return Row(_WALK, value, etags[0])
        raise TemporaryError(f"The walk of subscription {subscription} is changed by others all the time.", 5.0)

    async def raise_walk(self, subscription: str, now: datetime, *, quiet: bool = False) -> bool:
        """Note one more reason to walk a subscription; tell whether a message is to be sent.

        Args:
            quiet: The reason is the sweep.
        """
        call = False

        def decide(walk: Walk) -> Walk | None:
            nonlocal call
            raised, call = walks.raised(walk, now, quiet=quiet)
            return raised

        await self.change_walk(subscription, decide)
        return call

    async def forget(self, subscription: str, target: Row[Known]) -> bool:
        """Forget a target; False: somebody has changed it meanwhile."""
        return await self._rows.write(subscription.lower(), [Change(target.key, None, target.etag)]) is not None

    async def write(
        self, subscription: str, walk: Row[Walk] | None, targets: Sequence[Row[Known]]
    ) -> tuple[Row[Walk] | None, list[Row[Known]]] | None:
        """Write a page of targets, together with their walk if there is one; None: somebody else was faster."""
        changes = [self._target.change(row) for row in targets]
        if walk is not None:
            changes.append(self._walk.change(walk))
        etags = await self._rows.write(subscription.lower(), changes)
        if etags is None:
            return None
        written = [replace(row, etag=etag) for row, etag in zip(targets, etags, strict=False)]
        return (replace(walk, etag=etags[-1]) if walk is not None else None), written

    # -- base images ---------------------------------------------------------------------------------------------------

    async def bases(self) -> Bases:
        """Read all base images."""
        found = await self._rows.partition(_BASES)
        counter = self._seq.read(_SEQ, *found[_SEQ]) if _SEQ in found else None
        rows = (self._base.read(key, *row) for key, row in found.items() if key.startswith(self._base.prefix))
        tags = {row.value.image.name: row.value for row in rows if row is not None}
        # A counter that begins anew would pass new changes off as old ones.
        last = max((counter.value.last if counter else 0, *(base.seq for base in tags.values())))
        return Bases(
            Row(_SEQ, replace(counter.value if counter else Counter(), last=last), found.get(_SEQ, ("", ""))[1]),
            tags,
            {key: etag for key, (_, etag) in found.items()},
        )

    async def change_bases(
        self, decide: Callable[[Mapping[str, Base], int], Iterable[Base]]
    ) -> tuple[Bases, tuple[Base, ...]]:
        """Change what is known of base images; return all of them and those that were changed.

        Args:
            decide: Gets what is known and the number that changes have, and returns what it changes. It is asked again
                if somebody else was faster.
        """
        for _ in range(_ATTEMPTS):
            bases = await self.bases()
            number = bases.seq.value.last + 1
            changed = tuple(decide(bases.tags, number))
            written = await self._write_bases(bases, changed, number) if changed else bases
            if written is not None:
                return written, changed
        raise TemporaryError("Base images are changed by others all the time.", 5.0)

    async def told(self, number: int) -> None:
        """Note that all subscriptions were called for the changes of base images up to this one."""
        for _ in range(_ATTEMPTS):
            found = await self._rows.get(_BASES, _SEQ)
            row = self._seq.read(_SEQ, *found) if found else None
            if row is None or row.value.told >= number:
                return
            counter = replace(row.value, told=number)
            if await self._rows.write(_BASES, [self._seq.change(replace(row, value=counter))]):
                return
        raise TemporaryError("Base images are changed by others all the time.", 5.0)

    async def _write_bases(self, bases: Bases, changed: Sequence[Base], number: int) -> Bases | None:
        seq, etags = replace(bases.seq, value=replace(bases.seq.value, last=number)), dict(bases.etags)
        most = MOST_IN_A_TRANSACTION - 1
        for start in range(0, len(changed), most):
            rows = [self._fitting(_row(base, etags)) for base in changed[start : start + most]]
            written = await self._rows.write(_BASES, [self._seq.change(seq), *map(self._base.change, rows)])
            if written is None:
                return None
            seq = replace(seq, etag=written[0])
            etags |= dict(zip((row.key for row in rows), written[1:], strict=True))
        return Bases(seq, {**bases.tags, **{base.image.name: base for base in changed}}, etags)

    def _fitting(self, row: Row[Base]) -> Row[Base]:
        """Leave out the oldest contents of a tag until the row is short enough."""
        while row.value.earlier and len(self._base.change(row).text or "") > LONGEST:
            row = replace(row, value=replace(row.value, earlier=row.value.earlier[1:]))
        return row


def target_key(task: str, registry: str) -> str:
    """Return the key of a target's row. Names of tasks and registries have no casing in Azure."""
    return f"target|{task}|{registry}".lower()


def _row(base: Base, etags: Mapping[str, str]) -> Row[Base]:
    key = f"base|{safe(base.image.name)}"
    return Row(key, base, etags.get(key, ""))

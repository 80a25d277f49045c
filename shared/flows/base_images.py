"""What the base registry's tags point to: looked at there, and kept in the fleet's state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shared.adapters.fleet import Fleet
from shared.adapters.fleet_state import Bases, FleetState
from shared.adapters.registry_images import RegistryImages
from shared.domain.errors import GroundswellError
from shared.domain.moments import Clock
from shared.domain.policy import Policy
from shared.domain.registries import Registry
from shared.domain.state.bases import Base, Hint, Tag, changed, hinted, look_again
from shared.logs import Log

log = Log("base_images")

_FIRST_LOOK = 100
"""Tags of a repository that are read if none of it is known."""


@dataclass(frozen=True)
class Heard:
    """What became of an event.

    Attributes:
        moved: Base images that have another content than subscriptions were called for.
        seq: The number of their last change.
        again: Seconds after which to look once more, or None.
    """

    moved: tuple[Base, ...]
    seq: int
    again: float | None


@dataclass(frozen=True, kw_only=True)
class BaseImages:
    """Looks at the base registry."""

    policy: Callable[[], Policy]
    fleet: Fleet
    images: RegistryImages
    state: FleetState
    clock: Clock

    async def look(self) -> tuple[Bases, tuple[Base, ...]]:
        """Look at every tag that a task builds on; return all of them, and those that have changed.

        Raises:
            GroundswellError: The base registry cannot be asked.
        """
        policy = self.policy()
        base, bases = await asyncio.gather(self.fleet.base(policy), self.state.bases())
        repositories = sorted({pattern.repository for task in policy.tasks for pattern in task.rebuild_on})
        looks = (self._tags(policy, base, repository, bases.tags) for repository in repositories)
        tags = [tag for found in await asyncio.gather(*looks) for tag in found]
        if not changed(bases.tags, tags, bases.seq.value.last + 1):
            return bases, ()
        return await self.state.change_bases(lambda known, number: changed(known, tags, number))

    async def hear(self, hint: Hint, looks: int) -> Heard:
        """Look at the base registry because of an event; if it cannot be asked, believe the event.

        Args:
            looks: How often it was looked at for this event, this time included.
        """
        try:
            bases, _ = await self.look()
        except GroundswellError as error:
            log.warning("base registry not looked at", image=hint.image, reason=error)
            bases, _ = await self.state.change_bases(lambda known, number: _believed(known, hint, number))
        again = look_again(bases.tags.get(hint.image.name), hint, looks, self.clock())
        return Heard(bases.untold, bases.seq.value.last, again)

    async def _tags(self, policy: Policy, base: Registry, repository: str, known: Mapping[str, Base]) -> list[Tag]:
        """Return a repository's tags that are wanted and not known as they are."""

        def is_known(tag: Tag) -> bool:
            there = known.get(tag.image.name)
            # What was pushed before it was seen by the look that saw it.
            return there is not None and there.confirmed and there.image == tag.image and there.touched == tag.updated

        # Of a repository that is new to the policy the newest will do: what moved long ago is in every image.
        most = None if any(there.image.repository == repository for there in known.values()) else _FIRST_LOOK
        listed = await self.images.tags(base, repository, is_known, most)
        seen = {tag.image.tag for tag in listed}
        fixed = (pattern.image for task in policy.tasks for pattern in task.rebuild_on)
        missing = {
            image
            for image in fixed
            if image and image.repository == repository and image.tag not in seen and image.name not in known
        }
        single = await asyncio.gather(*(self.images.tag(base, image) for image in missing))
        return [tag for tag in (*listed, *single) if tag and policy.builds_on(tag.image)]


def _believed(known: Mapping[str, Base], hint: Hint, number: int) -> Iterable[Base]:
    base = hinted(known.get(hint.image.name), hint, number)
    return (base,) if base else ()

"""Visits one target by itself, beside any walk: for a person who waits, or a registry that was just created."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.adapters.fleet_state import FleetState, target_key
from shared.adapters.rows import Row
from shared.domain.errors import GroundswellError, TemporaryError
from shared.domain.moments import Clock
from shared.domain.state.known import Known
from shared.domain.state.steps import Do
from shared.domain.targets import Target
from shared.flows.base_images import BaseImages
from shared.flows.places import Place, Places
from shared.flows.stepping import Stepping
from shared.flows.waking import Waking

_STEPS = 3
"""What a visit takes at the most: look for runs, arm, run."""

_ATTEMPTS = 5


@dataclass(frozen=True)
class Visited:
    """What became of a visit.

    Attributes:
        errors: What went wrong on the way.
    """

    known: Known
    errors: tuple[GroundswellError, ...]


@dataclass(frozen=True, kw_only=True)
class Visiting:
    """Visits targets."""

    state: FleetState
    base_images: BaseImages
    places: Places
    stepping: Stepping
    waking: Waking
    clock: Clock

    async def visit(self, target: Target, change: Callable[[Known], Known]) -> Visited:
        """Do what is due for a target now.

        Args:
            change: What is to be changed in what is known of it first; it may be asked again.

        Raises:
            TemporaryError: Others change it all the time.
        """
        subscription = target.team.subscription
        bases = await self.state.bases()
        if not bases.tags:
            bases, _ = await self.base_images.look()
        images = self.places.wanted_by(bases)[target.task.name]
        for _ in range(_ATTEMPTS):
            place = await self.places.one(await self._row(target), target, images)
            place.row = replace(place.row, value=change(place.row.value))
            visited = await self._steps(place, bases.seq.value.last, subscription)
            if visited is not None:
                # Somebody must follow the run, or do what is due later.
                await self.waking.raise_one(subscription)
                return visited
        raise TemporaryError(f"Others work on {target.team.name} all the time.", 5.0)

    async def _row(self, target: Target) -> Row[Known]:
        team, task = target.team, target.task.name
        known = await self.state.target(team.subscription, task, team.name)
        return known or Row(target_key(task, team.name), Known(team.id, task, team.created))

    async def _steps(self, place: Place, seq: int, subscription: str) -> Visited | None:
        """Take steps until nothing is due but what a walk does; None: somebody else was faster."""
        by, errors, is_written = uuid.uuid4().hex, list[GroundswellError](), False
        for _ in range(_STEPS):
            step = place.step(self.clock())
            if not step.due(self.clock()) or step.do not in (Do.LOOK_FOR_RUNS, Do.ARM, Do.RUN):
                break
            visit = place.visit(seq, by)
            if step.do in (Do.RUN, Do.ARM):
                place.row = replace(place.row, value=self.stepping.claimed(place.row.value, visit, step))
                if not await self._write(place, subscription):
                    return None
            after = await self.stepping.visit(place.row.value, visit, step)
            place.armed(after)
            place.row = replace(place.row, value=after)
            errors += visit.errors
            if not (is_written := await self._write(place, subscription)):
                return None
        # What was to be changed in it is kept although nothing was due.
        if not is_written and not await self._write(place, subscription):
            return None
        return Visited(place.row.value, tuple(errors))

    async def _write(self, place: Place, subscription: str) -> bool:
        written = await self.state.write(subscription, None, [place.row])
        if written is None:
            return False
        (place.row,) = written[1]
        return True

"""The targets of a subscription as they should be: those that the policy wants, and those that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.adapters.fleet import Fleet
from shared.adapters.fleet_state import Bases, Subscription
from shared.adapters.rows import Row
from shared.domain.policy import Policy, select
from shared.domain.registries import Registry
from shared.domain.selectors import Selection
from shared.domain.state import leaving
from shared.domain.state.bases import Base
from shared.domain.state.known import Armed, Known
from shared.domain.state.steps import Step, Wanted, next_step
from shared.domain.targets import Target
from shared.flows.onboarding import Onboarding
from shared.flows.stepping import Visit, verified
from shared.logs import Log

log = Log("places")


@dataclass
class Place:
    """A target on the way: its row, and what it should be.

    Attributes:
        target: None if it is nothing to work on.
        usual: How long its runs usually take, or None.
    """

    row: Row[Known]
    wanted: Wanted
    target: Target | None
    usual: timedelta | None = None

    def step(self, now: datetime) -> Step:
        """Return what is due."""
        return next_step(self.row.value, self.wanted, now)

    def visit(self, seq: int, by: str) -> Visit:
        """Return what it takes to take its step."""
        assert self.target is not None  # noqa: S101 - nothing is due without one
        return Visit(self.target, self.wanted, seq, by, self.usual)

    def armed(self, value: Known) -> None:
        """Note what was just seen of it, behind which lists lag."""
        if value.armed.seen and value.armed.seen != self.row.value.armed.seen:
            self.wanted = replace(self.wanted, armed=not value.armed.problem, spec=value.armed.spec)

    def take_over(self, images: Mapping[str, tuple[Base, ...]]) -> None:
        """Take over what base images are now."""
        if self.target:
            self.wanted = replace(self.wanted, bases=images[self.target.task.name])


@dataclass(frozen=True, kw_only=True)
class Places:
    """Tells what targets should be."""

    policy: Callable[[], Policy]
    fleet: Fleet
    onboarding: Onboarding
    patience: timedelta
    subscriptions: tuple[str, ...]

    def wanted_by(self, bases: Bases) -> Mapping[str, tuple[Base, ...]]:
        """Return the base images that each task builds on, by the task's name."""
        tags = bases.tags.values()
        return {task.name: tuple(base for base in tags if task.builds_on(base.image)) for task in self.policy().tasks}

    async def all(self, there: Subscription, bases: Bases, registries: Sequence[Registry]) -> dict[str, Place]:
        """Return the targets of a subscription by their keys."""
        policy, places = self.policy(), dict[str, Place]()
        base, images = await self.fleet.base(policy), self.wanted_by(bases)
        for task in policy.tasks:
            for team in registries:
                row = there.target(task.name, team.name, Known(team.id, task.name, team.created))
                is_selected = select(policy, task, team.name, team.tags) is Selection.SELECTED
                if is_selected or row.key in there.targets:
                    places[row.key] = await self.one(row, Target(policy, task, team, base), images[task.name])
        for key, row in there.targets.items():
            if key not in places:
                places[key] = Place(row, self._lost(row.value, there.name), None)
        _see_crowds(places)
        _estimate(places)
        return places

    def _lost(self, known: Known, subscription: str) -> Wanted:
        """Tell what a target should be that no list has, or no task of the policy."""
        policy, dropped = self.policy(), ""
        if subscription not in map(str.lower, self.subscriptions):
            dropped = "Its subscription is not watched any more."
        elif policy.task(known.task) is None:
            dropped = f"The policy has no task {known.task} any more."
        return Wanted(Selection.NOT_SELECTED, (), "", gone=not dropped, dropped=dropped, offboarding=policy.offboarding)

    async def one(self, row: Row[Known], target: Target, bases: tuple[Base, ...]) -> Place:
        """Return one target, as lists tell whether it is armed."""
        team, task = target.team, target.task
        if row.value.created != team.created:
            # Made anew under its old name: another registry.
            former = Armed(principal=row.value.armed.principal)
            row = replace(row, value=Known(team.id, task.name, team.created, armed=former))
        selection, refusal = select(target.policy, task, team.name, team.tags), task.problem or target.refusal
        wanted = Wanted(selection, bases, "", refusal=refusal, patience=self.patience,
                        offboarding=target.policy.offboarding)  # fmt: skip
        if selection is Selection.SELECTED and not refusal:
            glance = await self.onboarding.glance(target, verified(row.value.armed))
            wanted = replace(wanted, spec=glance.spec, armed=glance.armed)
        return Place(row, wanted, target)


def _see_crowds(places: Mapping[str, Place]) -> None:
    """Tell those that leave whether many do, and whether another target of their registry stays."""
    leavers = [place for place in places.values() if place.row.value.leaving_since and not place.wanted.stays]
    if not leavers:
        return
    crowd = leaving.is_crowd(len(leavers), len(places))
    staying = {place.row.value.registry.lower() for place in places.values() if place.wanted.stays}
    if crowd:
        log.warning("many registries leave at once", leaving=len(leavers), targets=len(places))
    for place in leavers:
        shared = place.row.value.registry.lower() in staying
        place.wanted = replace(place.wanted, crowd=crowd, shared=shared)


def _estimate(places: Mapping[str, Place]) -> None:
    """Tell how long runs of each task usually take: what is in the middle."""
    took = dict[str, list[timedelta]]()
    for place in places.values():
        if last := place.row.value.took:
            took.setdefault(place.row.value.task.lower(), []).append(last)
    for place in places.values():
        times = sorted(took.get(place.row.value.task.lower(), ()))
        place.usual = times[len(times) // 2] if times else None

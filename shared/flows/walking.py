"""Walks a subscription: reads its rows, asks what is due, and does it page by page, as far as its budget goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.adapters.fleet import Fleet
from shared.adapters.fleet_state import Bases, FleetState
from shared.adapters.meter import READS, WRITES, Meter
from shared.adapters.rows import Row
from shared.domain import retries
from shared.domain.errors import GroundswellError
from shared.domain.moments import Clock
from shared.domain.state import budget, walk
from shared.domain.state.known import Known
from shared.domain.state.steps import Do, Step
from shared.domain.state.walk import Walk
from shared.flows import leaving
from shared.flows.base_images import BaseImages
from shared.flows.leaving import Leaving
from shared.flows.places import Place, Places
from shared.flows.stepping import Stepping, Visit
from shared.flows.waking import Waking
from shared.logs import Log

log = Log("walking")

_WALK_FOR = timedelta(minutes=4)
"""How long an invocation walks before it hands over: the host ends it after ten."""

_WORTH_WAITING = timedelta(seconds=15)
"""How long a walker waits for what is due next; longer waits are a message's. It is well within the lease."""

_LIST_AGAIN = 5.0
"""Seconds after which a walker that is given further reasons lists the registries anew."""

_SHORTEST_WAIT = timedelta(seconds=0.2)

_WRITING = {Do.RUN: 1, Do.ARM: 4, Do.OFFBOARD: 3}
"""Writes that a step can take. To offboard: task and grants. To arm: identity, grant, task, and a look at the
credential, which counts as one."""

_READS_TO_LOOK = 2


@dataclass
class _Way:
    """A walk under way."""

    name: str
    by: str
    walk: Row[Walk]
    until: datetime
    bases: Bases
    places: dict[str, Place] = field(default_factory=dict)
    is_stale: bool = False
    rests: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Walking:
    """Walks subscriptions.

    Attributes:
        repairs: A walk that only the sweep wants may write and start runs; otherwise it reports what it would do.
    """

    fleet: Fleet
    state: FleetState
    base_images: BaseImages
    places: Places
    stepping: Stepping
    leaving: Leaving
    waking: Waking
    meter: Meter
    clock: Clock
    repairs: bool = True
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def walk(self, subscription: str, by: str, instead: datetime | None = None) -> None:
        """Walk until nothing is due, or hand over.

        Args:
            by: The invocation, which no other one shares.
            instead: When it had a reason itself, and walks instead of sending a message.

        Raises:
            GroundswellError: Storage or Resource Manager cannot be asked; the walk is wanted as before.
        """
        row = await self.state.change_walk(subscription, lambda there: walk.taken(there, by, self.clock(), instead))
        if row is None:
            await self._stand_behind(subscription)
            return
        try:
            await self._go(await self._begin(subscription, by, row))
        except LeaseLost as error:
            log.warning("walk lost", subscription=subscription, reason=error)
        except GroundswellError as error:
            await self._give_up(subscription, by, error)
        except BaseException:
            # Whoever comes next need not wait for the lease.
            await self._give_up(subscription, by, None)
            raise

    async def _stand_behind(self, subscription: str) -> None:
        """See to it that somebody comes should the walker die."""
        there = (await self.state.walk(subscription)).value
        if not there.until or (there.wake and there.wake >= there.until):
            return
        woken = await self.waking.at(subscription, there, there.until)

        def behind(now: Walk) -> Walk | None:
            return replace(now, wake=woken.wake, message=woken.message) if now.by == there.by else None

        await self.state.change_walk(subscription, behind)

    async def _give_up(self, subscription: str, by: str, error: GroundswellError | None) -> None:
        """Give a walk back that could not be walked; it is wanted as before, later if it is known why."""
        there = (await self.state.walk(subscription)).value
        if error is not None:
            wait = retries.next_delay(there.failures, error)
            log.warning("subscription not walked", subscription=subscription, reason=error, again=round(wait))
            there = await self.waking.at(subscription, there, self.clock() + timedelta(seconds=wait))

        def mine(now: Walk) -> Walk | None:
            left = walk.given_back(now, failed=True)
            return replace(left, wake=there.wake, message=there.message) if now.by == by else None

        await self.state.change_walk(subscription, mine)

    # -- what there is -------------------------------------------------------------------------------------------------

    async def _begin(self, subscription: str, by: str, row: Row[Walk], max_age: float = 0) -> _Way:
        """Read what there is.

        Args:
            max_age: Seconds that the list of registries may be old.
        """
        listing, there, bases = await asyncio.gather(
            self.fleet.listing((subscription,), max_age=max_age),
            self.state.subscription(subscription),
            self.state.bases(),
        )
        if subscription in listing.unread:
            raise listing.unread[subscription]
        if not bases.tags:
            # Nothing is known, or not any more.
            bases, _ = await self.base_images.look()
        way = _Way(subscription, by, row, self.clock() + _WALK_FOR, bases)
        way.places = await self.places.all(there, bases, listing.registries)
        return way

    # -- page by page --------------------------------------------------------------------------------------------------

    async def _go(self, way: _Way) -> None:
        while True:
            if way.is_stale:
                again = await self._begin(way.name, way.by, way.walk, _LIST_AGAIN)
                way.bases, way.places, way.is_stale = again.bases, again.places, False
            now = self.clock()
            steps = {key: place.step(now) for key, place in way.places.items()}
            quiet = way.walk.value.quiet
            left = [key for key, step in steps.items() if step.do in _WRITING] if quiet and not self.repairs else []
            due = [key for key, step in steps.items() if step.due(now) and key not in left]
            rests = way.rests if quiet and way.rests and way.rests > now else None
            page = self._page(way, due, steps, now) if due and now < way.until and not rests else []
            if page:
                await self._do(way, page, steps)
                continue
            wake = rests or self._opens(way, due, steps, now) if due else self._next(way, steps, left, now)
            # A walk that rests is left meanwhile, so that a push finds it free.
            if wake and not (due and rests) and wake - now <= _WORTH_WAITING and wake < way.until:
                await self.sleep((wake - now).total_seconds())
                continue
            for key in left:
                log.info("sweep would", step=steps[key].do, target=key, reason=steps[key].reason)
            if await self._leave(way, wake, is_done=not due):
                return

    @staticmethod
    def _next(way: _Way, steps: Mapping[str, Step], left: Sequence[str], now: datetime) -> datetime | None:
        """Return when something is due next; what is left to others keeps the wake-up that it has."""
        later = [step.at for key, step in steps.items() if step.do is not Do.NOTHING and step.at and key not in left]
        kept = [way.walk.value.wake] if left and way.walk.value.wake else []
        return min((at for at in (*later, *kept) if at > now), default=None)

    @staticmethod
    def _opens(way: _Way, due: Sequence[str], steps: Mapping[str, Step], now: datetime) -> datetime:
        """Return when the budget allows the next page."""
        writing = [key for key in due if steps[key].do in _WRITING]
        opens = [budget.opens(way.walk.value.writes, len(writing), now)] if writing else []
        if len(writing) < len(due):
            opens.append(budget.opens(way.walk.value.reads, len(due) - len(writing), now))
        return max(min(opens), now + _SHORTEST_WAIT)

    @staticmethod
    def _page(way: _Way, due: Sequence[str], steps: Mapping[str, Step], now: datetime) -> list[str]:
        """Return the targets of the next page: as many as the budget allows."""
        writing = sum(steps[key].do in _WRITING for key in due)
        opens = budget.opens(way.walk.value.writes, writing, now) <= now
        writes = budget.left(way.walk.value.writes, now) if opens else 0
        reads, page = budget.left(way.walk.value.reads, now), list[str]()
        for key in due:
            cost = _WRITING.get(steps[key].do, 0)
            looks = 0 if steps[key].do is Do.RUN else _READS_TO_LOOK
            # What costs more than the budget ever holds has its turn all the same.
            fits = (cost <= writes or (not page and writes > 0)) and (looks <= reads or (not page and reads > 0))
            if fits and len(page) < budget.PAGE:
                writes, reads = writes - cost, reads - looks
                page.append(key)
        return page

    async def _do(self, way: _Way, page: Sequence[str], steps: Mapping[str, Step]) -> None:
        """Claim a page, work on all of it side by side, and record what became of it."""
        seq = way.bases.seq.value.last
        leavers = [key for key in page if steps[key].do in leaving.STEPS]
        page = [key for key in page if key not in leavers]
        visits = {key: way.places[key].visit(seq, way.by) for key in page}
        to_claim = [key for key in page if steps[key].do in (Do.RUN, Do.ARM)]
        if to_claim and not await self._claim(way, to_claim, visits, steps):
            return
        after = await asyncio.gather(
            *(self.stepping.visit(way.places[key].row.value, visits[key], steps[key]) for key in page)
        )
        for key, value in zip(page, after, strict=True):
            way.places[key].armed(value)
        values = await self._looked(way, dict(zip(page, after, strict=True)))
        await self._record(way, {**values, **await self._seen_off(way, leavers, steps)})

    async def _seen_off(self, way: _Way, page: Sequence[str], steps: Mapping[str, Step]) -> Mapping[str, Known]:
        """Take the steps of what leaves; return what is to be remembered of it, and forget the rest."""
        places = [way.places[key] for key in page]
        after = await asyncio.gather(
            *(self.leaving.take(place.row.value, place.wanted, steps[place.row.key]) for place in places)
        )
        for place, value in zip(places, after, strict=True):
            if value is None:
                await self.state.forget(way.name, place.row)
                del way.places[place.row.key]
        return {place.row.key: value for place, value in zip(places, after, strict=True) if value is not None}

    async def _claim(
        self, way: _Way, page: Sequence[str], visits: Mapping[str, Visit], steps: Mapping[str, Step]
    ) -> bool:
        rows = [
            replace(
                way.places[key].row, value=self.stepping.claimed(way.places[key].row.value, visits[key], steps[key])
            )
            for key in page
        ]
        renewed = replace(way.walk, value=walk.renewed(way.walk.value, self.clock()))
        written = await self.state.write(way.name, renewed, rows)
        if written is None:
            await self._overtaken(way)
            return False
        self._take_over(way, *written)
        return True

    async def _looked(self, way: _Way, values: Mapping[str, Known]) -> Mapping[str, Known]:
        """Look at the tags once for all targets of a page whose runs have ended."""
        ended = {key for key, value in values.items() if value.run and value.run.succeeded and value.run.looked is None}
        if not ended:
            return values
        began = self.clock()
        try:
            way.bases, moved = await self.base_images.look()
        except GroundswellError as error:
            log.warning("base registry not looked at", subscription=way.name, reason=error)
            # What is on record must do: nobody is kept waiting for the base registry.
            moved = ()
        if moved:
            images = self.places.wanted_by(way.bases)
            for place in way.places.values():
                place.take_over(images)
        return {
            key: replace(value, run=replace(value.run, looked=began)) if key in ended and value.run else value
            for key, value in values.items()
        }

    async def _record(self, way: _Way, values: Mapping[str, Known]) -> None:
        """Record a page in one transaction with its walk; if that is refused, each row by itself."""
        now = self.clock()
        written = self.meter.take(way.name, WRITES)
        way.rests = budget.rests(way.walk.value.writes, written.requests, now)
        walked = replace(
            walk.renewed(way.walk.value, now),
            writes=budget.after(way.walk.value.writes, written, now),
            reads=budget.after(way.walk.value.reads, self.meter.take(way.name, READS), now),
        )
        rows = [replace(way.places[key].row, value=value) for key, value in values.items()]
        way.walk = replace(way.walk, value=walked)
        if recorded := await self.state.write(way.name, way.walk, rows):
            self._take_over(way, *recorded)
            return
        for row in rows:
            if alone := await self.state.write(way.name, None, [row]):
                self._take_over(way, None, alone[1])
        await self._overtaken(way)

    def _take_over(self, way: _Way, row: Row[Walk] | None, rows: Sequence[Row[Known]]) -> None:
        way.walk = row or way.walk
        for each in rows:
            way.places[each.key].row = each

    async def _overtaken(self, way: _Way, woken: Walk | None = None) -> None:
        """Read again what somebody else has changed: most often there is a new reason to walk.

        Args:
            woken: With the message that was sent meanwhile.
        """
        mine = way.walk.value
        way.is_stale = True

        def still_mine(there: Walk) -> Walk | None:
            if there.by != way.by:
                return None
            there = walk.renewed(there, self.clock())
            if woken:
                there = replace(there, wake=woken.wake, message=woken.message)
            return replace(there, walked=there.wanted, writes=mine.writes, reads=mine.reads)

        row = await self.state.change_walk(way.name, still_mine)
        if row is None:
            raise LeaseLost(f"Another invocation walks subscription {way.name}.")
        way.walk = row

    async def _leave(self, way: _Way, wake: datetime | None, *, is_done: bool) -> bool:
        """Give the walk back, and see to it that somebody comes when something is due; False: it is wanted again."""
        there = way.walk.value
        if there.wake and there.wake <= self.clock():
            there = replace(there, wake=None, message=None)
        woken = await self.waking.at(way.name, there, wake) if wake else there
        left = walk.given_back(woken)
        if there.quiet and not is_done:
            left = replace(left, quiet=True, rests=left.wake)
        if await self.state.write(way.name, replace(way.walk, value=left), []) is None:
            await self._overtaken(way, woken)
            return False
        return True


class LeaseLost(GroundswellError):
    """Somebody else walks: this invocation has taken too long."""

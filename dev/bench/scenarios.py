"""What can be measured, in the order in which it is: scenarios that need the same fleet stand together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from dev.bench import cold_start, decisions, events, fan_out, following, hosts, onboarding, subscriptions, sweep
from dev.bench.table import Row
from dev.bench.worlds import Worlds
from dev.sandbox.world import Unexpected


@dataclass(frozen=True)
class Scenario:
    """Something to measure.

    Attributes:
        name: As it is chosen on the command line.
        what: What is measured, in a line.
        rows: Measures it.
    """

    name: str
    what: str
    rows: Callable[[Worlds], Awaitable[list[Row]]]

    async def measure(self, worlds: Worlds) -> list[Row]:
        """Measure; what does not work is a row that missed its target, and the other scenarios go on."""
        try:
            return await self.rows(worlds)
        except (Unexpected, RuntimeError) as error:
            await worlds.none()
            return [Row(f"Scenario `{self.name}`", f"broken: {error}", target="works", met=False)]


ALL = (
    Scenario("cold-start", "what a worker imports at its start", cold_start.rows),
    Scenario("decisions", "what a decision costs for each registry, from 10 to 10,000", decisions.rows),
    Scenario("onboarding", "a new registry, by Groundswell and by the Azure CLI", onboarding.rows),
    Scenario("hundred", "a push to 100 registries, beside a script without pacing",
             partial(fan_out.rows, size=100, most=fan_out.TO_SCRIPT, times=3)),
    Scenario("hosts", "a push to 400 registries, shared by 1, 4 and 8 cold hosts", hosts.rows),
    Scenario("subscriptions", "a push to 1,000 registries in 20 subscriptions", subscriptions.rows),
    Scenario("thousand", "a push to 1,000 registries in one subscription", partial(fan_out.rows, size=1000)),
    Scenario("following", "1,000 runs of five minutes, followed to their end", following.rows),
    Scenario("sweep", "a sweep over 1,000 healthy registries", sweep.rows),
    Scenario("events", "100 events a second, beside a fleet of 1,000", events.rows),
)  # fmt: skip

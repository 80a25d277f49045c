"""The pace of pages, against a token bucket on a clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from shared.domain.state.budget import PAGE, Budget, Spent, after, left, opens, rests
from tests.unit.state.plain import NOON


@dataclass
class Arm:
    """A token bucket as Resource Manager has it."""

    burst: float
    per_second: float
    tokens: float = 0
    now: datetime = NOON
    refused: int = 0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def rest(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.tokens = min(self.burst, self.tokens + seconds * self.per_second)

    def take(self, requests: int) -> Spent:
        granted = min(requests, int(self.tokens))
        self.tokens -= granted
        self.refused += requests - granted
        return Spent(granted, int(self.tokens) if granted else None, 1.0 if granted < requests else None)


def walk(arm: Arm, count: int, budget: Budget | None = None, *, latency: float = 0.4, others: float = 0) -> float:
    """Do as many writes, page by page; return how many seconds that took."""
    begun, budget = arm.now, budget or Budget()
    while count:
        if (begin := opens(budget, count, arm.now)) > arm.now:
            pause = (begin - arm.now).total_seconds()
            arm.rest(pause)
            arm.tokens = max(0, arm.tokens - others * pause)
        page = min(PAGE, count, left(budget, arm.now))
        arm.rest(latency)
        spent = arm.take(page)
        budget = after(budget, spent, arm.now)
        count -= spent.requests
    return (arm.now - begun).total_seconds()


BUCKETS = [(200, 10), (800, 40), (50, 2), (100, 20), (10, 1), (1200, 3)]


@pytest.mark.parametrize(("burst", "per_second"), BUCKETS)
def test_budget_is_spent_and_then_its_refill_followed_without_a_refusal(burst: int, per_second: int) -> None:
    arm = Arm(burst, per_second)
    count = burst + per_second * 80
    took = walk(arm, count)
    assert arm.refused == 0
    assert took <= 1.05 * (count - burst) / per_second + 0.4 * count / PAGE


@pytest.mark.parametrize(("burst", "per_second"), BUCKETS)
def test_bucket_that_is_found_empty_is_followed_without_many_refusals(burst: int, per_second: int) -> None:
    arm = Arm(burst, per_second, now=NOON)
    arm.tokens = 0
    count = per_second * 80
    took = walk(arm, count)
    assert arm.refused <= 10
    assert took <= 1.1 * count / per_second + 20


def test_first_page_of_a_cold_start_is_small_and_the_next_ones_are_not() -> None:
    assert left(Budget(), NOON) == 10
    known = after(Budget(), Spent(10, 189), NOON)
    assert left(known, NOON) > PAGE


def test_what_was_known_is_distrusted_after_a_minute() -> None:
    remembered = Budget(5_000, NOON, 500.0, 5_000)
    assert left(remembered, NOON + timedelta(seconds=59)) > PAGE
    assert left(remembered, NOON + timedelta(seconds=61)) == 10


def test_page_need_not_wait_for_a_pace_that_is_not_known_any_more() -> None:
    remembered = Budget(90, NOON, 50.0, 200)
    assert opens(remembered, 100, NOON + timedelta(seconds=61)) == NOON + timedelta(seconds=61)


def test_budget_that_another_tenant_left_costs_no_burst_of_refusals() -> None:
    arm = Arm(200, 10)
    arm.tokens = 20
    stale = Budget(5_000, NOON - timedelta(seconds=90), 500.0, 5_000)
    walk(arm, 400, stale)
    assert arm.refused == 0


def test_refill_is_what_others_leave() -> None:
    arm = Arm(100, 10)
    walk(arm, 600, others=5)
    assert arm.refused <= 3


def test_refusal_closes_the_budget_for_as_long_as_azure_asks() -> None:
    refused = after(Budget(50, NOON, 10.0, 200), Spent(0, None, 17.0), NOON)
    assert left(refused, NOON + timedelta(seconds=16)) == 0
    assert opens(refused, 1, NOON) == NOON + timedelta(seconds=17)
    again = after(refused, Spent(1, 12), NOON + timedelta(seconds=18))
    assert left(again, NOON + timedelta(seconds=18)) > 0


def test_single_request_waits_for_a_single_token() -> None:
    empty = Budget(3, NOON, 10.0, 200)
    assert opens(empty, 1, NOON) == NOON + timedelta(seconds=0.1)
    assert opens(empty, 100, NOON) == NOON + timedelta(seconds=2)


def test_idle_bucket_does_not_make_the_refill_look_slow() -> None:
    """It was full for most of the time: what flowed over was not seen."""
    budget = after(Budget(150, NOON, 10.0, 200), Spent(10, 190), NOON + timedelta(seconds=50))
    assert budget.refill == 10.0


def test_walk_that_nobody_waits_for_uses_a_quarter_of_the_inflow() -> None:
    assert rests(Budget(refill=10), 49, NOON) - NOON == timedelta(seconds=4 * 49 / 10)

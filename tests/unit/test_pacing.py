"""The pace of writes, against a token bucket on a clock that the tests move."""

from __future__ import annotations

import heapq
import itertools
import math
from contextlib import ExitStack
from typing import Any

import pytest

from shared.domain.pacing import OutOfBudget, Pacer

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"


class Arm:
    """A token bucket as Resource Manager has it, and a clock."""

    def __init__(self, burst: float, per_second: float) -> None:
        self.now, self._burst, self._per_second = 1000.0, burst, per_second
        self._tokens, self._at = burst, self.now
        self.refused = self.written = 0

    def clock(self) -> float:
        return self.now

    def take(self) -> int:
        self._tokens = min(self._burst, self._tokens + (self.now - self._at) * self._per_second)
        self._at = self.now
        if self._tokens < 1:
            self.refused += 1
            return 0
        self._tokens -= 1
        self.written += 1
        return int(self._tokens)

    def write(self, pacer: Pacer, subscription: str = SUBSCRIPTION) -> None:
        refused = self.refused
        left = self.take()
        if self.refused > refused:
            pacer.throttled(subscription, 1.0)
        else:
            pacer.answered(subscription, left)


def drain(arm: Arm, pacer: Pacer, count: int, *, seconds: float = 0.05) -> float:
    """Write `count` times as workers do, each request coming back when it was told to; return how long that took."""
    started = arm.now
    waiting = [(arm.now, number, False) for number in range(count)]
    while waiting:
        due, number, has_turn = heapq.heappop(waiting)
        arm.now = max(arm.now, due)
        try:
            with pacer.permit(SUBSCRIPTION, has_turn=has_turn):
                arm.now += seconds
                arm.write(pacer)
        except OutOfBudget as error:
            # A queue's delays are whole seconds.
            heapq.heappush(waiting, (arm.now + math.ceil(error.retry_after or 0), number, error.has_turn))
    return arm.now - started


@pytest.mark.parametrize(("burst", "per_second"), [(200, 10), (800, 40), (50, 2), (100, 20)])
def test_budget_is_spent_and_then_its_refill_followed_without_a_refusal(burst: float, per_second: float) -> None:
    arm = Arm(burst, per_second)
    pacer = Pacer(arm.clock)
    count = int(burst + per_second * 60)
    took = drain(arm, pacer, count, seconds=0.5 / per_second)
    floor = (count - burst) / per_second
    assert arm.refused == 0
    assert took <= 1.1 * floor


def test_first_writes_are_not_held_back() -> None:
    arm = Arm(200, 10)
    assert drain(arm, Pacer(arm.clock), 150, seconds=0.01) < 2


def test_bucket_that_others_empty_too_is_followed_at_what_they_leave() -> None:
    arm = Arm(40, 10)
    pacer, other = Pacer(arm.clock), Pacer(arm.clock)
    drain(arm, pacer, 30, seconds=0.01)
    for _ in range(20):
        for _ in range(5):
            arm.write(other)
        drain(arm, pacer, 4, seconds=0.01)
        arm.now += 0.5
    assert arm.refused <= arm.written * 0.05


@pytest.mark.parametrize("instances", [2, 4])
def test_instances_that_share_a_bucket_are_hardly_ever_refused(instances: int) -> None:
    arm = Arm(200, 10)
    pacers = [Pacer(arm.clock) for _ in range(instances)]
    events: list[tuple[float, int, str, Any]] = []
    order = itertools.count()

    def later(seconds: float, what: str, about: Any) -> None:
        heapq.heappush(events, (arm.now + seconds, next(order), what, about))

    waiting = [False] * 600
    # An instance does twelve writes at a time.
    free = [instance for _ in range(12) for instance in range(instances)]
    while arm.written < 600:
        while waiting and free:
            instance, has_turn, held = free.pop(), waiting.pop(), ExitStack()
            try:
                held.enter_context(pacers[instance].permit(SUBSCRIPTION, has_turn=has_turn))
                later(0.2, "arrives", (instance, held))
            except OutOfBudget as error:
                later(math.ceil(error.retry_after or 0), "comes back", error.has_turn)
                later(0.05, "is free", instance)
        arm.now, _, what, about = heapq.heappop(events)
        if what == "comes back":
            waiting.append(about)
        elif what == "is free":
            free.append(about)
        elif what == "arrives":
            refused = arm.refused
            later(0.2, "is answered", (*about, arm.take(), arm.refused > refused))
        else:
            instance, held, left, refused_it = about
            held.close()
            free.append(instance)
            if refused_it:
                pacers[instance].throttled(SUBSCRIPTION, 1.0)
                later(1, "comes back", False)
            else:
                pacers[instance].answered(SUBSCRIPTION, left)
    assert arm.refused <= 0.03 * arm.written


def test_refusal_closes_the_subscription_for_as_long_as_was_asked_and_no_other() -> None:
    arm = Arm(200, 10)
    pacer = Pacer(arm.clock)
    pacer.throttled(SUBSCRIPTION, 17)
    with pytest.raises(OutOfBudget) as refused, pacer.permit(SUBSCRIPTION):
        pass
    assert refused.value.retry_after
    assert refused.value.retry_after >= 17
    with pacer.permit("00000000-0000-4000-8000-000000000002"):
        pass
    arm.now += 60
    with pacer.permit(SUBSCRIPTION):
        pass


def test_concurrent_permits_are_counted_before_their_answers_arrive() -> None:
    arm = Arm(200, 10)
    pacer = Pacer(arm.clock)
    pacer.answered(SUBSCRIPTION, 10)
    with pacer.permit(SUBSCRIPTION, 4), pytest.raises(OutOfBudget), pacer.permit(SUBSCRIPTION, 4):
        pass
    with pacer.permit(SUBSCRIPTION, 4):
        pass


def test_requests_that_must_wait_get_turns_one_after_another() -> None:
    arm = Arm(200, 10)
    pacer = Pacer(arm.clock)
    drain(arm, pacer, 250)
    turns: list[float] = []
    while len(turns) < 5:
        try:
            with pacer.permit(SUBSCRIPTION):
                arm.write(pacer)
        except OutOfBudget as refused:
            turns.append(refused.retry_after or 0.0)
    assert turns == sorted(set(turns))

"""The pace of writes, against a token bucket on a clock that the tests move."""

from __future__ import annotations

import heapq
import math

import pytest

from shared.pacing import OutOfBudget, Pacer

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"


class Arm:
    """A token bucket as Resource Manager has it, and a clock."""

    def __init__(self, burst: float, per_second: float) -> None:
        self.now, self._burst, self._per_second = 1000.0, burst, per_second
        self._tokens, self._at = burst, self.now
        self.refused = self.written = 0

    def clock(self) -> float:
        return self.now

    def write(self, pacer: Pacer, subscription: str = SUBSCRIPTION) -> None:
        self._tokens = min(self._burst, self._tokens + (self.now - self._at) * self._per_second)
        self._at = self.now
        if self._tokens < 1:
            self.refused += 1
            pacer.throttled(subscription, 1.0)
            return
        self._tokens -= 1
        self.written += 1
        pacer.answered(subscription, int(self._tokens))


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

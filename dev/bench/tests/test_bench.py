"""The arithmetic behind the table of `make bench`."""

from __future__ import annotations

import pytest

from dev.bench.table import Row, at_most, floor_seconds, markdown, none, percentile
from dev.bench.world import Calls, count_calls


@pytest.mark.parametrize(("count", "seconds"), [(100, 0), (200, 0), (201, 0.1), (1000, 80)])
def test_floor_is_what_does_not_fit_the_burst_at_the_speed_of_the_refill(count: int, seconds: float) -> None:
    assert floor_seconds(count, burst=200, per_second=10) == pytest.approx(seconds)


def test_percentile_is_a_value_that_was_measured() -> None:
    values = range(100, 0, -1)
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7], 99) == 7


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_whatever_is_not_a_get_counts_as_a_write_and_refused_calls_as_neither() -> None:
    calls = [("GET", 200), ("GET", 404), ("PUT", 201), ("POST", 200), ("POST", 429), ("GET", 429)]
    entries = [{"method": method, "status": status} for method, status in calls]
    assert count_calls(entries) == Calls(reads=2, writes=2, throttled=2)


@pytest.mark.parametrize(("ratio", "verdict"), [(1.1, "met"), (1.11, "**missed**")])
def test_target_is_met_up_to_its_limit(ratio: float, verdict: str) -> None:
    assert at_most("a", "b", "c", ratio, 1.1).verdict == verdict


@pytest.mark.parametrize(("count", "verdict"), [(0, "met"), (1, "**missed**")])
def test_a_single_refusal_misses_the_target_of_none(count: int, verdict: str) -> None:
    assert none("refused", count).verdict == verdict


def test_table_shows_small_ratios_and_leaves_out_what_says_nothing() -> None:
    lines = markdown([Row("first", "1 s", "4 s", 0.25), Row("second row", "8", "1,000", 0.008), Row("third", "9 MiB")])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines.splitlines()]
    assert cells[0] == ["What", "Measured", "Against", "Ratio", "Target", ""]
    assert [row[3] for row in cells[2:]] == ["0.25", "0.0080", ""]
    assert len({len(line) for line in lines.splitlines()}) == 1

"""Scenarios measure what happens at the wire, and one that breaks spoils no other."""

from __future__ import annotations

from collections import Counter

import pytest

from dev.bench import decisions, fan_out, following, others, push, sweep
from dev.bench.others import Script
from dev.bench.push import FanOut
from dev.bench.scenarios import ALL, Scenario
from dev.bench.table import Row
from dev.bench.world import APP, SCHEDULE, Calls, Fleet, running_fleet, team
from dev.bench.worlds import Worlds

_SEEN = FanOut(84.0, Calls(19, 1000, 0), Calls(19, 1000, 0), Counter({"queue POST": 400, "table GET": 101}), 40, 90.0)


def silent(_: str) -> None:
    """Tell nobody."""


@pytest.mark.timeout(300)
async def test_fan_out_by_two_hosts_to_two_subscriptions_is_seen_at_the_wire() -> None:
    async with running_fleet(Fleet(4, subscriptions=2)) as world:
        seen = await push.measure(world, "all", hosts=2, pace=0.2)
        entries = await world.entries(APP)
        scheduled = {entry["path"].split("/")[2] for entry in entries if entry["operation"].lower() == SCHEDULE.lower()}
        reads, refused = following.count_reads([entry for entry in entries if entry["method"] == "GET"])
        assert (seen.in_all.writes, seen.in_all.throttled) == (4, 0)
        assert scheduled == set(world.subscriptions)
        assert reads >= 4
        assert refused == 0
        assert seen.messages >= 1
        assert world.meter.left == 0
        assert seen.memory > 0
        assert {name.partition(" ")[0] for name in seen.storage} == {"queue", "table"}
        assert len({host["url"] for host in world.hosts}) == 2
        assert await following.run_seconds(world, team(0)) > 0

        calls, seconds = await sweep.measure(world, "queues_watched")
        assert (calls.writes, calls.throttled) == (0, 0)
        assert calls.reads > 0
        assert seconds > 0

        script = await others.unpaced(world, to_end=False)
        assert (script.runs, script.left_out) == (4, 0)


async def test_scenario_that_breaks_is_a_missed_row() -> None:
    async def broken(_: Worlds) -> list[Row]:
        raise RuntimeError("3 runs for 5 registries")

    async with Worlds(silent) as worlds:
        (row,) = await Scenario("odd", "something", broken).measure(worlds)
    assert row.verdict == "**missed**"
    assert "3 runs for 5 registries" in row.measured


def test_scenarios_have_names_of_their_own() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL)


def test_reads_of_runs_are_told_from_other_reads_and_every_refused_read_counts() -> None:
    registry = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/team00001"
    asked = [(f"{registry}/runs/ca1", 200), (f"{registry}/RUNS", 200), (registry, 200), (f"{registry}/runs", 429),
             (registry, 429)]  # fmt: skip
    assert following.count_reads([{"path": path, "status": status} for path, status in asked]) == (2, 2)


def test_fan_out_beyond_the_burst_is_held_against_the_floor() -> None:
    pace, refused = fan_out.pace_rows(1000, _SEEN)
    assert (pace.ratio, pace.verdict) == (84.0 / 80.0, "met")
    assert refused.verdict == "met"


def test_fan_out_within_the_bursts_is_held_against_the_script() -> None:
    script = Script(seconds=28.0, runs=1000, left_out=0, throttled=0)
    assert fan_out.against_script("N = 1000", _SEEN, script, 3.0).verdict == "met"
    assert fan_out.against_script("N = 1000", _SEEN, script, 2.0).verdict == "**missed**"
    assert fan_out.against_script("N = 1000", _SEEN, script, None).verdict == ""


def test_messages_are_for_each_subscription_and_requests_for_each_rebuild_of_a_large_fleet() -> None:
    requests, messages = fan_out.storage_rows(Fleet(1000, subscriptions=20), _SEEN)
    assert (requests.ratio, requests.verdict) == (0.501, "**missed**")
    assert (messages.ratio, messages.verdict) == (2.0, "met")
    assert fan_out.storage_rows(Fleet(100), _SEEN)[0].verdict == ""


@pytest.mark.parametrize("name", decisions.DECISIONS)
def test_decisions_can_be_made_for_fleets_of_any_size(name: str) -> None:
    for size in (1, 30):
        decisions.DECISIONS[name](size)()

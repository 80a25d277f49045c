"""Schedules of timer triggers, and timers that fire."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.storage.queue import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

from dev.azurite import ACCOUNT, ACCOUNT_KEY
from dev.functionshost.schedule import ScheduleError, parse_schedule
from dev.functionshost.tests.fixtures import azurite
from dev.testing.azurite import Azurite
from dev.testing.functions_host import FunctionsHost, eventually, write_app

__all__ = ["azurite"]

# A Sunday.
START = datetime(2026, 11, 22, 18, 47, 59, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * * *", "2026-11-22 18:48:00"),
        ("0 */5 * * * *", "2026-11-22 18:50:00"),
        ("0 0 * * * *", "2026-11-22 19:00:00"),
        ("0 0 */2 * * *", "2026-11-22 20:00:00"),
        ("0 30 9 * * *", "2026-11-23 09:30:00"),
        ("0 30 9 * * 1-5", "2026-11-23 09:30:00"),
        ("0 30 9 * * Sun", "2026-11-29 09:30:00"),
        ("0 30 9 * Jan Mon", "2027-01-04 09:30:00"),
        ("0 0 0 13 * Fri", "2027-08-13 00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("5,8,10 * * * * *", "2026-11-22 18:48:05"),
        ("10-20/5 47 18 * * *", "2026-11-23 18:47:10"),
        ("*/10 * * * *", "2026-11-22 18:50:00"),
        ("00:00:30", "2026-11-22 18:48:29.250000"),
        ("1.00:00:00", "2026-11-23 18:47:59.250000"),
    ],
)
def test_next_occurrence_follows_the_expression(text: str, expected: str) -> None:
    assert parse_schedule(text).next_after(START) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    schedule = parse_schedule("0 0 0 1-7 * Mon")
    moments = [START]
    for _ in range(12):
        moments.append(schedule.next_after(moments[-1]))
    assert all(moment.isoweekday() == 1 and moment.day <= 7 for moment in moments[1:])
    assert moments[-1] - moments[1] < timedelta(days=340), "once in every month"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * *",
        "60 * * * * *",
        "* * * 0 * *",
        "* * * * * 7",
        "* * * * Foo *",
        "*/0 * * * * *",
        "9-3 * * * * *",
        "00:00:00",
        "1:2:3:4",
        "soon",
        "* * * * * * *",
        "² * * * * *",
    ],
)
def test_schedule_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text)


def test_schedule_that_never_fires_is_refused() -> None:
    with pytest.raises(ScheduleError):
        parse_schedule("0 0 0 31 2 *").next_after(START)


async def test_timer_fires_on_its_schedule_and_survives_a_failure(tmp_path: Path) -> None:
    source = """
        import azure.functions as func

        app = func.FunctionApp()
        runs = 0

        @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
        def tick(timer: func.TimerRequest) -> None:
            global runs
            runs += 1
            print("run", runs, "status", timer.schedule_status)
            if runs == 1:
                raise RuntimeError("first run")
        """
    with FunctionsHost(write_app(tmp_path / "app", source), {"SCHEDULE": "* * * * * *"}) as host:
        await eventually(lambda: "run 2 status {}" in host.log)  # none is kept for a timer as quick as this
        assert "Failed" in host.log
        assert "tick: timer, next at" in host.log


YEARLY = """
    import azure.functions as func

    app = func.FunctionApp()

    @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
    def tick(timer: func.TimerRequest) -> None:
        print("past due", timer.past_due, timer.schedule_status["Next"])
    """


class Container:
    """The container in which a host keeps its state."""

    def __init__(self, azurite: Azurite) -> None:
        self._url = f"http://127.0.0.1:{azurite.blob_port}/{ACCOUNT}/azure-webjobs-hosts"
        self._key = generate_account_sas(
            ACCOUNT, ACCOUNT_KEY, ResourceTypes(container=True, object=True),
            AccountSasPermissions(read=True, write=True, create=True, list=True),
            datetime.now(UTC) + timedelta(hours=1), services=Services(blob=True),
        )  # fmt: skip

    async def names(self) -> list[str]:
        text = await self._request("GET", "?restype=container&comp=list&")
        return [part.partition("</Name>")[0] for part in text.split("<Name>")[1:]]

    async def read(self, name: str) -> Any:
        return json.loads(await self._request("GET", f"/{name}?"))

    async def write(self, name: str, document: Any) -> None:
        await self._request("PUT", f"/{name}?", json.dumps(document))

    async def _request(self, method: str, path: str, text: str | None = None) -> str:
        headers = {"x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob"}
        url = f"{self._url}{path}{self._key}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=text, headers=headers) as response,
        ):
            return await response.text()


@pytest.fixture
def settings(azurite: Azurite) -> dict[str, str]:
    return {"AzureWebJobsStorage": azurite.connection_string, "SCHEDULE": "0 0 0 1 1 *"}


async def test_occurrence_that_was_missed_is_made_up_for_once_at_the_start(
    azurite: Azurite, settings: dict[str, str], tmp_path: Path
) -> None:
    app, container = write_app(tmp_path / "app", YEARLY), Container(azurite)

    async def status() -> list[str]:
        return [name for name in await container.names() if name.endswith("/Host.Functions.tick/status")]

    with FunctionsHost(app, settings) as host:
        (name,) = await eventually(status)
        assert name.startswith("timers/")
        assert "past due" not in host.log
    stored = await container.read(name)
    assert stored["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00+00:00"

    # As if no host had run since the year before last.
    long_ago = datetime.now(UTC).year - 2
    missed = f"{long_ago + 1}-01-01T00:00:00+00:00"
    last = f"{long_ago}-01-01T00:00:00+00:00"
    await container.write(name, {"Last": last, "Next": missed, "LastUpdated": last})
    with FunctionsHost(app, settings) as host:
        await eventually(lambda: f"past due True {missed}" in host.log)

        async def updated() -> bool:
            return bool((await container.read(name))["Next"] == stored["Next"])

        await eventually(updated)
    with FunctionsHost(app, settings) as host:
        await eventually(lambda: "timer, next at" in host.log)
        assert host.stop() == 0
        assert "past due" not in host.log


async def test_changed_schedule_makes_no_occurrence_past_due(
    azurite: Azurite, settings: dict[str, str], tmp_path: Path
) -> None:
    app, container = write_app(tmp_path / "app", YEARLY), Container(azurite)
    before = set(await container.names())

    async def made() -> set[str]:
        return set(await container.names()) - before

    with FunctionsHost(app, settings):
        (name,) = await eventually(made)
    last, next_ = "2020-01-01T00:00:00+00:00", "2020-01-01T01:00:00+00:00"
    await container.write(name, {"Last": last, "Next": next_, "LastUpdated": last})
    with FunctionsHost(app, settings) as host:

        async def corrected() -> bool:
            return bool((await container.read(name))["Next"] > f"{datetime.now(UTC):%Y-%m-%d}")

        await eventually(corrected)
        assert host.stop() == 0
        assert "past due" not in host.log

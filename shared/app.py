"""The composition root: makes every adapter and every flow, and gives each what it uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from shared import settings as all_settings
from shared import telemetry
from shared.adapters.arm import Arm
from shared.adapters.clients import Clients
from shared.adapters.fleet import Fleet
from shared.adapters.fleet_state import FleetState
from shared.adapters.ledger import Ledger
from shared.adapters.policy_file import PolicyFile
from shared.adapters.queues import Queues
from shared.adapters.registry_images import RegistryImages
from shared.adapters.rows import Rows
from shared.adapters.run_logs import RunLogs
from shared.domain.moments import Clock
from shared.domain.pacing import Pacer
from shared.domain.policy import Policy
from shared.flows.asking import Asking
from shared.flows.base_images import BaseImages
from shared.flows.calls import Calls
from shared.flows.fanout import FanOuts
from shared.flows.followup import Followup
from shared.flows.hearing import Hearing
from shared.flows.leaving import Leaving
from shared.flows.onboarding import Onboarding
from shared.flows.places import Places
from shared.flows.rebuilds import Rebuilds
from shared.flows.replay import Replay
from shared.flows.starts import Starts
from shared.flows.stepping import Stepping
from shared.flows.sweeping import Sweeping
from shared.flows.views import Views
from shared.flows.visiting import Visiting
from shared.flows.waking import Waking
from shared.flows.walking import Walking
from shared.flows.watch import Watch
from shared.flows.work import Work
from shared.settings import Settings

APP_FOLDER = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class App:
    """The app's flows, and the adapters under them. One serves all invocations of a worker.

    Attributes:
        policy: Reads the policy; raises ConfigurationError if it is missing or wrong.
    """

    settings: Settings
    policy: Callable[[], Policy]
    clients: Clients
    queues: Queues
    ledger: Ledger
    fleet: Fleet
    onboarding: Onboarding
    fan_outs: FanOuts
    work: Work
    hearing: Hearing
    calls: Calls
    asking: Asking
    state: FleetState
    waking: Waking
    sweeping: Sweeping
    starts: Starts
    views: Views
    replay: Replay
    watch: Watch

    async def close(self) -> None:
        """Close all connections."""
        await self.clients.close()


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def build(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    ticks: Callable[[], float] = time.monotonic,
    policy: Callable[[], Policy] | None = None,
    clients: Callable[[Settings, Pacer], Clients] = Clients,
) -> App:
    """Make the app. Nothing is read or connected yet.

    Args:
        ticks: Seconds since any moment, which nobody sets: for what is kept a while, and for the pace of writes.
        policy: Reads the policy; by default the file that the settings name, again when it has changed.
        clients: Makes the SDKs' clients.
    """
    policy = policy or PolicyFile(APP_FOLDER / settings.policy).load
    pacer = Pacer(ticks)
    made = clients(settings, pacer)
    arm, images, queues = Arm(made), RegistryImages(made), Queues(made)
    run_logs = RunLogs(arm)
    ledger = Ledger(made, settings.ledger_table, timedelta(seconds=settings.claim_seconds))
    fleet = Fleet(arm, settings.subscriptions, settings.fleet_cache_seconds, ticks)

    onboarding = Onboarding(policy=policy, fleet=fleet, arm=arm, ledger=ledger)
    fan_outs = FanOuts(
        policy=policy, fleet=fleet, arm=arm, ledger=ledger, queues=queues, clock=clock,
        subscriptions=settings.subscriptions, settling=settings.settling,
    )  # fmt: skip
    rebuilds = Rebuilds(
        policy=policy, onboarding=onboarding, fleet=fleet, arm=arm, images=images, ledger=ledger, queues=queues,
        pacer=pacer, clock=clock, subscriptions=settings.subscriptions, settling=settings.settling,
        follow_runs=settings.follow_runs, run_check_seconds=settings.run_check_seconds,
    )  # fmt: skip
    followup = Followup(
        onboarding=onboarding, fleet=fleet, arm=arm, run_logs=run_logs, ledger=ledger, queues=queues, clock=clock,
        settling=settings.settling, run_check_seconds=settings.run_check_seconds,
    )  # fmt: skip
    state = FleetState(Rows(made, settings.ledger_table))
    base_images = BaseImages(policy=policy, fleet=fleet, images=images, state=state, clock=clock)
    waking = Waking(state=state, queues=queues, clock=clock)
    first_look = timedelta(seconds=settings.run_check_seconds)
    stepping = Stepping(onboarding=onboarding, arm=arm, run_logs=run_logs, clock=clock, first_look=first_look)
    places = Places(policy=policy, fleet=fleet, onboarding=onboarding, patience=settings.settling,
                    subscriptions=settings.subscriptions)  # fmt: skip
    leaving = Leaving(
        policy=policy, fleet=fleet, arm=arm, onboarding=onboarding, state=state, waking=waking, clock=clock
    )
    walking = Walking(
        fleet=fleet, state=state, base_images=base_images, places=places, stepping=stepping, leaving=leaving,
        waking=waking, meter=made.meter, clock=clock, repairs=settings.sweep == "repair",
    )  # fmt: skip
    visiting = Visiting(
        state=state, base_images=base_images, places=places, stepping=stepping, waking=waking, clock=clock
    )
    return App(
        settings=settings,
        policy=policy,
        clients=made,
        queues=queues,
        ledger=ledger,
        fleet=fleet,
        onboarding=onboarding,
        fan_outs=fan_outs,
        work=Work(
            fan_outs=fan_outs, rebuilds=rebuilds, followup=followup, queues=queues, ledger=ledger, clock=clock
        ),
        starts=Starts(
            policy=policy, fleet=fleet, rebuilds=rebuilds, fan_outs=fan_outs, ledger=ledger, clock=clock,
            registry_suffix=settings.registry_suffix,
        ),
        hearing=Hearing(policy=policy, clock=clock, subscriptions=settings.subscriptions),
        calls=Calls(
            policy=policy, arm=arm, fleet=fleet, state=state, base_images=base_images, places=places,
            visiting=visiting, walking=walking, waking=waking, queues=queues, clock=clock,
            subscriptions=settings.subscriptions,
        ),
        asking=Asking(
            policy=policy, fleet=fleet, images=images, visiting=visiting,
            registry_suffix=settings.registry_suffix,
        ),
        state=state,
        waking=waking,
        sweeping=Sweeping(
            state=state, base_images=base_images, waking=waking, clock=clock, subscriptions=settings.subscriptions
        ),
        views=Views(
            policy=policy, onboarding=onboarding, fleet=fleet, arm=arm, run_logs=run_logs, ledger=ledger
        ),
        replay=Replay(queues=queues, clock=clock),
        watch=Watch(
            policy=policy, fleet=fleet, queues=queues, ledger=ledger, clock=clock, policy_file=settings.policy,
            ledger_table=settings.ledger_table,
        ),
    )  # fmt: skip


@cache
def current() -> App:
    """Return the worker's app, which is made at the first call.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """
    with telemetry.preparing("settings"):
        return build(all_settings.load())

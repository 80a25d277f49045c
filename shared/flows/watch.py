"""Watches while nothing happens: how long the queues are, how old the newest push is, whether every part works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared import telemetry
from shared.adapters.fleet import Fleet
from shared.adapters.ledger import Ledger
from shared.adapters.messages import FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS
from shared.adapters.queues import Queues
from shared.domain.errors import GroundswellError, all_of
from shared.domain.moments import Clock
from shared.domain.policy import Policy, broken_task
from shared.flows.parts import apart
from shared.logs import Log

log = Log("watch")


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks after the whole.

    Attributes:
        policy_file: Where the policy is read, for people.
        ledger_table: The ledger's table, for people.
    """

    policy: Callable[[], Policy]
    fleet: Fleet
    queues: Queues
    ledger: Ledger
    clock: Clock
    policy_file: Path
    ledger_table: str

    @telemetry.traced("queues_watched")
    async def look(self) -> None:
        """Measure what there is, and look whether every part of the fleet works.

        Raises:
            GroundswellError: A queue, the ledger or the policy cannot be read; everything else was looked at.
        """
        failed: dict[str, GroundswellError] = {}
        for queue in (FAN_OUTS, REBUILD_REQUESTS, RUN_CHECKS):
            for name in (queue, f"{queue}-poison"):
                with apart(failed, "queue", name):
                    length = await self.queues.length(name)
                    telemetry.queue_length(name, length)
                    if length and name != queue:
                        log.warning("messages wait for somebody to look at them", queue=name, messages=length)
        with apart(failed, "ledger", self.ledger_table):
            if (newest := await self.ledger.newest_push()) is not None:
                telemetry.push_age((self.clock() - newest).total_seconds())
        await self.fleet.listing()  # counts and logs each subscription that fails
        with apart(failed, "policy", str(self.policy_file)):
            await self._look_at_policy(self.policy())
        if failed:
            raise all_of("Not everything could be watched.", failed)

    async def _look_at_policy(self, policy: Policy) -> None:
        for task in policy.broken:
            telemetry.part_failed("task", task.name, broken_task(task))
            log.error("task is broken", task=task.name, reason=task.problem)
        _, error = await self.fleet.base_or_why_not(policy)
        if error:
            telemetry.part_failed("base-registry", policy.base_name, error)
            log.error("base registry cannot be read", registry=policy.base_name, reason=error)

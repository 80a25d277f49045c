"""Parts of a company that fail: a subscription in one of several ways, a task's file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.integration.company_life import OTHER_GROUP, OTHER_SUBSCRIPTION, watch_subscription
from tests.integration.world import BASE, OPTED_IN, ROLES, TEAM, World

FAR = "faraway"
LISTS = r".*/registries"
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"


async def two_subscriptions(world: World, base: str = BASE) -> None:
    """Let the app watch two subscriptions, each with a team that opted in."""
    await world.create_registry(TEAM, tags=OPTED_IN)
    world.azure.create_subscription(OTHER_SUBSCRIPTION, "Team subscription")
    await world.arm("PUT", OTHER_GROUP, {"location": "eastus"}, api_version="2024-11-01")
    await world.create_registry(FAR, group=OTHER_GROUP, tags=OPTED_IN)
    world.write_policy(text=world.policy_text.replace("mybaseregistry", base))
    await watch_subscription(world, OTHER_SUBSCRIPTION)


async def control(world: World, method: str, path: str, body: Any = None) -> None:
    reply = await world.owner.control(method, path, body)
    assert reply.status < 300, reply.text


async def without_rights(world: World) -> None:
    for assignment in list(world.azure.state.of_type(ASSIGNMENTS, f"/subscriptions/{OTHER_SUBSCRIPTION}")):
        await world.arm("DELETE", assignment.id, api_version=ROLES)


async def deleted(world: World) -> None:
    await control(world, "DELETE", f"/subscriptions/{OTHER_SUBSCRIPTION}")


async def disabled(world: World) -> None:
    await control(world, "POST", "/restrictions", {"kind": "disabled", "scope": f"/subscriptions/{OTHER_SUBSCRIPTION}"})


async def throttled(world: World) -> None:
    world.fault(method="GET", path=f"/subscriptions/{OTHER_SUBSCRIPTION}/.*", status=429, times=-1,
                headers={"Retry-After": "17"})  # fmt: skip


async def mend(world: World) -> None:
    world.azure.front.faults.clear()
    await control(world, "DELETE", "/restrictions")
    await watch_subscription(world, OTHER_SUBSCRIPTION)


Way = Callable[[World], Awaitable[None]]
SAID: dict[Way, str] = {
    without_rights: "403", deleted: "SubscriptionNotFound", disabled: "disabled", throttled: "429",
}  # fmt: skip

SECOND = """\
  - name: secondtask
    file: tasks/second.yaml
    rebuildOn: [baseimages/node:15-alpine]
    registries: {{tags: {{base-image-rebuilds: enabled}}}}
"""


def second_task(world: World) -> Path:
    """Add a task to the policy; return its file."""
    world.write_policy(text=world.policy_text + SECOND)
    return world.folder / "tasks" / "second.yaml"


def mend_task(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    file.write_text("version: v1.1.0\nsteps: [{cmd: bash echo}]\n")

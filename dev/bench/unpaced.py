"""The script that one would write first: every registry of a subscription at once, retries left to the SDK.

It prints one JSON object. `python -m dev.bench.unpaced <subscription>`
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential
from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient

_AT_ONCE = 50
_TASK = "helloworldtask"


async def main(subscription: str) -> None:
    """Schedule a run in every registry that has opted in."""
    turns = asyncio.Semaphore(_AT_ONCE)
    async with (
        DefaultAzureCredential() as credential,
        ContainerRegistryManagementClient(credential, subscription) as registries,
        ContainerRegistryTasksMgmtClient(credential, subscription) as tasks,
    ):

        async def schedule(registry_id: str) -> bool:
            group, name = registry_id.split("/")[4], registry_id.rpartition("/")[2]
            body = {"type": "TaskRunRequest", "taskId": f"{registry_id}/tasks/{_TASK}"}
            async with turns:
                try:
                    await tasks.registries.schedule_run(group, name, body)
                except AzureError:
                    return False
            return True

        started = time.monotonic()
        found = [str(item.id) async for item in registries.registries.list() if item.tags]
        done = await asyncio.gather(*(schedule(registry_id) for registry_id in found))
        seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "scheduled": sum(done), "failed": len(done) - sum(done)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

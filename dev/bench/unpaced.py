"""The script that one would write first: every registry of some subscriptions at once, retries left to the SDK.

It prints one JSON object. `python -m dev.bench.unpaced <subscription> …`
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import DefaultAzureCredential
from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient

_AT_ONCE = 50
_TASK = "helloworldtask"
# By default the SDK gives a request up after it was refused three times. This one lets nobody go without a run.
_RETRIES = 1000


async def schedule_all(
    credential: DefaultAzureCredential, subscription: str, session: aiohttp.ClientSession, turns: asyncio.Semaphore
) -> list[bool]:
    """Schedule a run in every registry of a subscription that has opted in; tell for each whether it worked."""
    # Connections are shared: to make one takes longer than a request.
    shared = AioHttpTransport(session=session, session_owner=False)
    async with (
        ContainerRegistryManagementClient(credential, subscription, transport=shared) as registries,
        ContainerRegistryTasksMgmtClient(
            credential, subscription, transport=shared, retry_total=_RETRIES, retry_status=_RETRIES
        ) as tasks,
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

        found = [str(item.id) async for item in registries.registries.list() if item.tags]
        return await asyncio.gather(*(schedule(registry_id) for registry_id in found))


async def main(subscriptions: list[str]) -> None:
    """Do so in these subscriptions, side by side."""
    turns = asyncio.Semaphore(_AT_ONCE)
    async with (
        DefaultAzureCredential() as credential,
        aiohttp.ClientSession(trust_env=True, auto_decompress=False) as session,
    ):
        started = time.monotonic()
        parts = await asyncio.gather(*(schedule_all(credential, name, session, turns) for name in subscriptions))
        seconds = time.monotonic() - started
    done = [worked for part in parts for worked in part]
    print(json.dumps({"seconds": seconds, "scheduled": sum(done), "failed": len(done) - sum(done)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

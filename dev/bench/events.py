"""How soon the host acknowledges events when many come."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp

from dev.bench.table import Row, percentile
from dev.bench.world import Fleet
from dev.bench.worlds import Worlds
from dev.sandbox.cloud import BASE, REPOSITORY, TAG, registry_id

PER_SECOND = 100
_SECONDS = 10
_FLEET = Fleet(1000)
_SOON = 0.2
"""Seconds that an acknowledgement may take; Event Grid itself waits 30 s."""


def event(digest: str) -> dict[str, Any]:
    """Return the event of a push under the tag that the policy rebuilds on."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    target = {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 1157, "digest": digest,
              "length": 1157, "repository": REPOSITORY, "tag": TAG}  # fmt: skip
    request = {"id": str(uuid.uuid4()), "host": f"{BASE}.azurecr.io", "method": "PUT", "useragent": "bench"}
    data = {"id": str(uuid.uuid4()), "timestamp": now, "action": "push", "target": target, "request": request}
    return {
        "id": str(uuid.uuid4()), "topic": registry_id(BASE), "subject": f"{REPOSITORY}:{TAG}",
        "eventType": "Microsoft.ContainerRegistry.ImagePushed", "eventTime": now, "data": data, "dataVersion": "2.0",
        "metadataVersion": "1",
    }  # fmt: skip


async def rows(worlds: Worlds) -> list[Row]:
    """Send pushes of one content, each event a different one, whether or not the earlier ones are acknowledged."""
    world = await worlds.of(_FLEET)
    await world.restart_hosts()
    # Longer than this takes: no run works meanwhile.
    await world.like_azure(pace=60)
    await world.warm_up()
    worlds.say(f"{PER_SECOND} events a second")
    digest = await world.cloud.push_base_image("acknowledged")
    await world.scheduled(1, 60)
    query = urlencode({"functionName": "base_image_pushed", "code": world.host["eventGridKey"]})
    url = f"{world.host['url']}/runtime/webhooks/eventgrid?{query}"
    took, statuses = list[float](), set[int]()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def deliver(at: float) -> None:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            headers = {"aeg-event-type": "Notification"}
            async with session.post(url, json=[event(digest)], headers=headers) as response:
                statuses.add(response.status)
            took.append(time.monotonic() - at)

        start = time.monotonic()
        total = PER_SECOND * _SECONDS
        await asyncio.gather(*(deliver(start + number / PER_SECOND) for number in range(total)))
    if statuses != {202}:
        raise RuntimeError(f"events were answered with {sorted(statuses)}")
    half, most = percentile(took, 50), percentile(took, 99)
    return [
        Row(f"Acknowledgement of {PER_SECOND} events/s, fleet of {world.fleet.size}: p99",
            f"{most * 1000:.0f} ms (p50 {half * 1000:.0f} ms)", "", None, f"≤ {_SOON * 1000:.0f} ms", most <= _SOON)
    ]  # fmt: skip

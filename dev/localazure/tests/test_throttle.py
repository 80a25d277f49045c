"""ARM's token buckets and the headers that announce them."""

from __future__ import annotations

import aiohttp
import pytest

from dev.localazure.azure import Azure
from dev.testing.azure import SUBSCRIPTION, Client

GROUP = f"{SUBSCRIPTION}/resourceGroups/g"
PREFIX = "x-ms-ratelimit-remaining-subscription-"


def limits(headers: dict[str, str]) -> dict[str, str]:
    return {k.lower().removeprefix(PREFIX): v for k, v in headers.items() if "ratelimit" in k.lower()}


@pytest.fixture
async def still(azure: Azure) -> Azure:
    azure.clock.set_scale(0)  # no refill but by the test's hand
    return azure


@pytest.mark.usefixtures("still")
async def test_reads_announce_the_global_bucket_only(owner: Client) -> None:
    reply = await owner.arm("GET", SUBSCRIPTION)
    assert limits(dict(reply.headers)) == {"global-reads": "3749"}


@pytest.mark.usefixtures("still")
async def test_writes_and_deletes_announce_both_buckets(owner: Client) -> None:
    created = await owner.arm("PUT", GROUP, {"location": "eastus"})
    assert limits(dict(created.headers)) == {"writes": "199", "global-writes": "2999"}
    deleted = await owner.arm("DELETE", GROUP)
    assert limits(dict(deleted.headers)) == {"deletes": "199", "global-deletes": "2999"}


@pytest.mark.usefixtures("still")
async def test_tenant_calls_announce_the_tenants_bucket(owner: Client) -> None:
    reply = await owner.arm("GET", "/subscriptions")
    assert reply.headers["x-ms-ratelimit-remaining-tenant-reads"] == "249"


async def test_empty_bucket_is_refused_until_a_token_flows_in(still: Azure, owner: Client) -> None:
    still.throttle.configure("writes", burst=1, per_second=0.25)
    assert (await owner.arm("PUT", GROUP, {"location": "eastus"})).status == 201
    refused = await owner.arm("PUT", GROUP, {"location": "eastus"})
    assert (refused.status, refused.body["error"]["code"]) == (429, "SubscriptionRequestsThrottled")
    assert refused.headers["Retry-After"] == "4"
    assert "'4' seconds" in refused.body["error"]["message"]
    still.clock.advance(3)
    assert (await owner.arm("PUT", GROUP, {"location": "eastus"})).headers["Retry-After"] == "1"
    still.clock.advance(1)
    assert (await owner.arm("PUT", GROUP, {"location": "eastus"})).status == 200


async def test_principals_have_buckets_of_their_own_below_a_shared_one(
    still: Azure, owner: Client, session: aiohttp.ClientSession
) -> None:
    other = Client(still, still.identity.create_app("other"), session)
    still.grant(other.app.system_assigned or "", "b24988ac-6180-42a0-ab88-20f7382dd24c", "/")
    still.throttle.configure("writes", burst=1, per_second=1)
    first = await owner.arm("PUT", GROUP, {"location": "eastus"})
    second = await other.arm("PUT", GROUP, {"location": "eastus"})
    assert limits(dict(first.headers)) == {"writes": "0", "global-writes": "14"}
    assert limits(dict(second.headers)) == {"writes": "0", "global-writes": "13"}


@pytest.mark.usefixtures("still")
async def test_refusal_by_the_gateway_announces_no_limits(owner: Client) -> None:
    reply = await owner.arm("GET", f"{SUBSCRIPTION}/resourceGroups/nowhere")
    assert reply.status == 404
    assert limits(dict(reply.headers)) == {}


@pytest.mark.parametrize(("kind", "burst"), [("reeds", 1.0), ("reads", -1.0)])
async def test_wrong_limit_is_refused(azure: Azure, kind: str, burst: float) -> None:
    with pytest.raises(ValueError, match=r"class of requests|negative"):
        azure.throttle.configure(kind, burst=burst)

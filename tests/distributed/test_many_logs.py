"""Links and clients with unread messages in more logs of a partition than one call of the script may look at."""

import asyncio

from tests.distributed.gate import watching
from tests.engine.benches import Limits, open_redis
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site
from tests.faults.work import watched
from tests.support.redis_servers import single

_LIMITS = Limits(subscriptions_per_client=10_000, total_bytes=30_000_000)


async def _publish(site: Site, *channels: str) -> None:
    for begin in range(0, len(channels), 200):
        await asyncio.gather(*[site.publish(channel, channel) for channel in channels[begin : begin + 200]])
    await site.bench.settle()


async def test_a_link_that_is_behind_in_many_channels_reads_in_light_calls() -> None:
    """It gets each message once, in order, and no call looks at more than some hundred logs."""
    channels = [f"/{number}" for number in range(1_500)]
    with single() as server:
        async with open_redis(server.url, partitions=1, engine_timeout=30.0)(_LIMITS) as bench:
            site = Site(bench, outbox=1_000)
            await site.create("ann")
            await site.subscribe("ann", *channels)
            front = FrontEnd(bench, site.front_end().link)
            await site.attach("ann", front)
            await front.read()
            # Most are in many channels, and then most are in one.
            sent = [*channels, *[channels[7]] * 1_000, *channels]
            await _publish(site, *sent)
            async with watched(server) as work:
                await front.drain()
            assert sorted(front.texts("ann")) == sorted(sent)
            assert work.heaviest <= 2_000


async def test_a_client_of_many_channels_reads_in_light_calls() -> None:
    """However many its subscriptions are: Lua can't even take 8,000 at once."""
    channels = [f"/{number}" for number in range(9_000)]
    with single() as server:
        async with open_redis(server.url, partitions=1, engine_timeout=30.0)(_LIMITS) as bench:
            site = Site(bench)
            await site.create("ann")
            await site.subscribe("ann", *channels)
            await _publish(site, *channels[:2_000])
            async with watched(server) as work:
                taken = await site.dequeue("ann")
            assert [entry.message.channel for entry in taken.entries] == channels[:2_000]
            assert work.heaviest <= 2_000


async def test_many_channels_that_are_followed_at_once_share_few_barriers() -> None:
    """Each barrier is for some hundred of them: the script looks at each."""
    with single() as server:
        async with open_redis(server.url, partitions=1, engine_timeout=30.0)(_LIMITS) as bench:
            site = Site(bench)
            await site.create("ann")
            await site.subscribe("ann", *[f"/{number}" for number in range(7_000)])
            with watching(site, "barrier") as barriers:
                await site.attach("ann", site.front_end())
            assert sum(logs for _, logs, *_ in barriers) >= 7_000
            assert max(logs for _, logs, *_ in barriers) <= 1_000

"""Links and clients with unread messages in more logs of a partition than one call of the script may look at."""

from tests.distributed.gate import watching
from tests.engine.benches import Limits, open_redis
from tests.engine.site import Site
from tests.support.redis_servers import single

_LIMITS = Limits(subscriptions_per_client=10_000, total_bytes=30_000_000)


async def test_many_channels_that_are_followed_at_once_share_few_barriers() -> None:
    """Each barrier is for some hundred of them: the script looks at each."""
    with single() as server:
        async with open_redis(server.url, partitions=1)(_LIMITS) as bench:
            site = Site(bench)
            await site.create("ann")
            await site.subscribe("ann", *[f"/{number}" for number in range(7_000)])
            with watching(site, "barrier") as barriers:
                await site.attach("ann", site.front_end())
            assert sum(logs for _, logs, *_ in barriers) >= 7_000
            assert max(logs for _, logs, *_ in barriers) <= 1_000

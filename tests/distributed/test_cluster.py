"""Two processes over a cluster whose servers change their roles."""

import asyncio
from unittest.mock import patch

from tests.distributed.outage import until
from tests.distributed.pair import opened
from tests.support.redis_servers import cluster

from pixied_server.engine.redis.upkeep import upkeep


async def test_a_process_whose_connection_is_at_a_replica_is_asked_all_the_same() -> None:
    """After a failover its notifications come from the replica that was the master, where nobody counts it."""
    with cluster() as servers:
        async with opened(servers.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a", "/b")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            await pair.read(front)
            for master in list(servers.masters):
                servers.fail_over(master)
            await pair.there.unsubscribe("ann", "/a")
            await pair.there.publish("/a", "1")
            await pair.there.publish("/b", "2")
            await pair.read(front)
            assert front.texts("ann") == ["2"]


async def test_a_process_leaves_a_replica_that_was_the_master() -> None:
    """It passes on what it gets, and may miss some of it: the process goes to the new master by itself."""
    with cluster() as servers, patch.object(upkeep, "_PROBE", 0.5):
        async with opened(servers.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a", "/a/*")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            await pair.read(front)
            masters = {servers.fail_over(master).address for master in list(servers.masters)}
            running = asyncio.create_task(pair.here.engine.run())
            await until(lambda: {one.node for one in pair.store.receiving} <= masters)
            running.cancel()
            await asyncio.wait([running])
            await pair.there.publish("/a", "1")
            await pair.read(front)
            assert front.texts("ann") == ["1"]
            assert front.marked("ann") == []

"""Two processes over a cluster whose servers change their roles."""

from tests.distributed.pair import opened
from tests.support.redis_servers import cluster


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

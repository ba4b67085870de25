"""A store of several servers."""

import asyncio

import pytest
from tests.redis_store.conftest import Opened, found_at
from tests.redis_store.scripts import COUNT, PUBLISH, keys_in
from tests.support.redis_servers import Cluster

from pixied_server.engine.redis.connection.store import Store, StoreUnavailable
from pixied_server.engine.redis.connection.topology import slot_of

SLOTS = (0, 5_000, 6_000, 10_000, 12_000, 16_383)


async def test_each_key_where_it_is(a_cluster: Cluster, opened: Opened) -> None:
    """Scripts run, and pub/sub connections are, on the server that has their keys' slot."""
    async with opened(a_cluster.url) as store:
        for slot in SLOTS:
            keys = keys_in(slot)
            assert await store.run(keys, COUNT, []) >= 1
            assert await store.node_of(keys[0]) == a_cluster.serving(slot).address
            pubsub = await store.pubsub(keys[0])
            assert pubsub.node == a_cluster.serving(slot).address
            await pubsub.close()
        assert set(await store.info()) == {one.address for one in a_cluster.masters}


KEYS_AND_TAGS = (b"", b"a", b"{a}b", b"x{a}b", b"x{ab}{c}", b"{}a", b"a{}b{c}", b"{a", b"a}b", b"x{{a}}", b"}{a}")


@pytest.mark.parametrize("key", KEYS_AND_TAGS)
def test_the_slot_of_a_key(key: bytes) -> None:
    """It is that of the key's hash tag, as the cluster's specification says."""
    from redis.crc import key_slot  # noqa: PLC0415

    assert slot_of(key) == key_slot(key)


async def test_a_slot_that_moves(a_cluster: Cluster, opened: Opened) -> None:
    """While a slot moves its calls wait; then they go to its new server, and each was done once."""
    keys = keys_in(3)
    async with opened(a_cluster.url) as store:
        first = await store.run(keys, COUNT, [])
        source = a_cluster.serving(3)
        target = next(one for one in a_cluster.masters if one is not source)
        a_cluster.begin_to_move(3, target)
        waiting = [asyncio.create_task(store.run(keys, COUNT, [])) for _ in range(5)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting[0]), 0.2)
        await asyncio.to_thread(a_cluster.move, 3, target)
        assert sorted(await asyncio.gather(*waiting)) == [first + more for more in range(1, 6)]
        await found_at(store, keys, target)


async def test_a_pubsub_whose_slot_moves(a_cluster: Cluster, opened: Opened) -> None:
    """Pub/sub tells when a server gives a channel's slot away, and when it is asked for one that it has not."""
    keys = keys_in(7)
    async with opened(a_cluster.url) as store:
        pubsub = await store.pubsub(keys[0])
        pubsub.subscribe(keys[0])
        messages = pubsub.messages()
        assert await anext(messages) == (b"ssubscribe", keys[0], 1)
        source = a_cluster.serving(7)
        target = next(one for one in a_cluster.masters if one is not source)
        await asyncio.to_thread(a_cluster.move, 7, target)
        assert (await anext(messages))[:2] == (b"sunsubscribe", keys[0])
        elsewhere = next(keys_in(slot)[0] for slot in SLOTS if a_cluster.serving(slot) is source)
        pubsub.subscribe(keys[0], elsewhere)
        assert (await anext(messages))[:2] == (b"sunsubscribe", keys[0])
        assert (await anext(messages))[:2] == (b"ssubscribe", elsewhere)
        await found_at(store, keys, target)
        another = await store.pubsub(keys[0])
        assert another.node == target.address
        another.subscribe(keys[0])
        others = another.messages()
        await anext(others)
        await store.run(keys[:1], PUBLISH, [b"here"])
        assert await anext(others) == (b"smessage", keys[0], b"here")
        await pubsub.close()
        await another.close()


async def test_a_failover_that_is_asked_for(a_cluster: Cluster, opened: Opened) -> None:
    """When a replica takes its master's place, calls follow it, and each was done once."""
    keys = keys_in(6_000)
    async with opened(a_cluster.url, timeout=20) as store:
        first = await store.run(keys, COUNT, [])
        counting = asyncio.create_task(_count(store, keys, 200))
        master = await asyncio.to_thread(a_cluster.fail_over, a_cluster.serving(6_000))
        assert await counting == first + 200
        assert await store.run(keys, COUNT, []) == first + 201
        await found_at(store, keys, master)


async def test_a_master_that_dies(a_cluster: Cluster, opened: Opened) -> None:
    """When a master is killed, calls of its slots wait for its replica, and calls of others do not."""
    keys, others = keys_in(12_000), keys_in(0)
    master = a_cluster.serving(12_000)
    replica = a_cluster.replica_of(master)
    async with opened(a_cluster.url, timeout=20) as store:
        await store.run(keys, COUNT, [])
        master.kill()
        try:
            waiting = asyncio.create_task(_surely_counted(store, keys))
            await store.run(others, COUNT, [])
            await waiting
            await asyncio.to_thread(a_cluster.await_failover, replica)
            await found_at(store, keys, replica)
        finally:
            await asyncio.to_thread(master.start)
            await asyncio.to_thread(a_cluster.replica_of, replica)


async def test_not_a_cluster(opened: Opened, a_cluster: Cluster) -> None:
    """A cluster is found through whichever of the named servers answers."""
    dead = "127.0.0.1:1"
    async with opened(f"redis+cluster://{dead},{a_cluster.servers[4].address}") as store:
        assert len(await store.info()) == 3


async def _count(store: Store, keys: tuple[bytes, bytes], times: int) -> int:
    for _ in range(times):
        count: int = await store.run(keys, COUNT, [])
    return count


async def _surely_counted(store: Store, keys: tuple[bytes, bytes]) -> int:
    while True:
        try:
            return await _count(store, keys, 1)
        except StoreUnavailable as failure:
            if not failure.ambiguous:
                raise

"""Stores and pixied processes that die, hang, fall silent, forget or move, under load: what was answered is delivered.

Where Redis loses nothing, nothing may be missing, not even announced. A failover loses what the replica had not got:
there a gap may say so.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.chaos.stage import FrontEnd, Stage, over, staged
from tests.sdk.servers import Server
from tests.support.caller import until
from tests.support.redis_servers import Server as Redis
from tests.support.redis_servers import cluster, sentinel_trio, single
from tests.support.refusals import refused
from tests.support.store_proxy import proxied_store

from pixied_server.engine.redis.connection.topology import slot_of
from pixied_server.engine.redis.partition.layout import Layout

_SEEDS = [1, 2, 3]
_SLOTS = [slot_of(base.encode()) for base in Layout("pixied", 4).bases]


@asynccontextmanager
async def _under_load(
    sites: list[Server], seed: int, *, loses: bool = False, changes: bool = True
) -> AsyncIterator[tuple[Stage, FrontEnd]]:
    """Six clients at a front-end and six publishers that never pause while the context lasts; judged at its end.

    Args:
        sites: the servers.
        seed: of the test.
        loses: whether the store may lose what it has answered.
        changes: whether subscriptions change meanwhile.
    """
    async with staged(sites, seed) as stage:
        clients = await stage.create_clients(6)
        async with stage.front_end(clients, hold=1) as edge:
            async with stage.publishers(6), AsyncExitStack() as stack:
                if changes:
                    await stack.enter_async_context(stage.changing_subscriptions())
                await edge.reaches(got=stage.random.randint(500, 1_500))
                yield stage, edge
                await stage.published(1_000)
            await stage.settle()
            for client in clients:
                assert await stage.holder_of(client) == "edge"
            await edge.kill()
        stage.history.check()
        assert loses or not stage.history.gaps


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_pixied_that_is_killed(seed: int) -> None:
    """SIGKILL of the one that holds the clients, and after its return of the one that is published through."""
    with single(aof=True) as store, over(store.url) as sites:
        async with _under_load(sites, seed) as (stage, edge):
            stage.history.fault("the holder was killed")
            await asyncio.to_thread(sites[1].kill)
            await edge.reaches(attached=12)
            await asyncio.to_thread(sites[1].start)
            await stage.published(200)
            stage.history.fault("the publishers' pixied was killed, which holds the clients by now")
            await asyncio.to_thread(sites[0].kill)
            await edge.reaches(attached=18)


async def test_a_pixied_that_hangs() -> None:
    """SIGSTOP of the holder until it is given up for dead: it goes on with the clients that nobody has taken."""
    with single(aof=True) as store, over(store.url) as sites:
        async with _under_load(sites, 1, changes=False) as (stage, _):
            with stage.history.outage("the holder hung"):
                sites[1].freeze()

                async def given_up() -> bool:
                    holders = [await stage.holder_of(client, at=0) for client in stage.clients]
                    return not any(holders)

                await until(given_up)
                sites[1].thaw()


@pytest.mark.parametrize("seed", _SEEDS)
async def test_clients_that_are_taken_to_and_fro(seed: int) -> None:
    """Front-ends at both pixied take clients from each other without a pause: each copy comes once, or marked."""
    with single(aof=True) as store, over(store.url) as sites:
        async with staged(sites, seed) as stage, AsyncExitStack() as stack:
            clients = await stage.create_clients(6)
            # So much unconfirmed that some of it is older than the takeover, however long that takes on a busy machine.
            edges = [
                await stack.enter_async_context(stage.front_end(clients, at=[address], window=64, hold=hold))
                for address, hold in ((sites[0].address, 16), (sites[1].address, 24), (sites[1].address, 32))
            ]
            last = edges[-1]
            async with stage.publishers(4), stage.changing_subscriptions():
                for _ in range(30):
                    edge = stage.random.choice([one for one in edges if one is not last])
                    await last.reaches(got=last.got + stage.random.randint(50, 150))
                    stage.history.fault("the clients were taken over")
                    attached = edge.attached + len(clients)
                    edge.take_back()
                    await edge.reaches(attached=attached)
                    last = edge
            await stage.settle()
            await stack.aclose()
            stage.history.check()
            assert not stage.history.gaps


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_store_that_is_killed(seed: int) -> None:
    """SIGKILL of a Redis that has written down what it answered, and its start, again and again."""
    with single(aof=True) as store, over(store.url) as sites:
        async with _under_load(sites, seed) as (stage, _):
            for _ in range(3):
                with stage.history.outage("Redis was killed"):
                    await asyncio.to_thread(store.restart)
                await stage.published(200)


async def test_a_store_that_hangs() -> None:
    """SIGSTOP of Redis for 10 seconds: longer than a process may be silent without being given up by others."""
    with single(aof=True) as store, over(store.url) as sites:
        async with _under_load(sites, 1) as (stage, _):
            with stage.history.outage("Redis hung"):
                store.freeze()
                await asyncio.sleep(10.0)  # it has to hang for as long as that
                store.thaw()


@pytest.mark.parametrize("seed", _SEEDS)
async def test_subscriptions_that_are_cut(seed: int) -> None:
    """CLIENT KILL TYPE pubsub, again and again: what was told to nobody is read."""
    with single(aof=True) as store, over(store.url) as sites:
        async with _under_load(sites, seed) as (stage, _):
            for _ in range(10):
                with stage.history.outage("the pub/sub connections were cut"):
                    await asyncio.to_thread(store, "CLIENT", "KILL", "TYPE", "pubsub")
                await stage.published(stage.random.randint(20, 100))


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_subscription_that_is_silent(seed: int) -> None:
    """A pub/sub connection that lives and tells nothing: it is noticed, and what it did not tell is read."""
    quick = {"probe": 0.1, "silent": 0.5}
    async with AsyncExitStack() as stack:
        store = stack.enter_context(single(aof=True))
        proxy, proxied_url = await stack.enter_async_context(proxied_store(store))
        # In a thread: the proxy is served by this loop.
        sites = await asyncio.to_thread(stack.enter_context, over(store.url, last=proxied_url, altered=quick))
        stage, _ = await stack.enter_async_context(_under_load(sites, seed))
        for _ in range(3):
            with stage.history.outage("the pub/sub connection was silent"):
                proxy.silence()
                await stage.published(200)
                await proxy.replaced()


async def test_scripts_that_are_forgotten() -> None:
    """SCRIPT FLUSH, again and again."""
    with single(aof=True) as store, over(store.url) as sites:
        async with _under_load(sites, 1) as (stage, _):
            for _ in range(20):
                with stage.history.outage("the scripts were forgotten"):
                    await asyncio.to_thread(store, "SCRIPT", "FLUSH")
                await stage.published(20)


async def test_a_clock_that_is_off() -> None:
    """A pixied whose clocks are 5 s fast: sessions of 2 s live as long as they are pinged, and end when they should."""
    with single(aof=True) as store, over(store.url, altered={"clock": 5.0}) as sites:
        async with _under_load(sites, 1) as (stage, edge):
            pinged, silent = [
                (await stage.call("CreateClient", session_timeout=Duration(seconds=2))).client for _ in range(2)
            ]
            for _ in range(8):
                await asyncio.sleep(0.5)  # twice as long as a session in all, and never as long between two pings
                await stage.call("PingClient", client_id=pinged.client_id)
            refusal = await refused(stage.call("GetClient", client_id=silent.client_id))
            assert refusal.reason == "CLIENT_UNKNOWN"
            stage.history.fault("the holder was killed, and the one with the right time takes its clients")
            await asyncio.to_thread(sites[1].kill)
            await edge.reaches(attached=12)


async def _lose(stage: Stage, master: Redis, replicas: Sequence[Redis]) -> None:
    """Kill a master when it has answered what its replicas have not got."""
    for one in replicas:
        one.freeze()
    # They would else find it in their sockets' buffers when they run on.
    master("CLIENT", "KILL", "TYPE", "replica")
    await stage.published(20)
    await asyncio.to_thread(master.kill)
    for one in replicas:
        one.thaw()


@pytest.mark.parametrize("seed", _SEEDS[:2])
async def test_a_sentinel_failover(seed: int) -> None:
    """The master is killed, a replica takes its place: what it had not got is announced."""
    async with AsyncExitStack() as stack:
        trio = stack.enter_context(sentinel_trio())
        sites = stack.enter_context(over(trio.url))
        async with _under_load(sites, seed, loses=True, changes=False) as (stage, _):
            [away] = await stage.create_clients(1, "/**")
            await stage.published(100)
            with stage.history.outage("the master was killed"):
                master = trio.master
                replicas = [one for one in trio.servers if one is not master]
                await _lose(stage, master, replicas)
                await asyncio.to_thread(trio.await_failover, master)
            await stack.enter_async_context(stage.front_end([away], name="late"))
        assert stage.history.gaps[away]


@pytest.mark.parametrize("seed", _SEEDS[:2])
async def test_a_cluster_failover(seed: int) -> None:
    """A master is killed, its replica takes its place: what it had not got is announced."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(cluster())
        sites = stack.enter_context(over(servers.url))
        async with _under_load(sites, seed, loses=True, changes=False) as (stage, _):
            [away] = await stage.create_clients(1, "/**")
            await stage.published(100)
            with stage.history.outage("a master was killed"):
                master = servers.serving(_SLOTS[0])
                replica = servers.replica_of(master)
                await _lose(stage, master, [replica])
                await asyncio.to_thread(servers.await_failover, replica)
            await stack.enter_async_context(stage.front_end([away], name="late"))
        assert stage.history.gaps[away]


@pytest.mark.parametrize("seed", _SEEDS)
async def test_slots_that_move(seed: int) -> None:
    """Every partition's slot moves to another master; what is asked meanwhile waits, or is asked again."""
    with cluster() as servers, over(servers.url) as sites:
        async with _under_load(sites, seed) as (stage, _):
            for slot in _SLOTS:
                with stage.history.outage("a slot moved"):
                    target = stage.random.choice([one for one in servers.masters if one is not servers.serving(slot)])
                    await asyncio.to_thread(servers.begin_to_move, slot, target)
                    await asyncio.sleep(stage.random.uniform(0.0, 0.5))  # so that it is any moment of the traffic
                    await asyncio.to_thread(servers.move, slot, target)
                await stage.published(100)

"""A Redis that has no memory left (`maxmemory`, noeviction)."""

import asyncio
import json
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2 as health
from grpc_health.v1 import health_pb2_grpc
from tests.faults.stage import Pixied, reading, running
from tests.support.caller import until
from tests.support.link import ack, attach, linked
from tests.support.redis_servers import Server, cluster, single
from tests.support.refusals import refused

TEXT = "x" * 10_000


@pytest.fixture
def store() -> Iterator[Server]:
    """A Redis."""
    with single() as server:
        yield server


def _fill(store: Server, more: int = 0) -> None:
    """From now on there is so much memory more than is in use."""
    store("CONFIG", "SET", "maxmemory", store.info("memory")["used_memory"] + more)


async def _serves(pixied: Pixied, *, serving: bool) -> bool:
    stub = health_pb2_grpc.HealthStub(pixied.channel)  # type: ignore[no-untyped-call]
    answer = await stub.Check(health.HealthCheckRequest(service="pixied.v1.BackendService"))
    return bool((answer.status == health.HealthCheckResponse.SERVING) == serving)


async def test_what_takes_messages_away_goes_on(store: Server) -> None:
    """DequeueFor, long polls, links, confirmations and the end of things, though not a byte more can be stored."""
    async with running(store.url) as [pixied], linked(pixied) as link, reading(link) as seen:
        poller, waiting, attached, late, leaving = [await pixied.client("/a") for _ in range(5)]
        await link.send(attach(attached, 1))
        await seen.until(lambda: 1 in seen.attached)
        await pixied.publish("/a", "1", "2")
        for client in (poller, attached):
            await pixied.queue(client, "/own", "own")
        assert await pixied.taken(waiting) == ["1", "2"]
        store("CONFIG", "SET", "maxmemory", 1)
        assert sorted(await pixied.taken(poller)) == ["1", "2", "own"]
        assert await pixied.taken(waiting, wait=Duration(nanos=100_000_000)) == []
        await link.send(attach(late, 2))
        await seen.until(lambda: len(seen.received[2].texts) == 2 and len(seen.received[1].texts) == 3)
        await link.send(ack(seen.number))
        for client in (attached, late, poller, waiting):
            await until(lambda client=client: _has_nothing_pending(pixied, client))  # type: ignore[misc]
        await pixied("PingClient", client_id=waiting)
        assert list((await pixied("Unsubscribe", client_id=leaving, channels=["/a"])).removed) == ["/a"]
        await pixied("DestroyClient", client_id=leaving)
        held = (await pixied("GetInfo")).holdings
        assert (held.clients, held.subscriptions) == (4, 4)


async def _has_nothing_pending(pixied: Pixied, client: str) -> bool:
    return bool((await pixied("GetClient", client_id=client)).client.pending == 0)


async def test_new_messages_take_the_place_of_old_ones(store: Server) -> None:
    """Publishing and queueing are never refused; who was away gets the youngest, and is told how many it lost."""
    async with running(store.url) as [pixied]:
        client = await pixied.client("/a/**", "/b")
        await pixied.publish("/a/b", *[TEXT] * 100)
        _fill(store, 10_000_000)
        for number in range(2_000):
            await pixied.publish(f"/a/{number % 20}", f"{number} {TEXT}")
        await pixied.publish("/b", "b")
        await pixied.queue(client, "/own", "own")
        assert await _serves(pixied, serving=True)
        assert "maxmemory" in pixied.server.log
        got: list[str] = []
        lost = 0
        while taken := await pixied("DequeueFor", client_id=client, max_messages=1_000):
            got += [json.loads(one.data).split()[0] for one in taken.messages]
            lost += taken.lost
            if not taken.messages:
                break
        assert {"own", "b"} < set(got)
        numbers = [int(text) for text in got if text.isdecimal()]
        assert len(numbers) > 300
        assert set(range(1_900, 2_000)) <= set(numbers)
        assert lost + len(got) == 100 + 2_000 + 2


async def test_a_store_that_others_have_filled_says_so(store: Server) -> None:
    """Health and the log tell why nothing can be stored; few messages go in vain; when there is room all is well."""
    async with running(store.url) as [pixied]:
        client = await pixied.client("/a")
        await pixied.publish("/a", *[str(number) for number in range(1_000)])
        store("CONFIG", "SET", "maxmemory", 1)
        for _ in range(20):
            assert (await refused(pixied.publish("/a", "refused"))).reason == "ENGINE_UNAVAILABLE"
        await until(lambda: _serves(pixied, serving=False))
        assert any("maxmemory" in line for line in pixied.server.log.splitlines() if "engine is unavailable" in line)
        store("CONFIG", "SET", "maxmemory", 0)
        # Nobody asks for anything meanwhile: pixied looks by itself.
        await until(lambda: _serves(pixied, serving=True))
        await pixied.publish("/a", "after")
        got = await pixied.taken(client, max_messages=1_000)
        assert got[-1] == "after"
        assert len(got) > 700


async def _create_many(pixied: Pixied) -> None:
    for _ in range(1_000):
        await pixied.client("/a")


async def test_a_client_that_is_new_is_refused_and_may_come_when_there_is_room(store: Server) -> None:
    """No messages go for it."""
    async with running(store.url) as [pixied]:
        client = await pixied.client("/a")
        await pixied.publish("/a", *"123")
        _fill(store)
        with pytest.raises(grpc.aio.AioRpcError, match="maxmemory"):
            await _create_many(pixied)
        store("CONFIG", "SET", "maxmemory", 0)
        await pixied.client("/a")
        assert await pixied.taken(client) == [*"123"]


async def test_slots_that_no_server_has_keep_nobody_from_making_room() -> None:
    """A cluster lacks slots, and its other servers have no memory left: what is theirs is published all the same."""
    with cluster() as servers:
        terms = ("--redis-partitions", "16", "--redis-timeout", "1s")
        async with running(servers.url, *terms) as [pixied]:
            await pixied.client("/**")
            channels = [f"/{number}" for number in range(40)]
            servers.uncover()
            publishing = [pixied.publish(channel, TEXT) for channel in channels]
            answers = await asyncio.gather(*publishing, return_exceptions=True)
            theirs = [one for one, answer in zip(channels, answers, strict=True) if not isinstance(answer, Exception)]
            assert 0 < len(theirs) < len(channels)
            # What is kept for replicas grows at first, and counts.
            for channel in theirs * 2:
                await pixied.publish(channel, *[TEXT] * 10)
            for master in servers.masters:
                _fill(master, 5_000_000)
            for channel in theirs * 8:
                await pixied.publish(channel, *[TEXT] * 10)
            assert "maxmemory" in pixied.server.log

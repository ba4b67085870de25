"""`max_total_bytes`: that it bounds the memory of Redis, and keeps nobody from publishing."""

import asyncio
from collections.abc import Iterator
from itertools import count

import grpc
import pytest
from tests.faults.stage import Pixied, running
from tests.support.caller import until
from tests.support.redis_servers import Server, cluster, single

TEXT = "x" * 1_000
_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


def _limits(size: int) -> list[str]:
    """Flags for a store of so many bytes."""
    return [
        *("--max-total-bytes", str(size)),
        *("--max-log-bytes", str(size)),
        *("--max-message-bytes", str(size // 8)),
    ]


@pytest.mark.parametrize("patterns", [["/a/b/c"], ["/a/b/c", "/a/b/*", "/a/**", "/a/b/**", "/**", "/own"]])
@pytest.mark.parametrize("size", [100, 1_000, 20_000])
async def test_what_is_counted_is_what_redis_needs(store: Server, patterns: list[str], size: int) -> None:
    """Messages, each in the logs of one or of five patterns: `bytes` is within 1.3 of what Redis grew by."""
    async with running(store.url, "--redis-prefix", f"limits{next(_names)}") as [pixied]:
        await pixied.client(*patterns)
        for pattern in patterns:
            await pixied.client(pattern)
        before = store.info("memory")["used_memory"]
        await pixied.publish_many("/a/b/c", ["x" * size] * min(8_000_000 // size, 20_000))
        grown = store.info("memory")["used_memory"] - before
        counted = (await pixied("GetInfo")).holdings.bytes
        assert grown / 1.3 <= counted <= grown * 1.3


async def test_a_publish_is_answered_though_messages_elsewhere_can_not_go() -> None:
    """At the limit, with one server of a cluster silent: what the others have stored is never refused."""
    channels = [f"/{number}" for number in range(40)]
    terms = ("--redis-timeout", "1s", "--redis-partitions", "16", *_limits(400_000))
    with cluster() as servers:
        async with running(servers.url, *terms) as [pixied]:
            await pixied.client("/**")
            below = await _stored_beside(servers.masters[0], pixied, channels)
            while (await pixied("GetInfo")).holdings.bytes < 390_000:
                await pixied.publish("/0", *[TEXT] * 10)
            there = await _stored_beside(servers.masters[0], pixied, channels)
            assert 0 < len(below) < len(channels)
            assert there == below


async def _stored_beside(silent: Server, pixied: Pixied, channels: list[str]) -> list[str]:
    """The channels to which can be published while a server is silent. Returns when it has answered again."""
    silent("CLIENT", "PAUSE", 3_000, "ALL")
    answers = await asyncio.gather(*[pixied.publish(channel, TEXT) for channel in channels], return_exceptions=True)
    refused = [one.code() for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert set(refused) == {grpc.StatusCode.UNAVAILABLE}

    async def answers_again() -> bool:
        await asyncio.to_thread(silent, "PING")
        more = await asyncio.gather(*[pixied.publish(channel, "x") for channel in channels], return_exceptions=True)
        return not any(isinstance(one, grpc.aio.AioRpcError) for one in more)

    await until(answers_again)
    return [channel for channel, one in zip(channels, answers, strict=True) if not isinstance(one, BaseException)]
